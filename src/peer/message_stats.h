#pragma once

#include <array>
#include <atomic>
#include <map>
#include <memory>

#include "absl/synchronization/mutex.h"
#include "member/traffic_stats.h"

namespace kvorum::peer {

/// Counts messages that go one way, and how many there were of late. One thread counts, any thread reads;
/// neither waits for the other.
class MessageMeter {
 public:
  void Add(MonotonicTime now, uint64_t bytes);
  member::TrafficStats::Appends Read(MonotonicTime now) const;

 private:
  struct Sample {
    std::atomic<MonotonicTime::rep> at{0};
    std::atomic<uint64_t> bytes_before{0};  // of all messages before this one
  };
  /// More than are read, so that the writer may go on meanwhile.
  static constexpr size_t kSlots = 256;

  // Written by the one thread that counts.
  std::atomic<uint64_t> count_{0};
  std::atomic<uint64_t> bytes_{0};
  std::atomic<uint64_t> window_start_{0};  // the first message after the last pause
  std::array<Sample, kSlots> samples_;     // of message i at i % kSlots
};

/// What became of the append messages to one follower. Thread-safe.
class FollowerMeter {
 public:
  /// Messages that left together; a value, so that they cost one lock.
  class Batch {
   public:
    void Add(std::chrono::nanoseconds latency);
    bool empty() const { return count_ == 0; }

   private:
    friend class FollowerMeter;
    uint64_t count_ = 0;
    double current_ = 0;  // of the last one; milliseconds, as all of them
    double sum_ = 0;
    double sum_of_squares_ = 0;
    double minimum_ = member::TrafficStats::Follower{}.latency_minimum;
    double maximum_ = 0;
  };

  void Succeed(const Batch& batch);
  void Fail(uint64_t count = 1);
  member::TrafficStats::Follower Read() const;

 private:
  mutable absl::Mutex mutex_;
  Batch total_ ABSL_GUARDED_BY(mutex_);
  uint64_t failures_ ABSL_GUARDED_BY(mutex_) = 0;
};

/// The traffic of one transport.
class MessageStats final : public member::TrafficStats {
 public:
  /// The meter of a follower, which is one of `followers` until it is removed.
  std::shared_ptr<FollowerMeter> AddFollower(MemberId id);
  void RemoveFollower(MemberId id);

  // member::TrafficStats
  Appends received() const override;
  Appends sent() const override;
  std::map<MemberId, Follower> followers() const override;

  // Added to on the transport's loop.
  MessageMeter received_meter;
  MessageMeter sent_meter;

 private:
  mutable absl::Mutex mutex_;
  std::map<MemberId, std::shared_ptr<FollowerMeter>> followers_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace kvorum::peer
