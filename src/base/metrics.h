#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/synchronization/mutex.h"

namespace kvorum::metrics {

/// A number that only rises (or, as a gauge, is set). Thread-safe; one relaxed atomic operation a call.
class Counter {
 public:
  void Add(uint64_t n = 1) { value_.fetch_add(n, std::memory_order_relaxed); }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

class Gauge {
 public:
  void Set(int64_t v) { value_.store(v, std::memory_order_relaxed); }
  void Add(int64_t n) { value_.fetch_add(n, std::memory_order_relaxed); }
  int64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<int64_t> value_{0};
};

/// Counts observations in buckets. Thread-safe, without a lock.
class Histogram {
 public:
  static constexpr size_t kMaxBuckets = 24;

  /// Upper bounds start·factor^i.
  /// REQUIRES: 0 < buckets <= kMaxBuckets
  Histogram(double start, double factor, size_t buckets);
  /// REQUIRES: ascending, 0 < bounds.size() <= kMaxBuckets
  explicit Histogram(std::span<const double> bounds);

  void Observe(double v);
  /// In seconds.
  void Observe(std::chrono::nanoseconds v) { Observe(std::chrono::duration<double>(v).count()); }

  struct Snapshot {
    std::vector<double> bounds;        ///< upper bounds, without +Inf
    std::vector<uint64_t> cumulative;  ///< one for each bound, and one for +Inf
    double sum = 0;
  };
  Snapshot Read() const;

 private:
  const size_t buckets_;
  std::array<double, kMaxBuckets> bounds_;
  std::array<std::atomic<uint64_t>, kMaxBuckets + 1> counts_{};
  std::atomic<double> sum_{0};
};

/// How a family is declared in the exposition (some of etcd's counters are declared as gauges).
enum class Declared : uint8_t { kCounter, kGauge, kHistogram };

/// Label values, in the order of the family's label names.
using LabelValues = std::vector<std::string>;

/// One member of a family for each set of label values. `With` takes a lock: hot paths keep its result, which
/// lives as long as the registry.
template <typename Metric>
class Family {
 public:
  using Make = std::function<std::unique_ptr<Metric>()>;
  Family(std::vector<std::string> label_names, Make make)
      : label_names_(std::move(label_names)), make_(std::move(make)) {}

  Metric& With(const LabelValues& values) {
    absl::MutexLock lock(&mutex_);
    std::unique_ptr<Metric>& slot = members_[values];
    if (slot == nullptr) slot = make_();
    return *slot;
  }

  /// Sorted by label values.
  void ForEach(const std::function<void(const LabelValues&, const Metric&)>& visit) const {
    absl::MutexLock lock(&mutex_);
    for (const auto& [values, metric] : members_) visit(values, *metric);
  }
  const std::vector<std::string>& label_names() const { return label_names_; }

 private:
  const std::vector<std::string> label_names_;
  const Make make_;
  mutable absl::Mutex mutex_;
  std::map<LabelValues, std::unique_ptr<Metric>> members_ ABSL_GUARDED_BY(mutex_);
};

/// Every metric of one process, and their text form. Thread-safe. The first call with a name makes the
/// metric; later calls give the same one back (REQUIRES: of the same kind).
class Registry {
 public:
  Registry();
  ~Registry();

  Counter& NewCounter(std::string_view name, std::string_view help, Declared declared = Declared::kCounter);
  Gauge& NewGauge(std::string_view name, std::string_view help);
  /// `read` is called whenever the text is made, without a lock; a later call with the name replaces it.
  void NewGaugeCallback(std::string_view name, std::string_view help, std::function<double()> read,
                        Declared declared = Declared::kGauge);
  Histogram& NewHistogram(std::string_view name, std::string_view help, double start, double factor,
                          size_t buckets);

  Family<Counter>& NewCounterFamily(std::string_view name, std::string_view help,
                                    std::vector<std::string> label_names,
                                    Declared declared = Declared::kCounter);
  Family<Gauge>& NewGaugeFamily(std::string_view name, std::string_view help,
                                std::vector<std::string> label_names);
  Family<Histogram>& NewHistogramFamily(std::string_view name, std::string_view help,
                                        std::vector<std::string> label_names, double start, double factor,
                                        size_t buckets);
  Family<Histogram>& NewHistogramFamily(std::string_view name, std::string_view help,
                                        std::vector<std::string> label_names, std::vector<double> bounds);

  /// The Prometheus text exposition format 0.0.4 (reference: metrics.md §1): families sorted by name, labels
  /// sorted within a sample, numbers as Go prints them; a labelled family without members is left out.
  std::string Text() const;

 private:
  struct Entry;
  Entry& Find(std::string_view name, std::string_view help, Declared declared)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable absl::Mutex mutex_;
  std::map<std::string, std::unique_ptr<Entry>, std::less<>> entries_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace kvorum::metrics
