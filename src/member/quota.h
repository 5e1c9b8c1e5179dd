#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

#include "backend/backend.h"
#include "member/alarm_store.h"

namespace kvorum::member {

/// The limit on the database's size (reference: v3-api.md §6.13). Thread-safe.
class Quota {
 public:
  /// `limit_bytes` negative: none; 0: the default. `raise`: proposes the NOSPACE alarm of this member; called
  /// once until the alarm is there, on any thread, and must not block.
  Quota(int64_t limit_bytes, MemberId local, backend::Backend* backend, const AlarmStore* alarms,
        std::function<void()> raise);

  /// Whether a write of `cost_bytes` fits; raises the alarm where not. A write that costs nothing fits
  /// always.
  bool Fits(int64_t cost_bytes);
  /// The proposal that `raise` made has come to its end: the next write that does not fit raises again.
  void RaiseEnded() { raising_.store(false, std::memory_order_release); }

  int64_t limit_bytes() const { return limit_bytes_; }
  /// What a configured limit means.
  static int64_t Effective(int64_t limit_bytes) { return limit_bytes == 0 ? int64_t{2} << 30 : limit_bytes; }

 private:
  const int64_t limit_bytes_;
  const MemberId local_;
  backend::Backend* const backend_;
  const AlarmStore* const alarms_;
  const std::function<void()> raise_;
  std::atomic<bool> raising_{false};
};

}  // namespace kvorum::member
