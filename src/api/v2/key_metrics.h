#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/synchronization/mutex.h"
#include "base/metrics.h"
#include "v2store/store.h"

namespace kvorum::api_v2 {

/// The metrics of /v2/keys and of the store behind it (reference: v2-keys.md §13). Thread-safe; outlived by
/// `store` and `registry`, and outlives the making of the registry's text.
class KeyMetrics {
 public:
  KeyMetrics(metrics::Registry* registry, const v2store::Store* store);

  /// As the label has it; a quorum read is a method of its own.
  enum Method : size_t { kHead, kGet, kPut, kPost, kDelete, kQuorumGet, kMethods };

  /// A request that is well-formed and allowed, and no watch.
  void Received(Method method) { Find(received_, received_of_, method).Add(); }
  /// Any that failed after that, with its HTTP status.
  void Failed(Method method, int status);
  void Succeeded(Method method, std::chrono::nanoseconds elapsed) {
    Find(durations_, durations_of_, method).Observe(elapsed);
  }
  void RecursiveRead() { recursive_reads_.fetch_add(1, std::memory_order_relaxed); }
  void Watch() { watch_requests_.Add(); }

 private:
  template <typename Metric>
  using PerMethod = std::array<std::atomic<Metric*>, kMethods>;

  template <typename Metric>
  static Metric& Find(metrics::Family<Metric>& family, PerMethod<Metric>& known, Method method) {
    Metric* metric = known[method].load(std::memory_order_acquire);
    if (metric == nullptr) {
      metric = &family.With({std::string(Name(method))});
      known[method].store(metric, std::memory_order_release);
    }
    return *metric;
  }
  static std::string_view Name(Method method);

  /// Brings the counters of the store's operations to what the store counted.
  void TakeOver(const v2store::Stats& stats);

  const v2store::Store& store_;
  metrics::Family<metrics::Counter>& received_;
  metrics::Family<metrics::Counter>& failed_;
  metrics::Family<metrics::Histogram>& durations_;
  metrics::Family<metrics::Counter>& reads_;
  metrics::Family<metrics::Counter>& writes_;
  metrics::Counter& watch_requests_;
  PerMethod<metrics::Counter> received_of_{};
  PerMethod<metrics::Histogram> durations_of_{};
  std::atomic<uint64_t> recursive_reads_{0};

  absl::Mutex mutex_;
  v2store::Stats seen_ ABSL_GUARDED_BY(mutex_);
  uint64_t recursive_seen_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace kvorum::api_v2
