#pragma once

#include <algorithm>
#include <cstdint>

#include "base/clock.h"
#include "sim/scheduler.h"

namespace kvorum::sim {

/// The clock of one machine: it runs a little too fast or too slow, and its wall time may be wrong and jump.
class NodeClock final : public Clock {
 public:
  explicit NodeClock(const Scheduler* scheduler) : scheduler_(scheduler) {}

  MonotonicTime Now() const override {
    return MonotonicTime(std::chrono::nanoseconds(local_base_ + Scaled(scheduler_->now() - base_)));
  }
  WallTime WallNow() const override {
    return WallTime(std::chrono::nanoseconds(kEpoch + scheduler_->now() + wall_offset_));
  }
  /// When this clock will show `time`.
  Instant InstantOf(MonotonicTime time) const {
    const int64_t ahead = time.time_since_epoch().count() - local_base_;
    if (ahead > kFarAway) return kNever;
    return base_ + static_cast<Instant>(static_cast<double>(ahead) / rate_) + 1;
  }

  /// From now on it shows `rate` seconds a second.
  void SetRate(double rate) {
    local_base_ = Now().time_since_epoch().count();
    base_ = scheduler_->now();
    rate_ = rate;
  }
  void SetWallOffset(int64_t nanoseconds) {
    wall_offset_ = nanoseconds;
    furthest_ahead_ = std::max(furthest_ahead_, nanoseconds);
  }
  int64_t wall_offset() const { return wall_offset_; }
  /// How far the wall time was ever ahead of the true one.
  int64_t furthest_ahead() const { return furthest_ahead_; }

  /// Unix nanoseconds when a run begins.
  static constexpr int64_t kEpoch = int64_t{1'600'000'000} * 1'000'000'000;

 private:
  static constexpr int64_t kFarAway = int64_t{1} << 60;

  int64_t Scaled(Instant span) const { return static_cast<int64_t>(static_cast<double>(span) * rate_); }

  const Scheduler* const scheduler_;
  Instant base_ = 0;
  int64_t local_base_ = int64_t{3600} * 1'000'000'000;
  double rate_ = 1.0;
  int64_t wall_offset_ = 0;
  int64_t furthest_ahead_ = 0;
};

}  // namespace kvorum::sim
