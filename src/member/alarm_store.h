#pragma once

#include <array>
#include <atomic>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "backend/backend.h"
#include "member/member.h"

namespace kvorum::member {

/// Which alarms are on, kept in Bucket::kAlarm. Changed by the applier, read from any thread.
class AlarmStore {
 public:
  explicit AlarmStore(backend::Backend* backend) : backend_(backend) {}

  /// Reads what the backend holds. Errors: DataLoss.
  absl::Status Load();

  /// True where it was not on before.
  bool Activate(const Alarm& alarm);
  /// True where it was on.
  bool Deactivate(const Alarm& alarm);

  /// By member, then type. `type` kNone: of every type.
  std::vector<Alarm> List(AlarmType type) const;
  /// Whether the alarm is on for some member. Costs an atomic load.
  bool Any(AlarmType type) const {
    return counts_[static_cast<size_t>(type)].load(std::memory_order_acquire) != 0;
  }

 private:
  void Count() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  backend::Backend* const backend_;
  std::array<std::atomic<size_t>, 3> counts_{};  // by type; atomic: the applier asks for each entry
  mutable absl::Mutex mutex_;
  std::set<Alarm> alarms_ ABSL_GUARDED_BY(mutex_);
};

/// The wire form of etcdserverpb.AlarmMember.
std::string EncodeAlarm(const Alarm& alarm);

}  // namespace kvorum::member
