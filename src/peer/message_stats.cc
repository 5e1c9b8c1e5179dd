#include "peer/message_stats.h"

#include <algorithm>
#include <chrono>
#include <cmath>

namespace kvorum::peer {

namespace {

/// Over how many messages rates are taken, and after which pause they begin anew.
constexpr uint64_t kWindow = 200;
constexpr auto kPause = std::chrono::seconds(1);
constexpr int kReadAttempts = 3;

double Seconds(MonotonicTime::duration time) { return std::chrono::duration<double>(time).count(); }

}  // namespace

void MessageMeter::Add(MonotonicTime now, uint64_t bytes) {
  const uint64_t number = count_.load(std::memory_order_relaxed);
  const uint64_t before = bytes_.load(std::memory_order_relaxed);
  if (number > 0) {
    const auto last = samples_[(number - 1) % kSlots].at.load(std::memory_order_relaxed);
    if (now - MonotonicTime(MonotonicTime::duration(last)) > kPause) {
      window_start_.store(number, std::memory_order_relaxed);
    }
  }
  Sample& sample = samples_[number % kSlots];
  sample.at.store(now.time_since_epoch().count(), std::memory_order_relaxed);
  sample.bytes_before.store(before, std::memory_order_relaxed);
  bytes_.store(before + bytes, std::memory_order_relaxed);
  count_.store(number + 1, std::memory_order_release);
}

member::TrafficStats::Appends MessageMeter::Read(MonotonicTime now) const {
  member::TrafficStats::Appends result;
  for (int attempt = 0; attempt < kReadAttempts; ++attempt) {
    result = {.count = count_.load(std::memory_order_acquire)};
    if (result.count == 0) return result;
    const uint64_t window = std::min(
        result.count - std::min(window_start_.load(std::memory_order_relaxed), result.count), kWindow);
    if (window == 0) continue;  // the window began after the count was read
    const Sample& first = samples_[(result.count - window) % kSlots];
    const Sample& last = samples_[(result.count - 1) % kSlots];
    const MonotonicTime begin{MonotonicTime::duration(first.at.load(std::memory_order_relaxed))};
    const MonotonicTime end{MonotonicTime::duration(last.at.load(std::memory_order_relaxed))};
    const uint64_t bytes =
        bytes_.load(std::memory_order_relaxed) - first.bytes_before.load(std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_acquire);
    // The slots that were read had not been used again meanwhile.
    if (count_.load(std::memory_order_relaxed) - result.count >= kSlots - kWindow) continue;
    const double seconds = Seconds(end - begin);
    if (now - end > kPause || seconds <= 0) return result;
    result.messages_per_second = static_cast<double>(window) / seconds;
    result.bytes_per_second = static_cast<double>(bytes) / seconds;
    return result;
  }
  return result;
}

void FollowerMeter::Batch::Add(std::chrono::nanoseconds latency) {
  current_ = std::chrono::duration<double, std::milli>(latency).count();
  ++count_;
  sum_ += current_;
  sum_of_squares_ += current_ * current_;
  minimum_ = std::min(minimum_, current_);
  maximum_ = std::max(maximum_, current_);
}

void FollowerMeter::Succeed(const Batch& batch) {
  if (batch.empty()) return;
  absl::MutexLock lock(&mutex_);
  total_.count_ += batch.count_;
  total_.current_ = batch.current_;
  total_.sum_ += batch.sum_;
  total_.sum_of_squares_ += batch.sum_of_squares_;
  total_.minimum_ = std::min(total_.minimum_, batch.minimum_);
  total_.maximum_ = std::max(total_.maximum_, batch.maximum_);
}

void FollowerMeter::Fail(uint64_t count) {
  absl::MutexLock lock(&mutex_);
  failures_ += count;
}

member::TrafficStats::Follower FollowerMeter::Read() const {
  absl::MutexLock lock(&mutex_);
  member::TrafficStats::Follower result{.latency_current = total_.current_,
                                        .latency_minimum = total_.minimum_,
                                        .latency_maximum = total_.maximum_,
                                        .fail = failures_,
                                        .success = total_.count_};
  if (total_.count_ > 0) {
    const auto count = static_cast<double>(total_.count_);
    result.latency_average = total_.sum_ / count;
    const double variance = total_.sum_of_squares_ / count - result.latency_average * result.latency_average;
    result.latency_standard_deviation = std::sqrt(std::max(variance, 0.0));
  }
  return result;
}

std::shared_ptr<FollowerMeter> MessageStats::AddFollower(MemberId id) {
  absl::MutexLock lock(&mutex_);
  std::shared_ptr<FollowerMeter>& meter = followers_[id];
  if (meter == nullptr) meter = std::make_shared<FollowerMeter>();
  return meter;
}

void MessageStats::RemoveFollower(MemberId id) {
  absl::MutexLock lock(&mutex_);
  followers_.erase(id);
}

member::TrafficStats::Appends MessageStats::received() const {
  return received_meter.Read(SystemClock().Now());
}

member::TrafficStats::Appends MessageStats::sent() const { return sent_meter.Read(SystemClock().Now()); }

std::map<MemberId, member::TrafficStats::Follower> MessageStats::followers() const {
  absl::MutexLock lock(&mutex_);
  std::map<MemberId, Follower> result;
  for (const auto& [id, meter] : followers_) result.emplace(id, meter->Read());
  return result;
}

}  // namespace kvorum::peer
