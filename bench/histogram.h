#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <vector>

namespace kvorum::bench {

/// Latencies in nanoseconds, in buckets that are at most 1/32 wide. Not thread-safe.
class Histogram {
 public:
  void Add(uint64_t nanoseconds) {
    ++counts_[BucketOf(nanoseconds)];
    ++total_;
    if (nanoseconds > max_) max_ = nanoseconds;
  }

  uint64_t count() const { return total_; }
  uint64_t max() const { return max_; }

  /// The latency under which `fraction` (0 to 1) of the observations lie; 0 where there are none.
  uint64_t Quantile(double fraction) const {
    uint64_t rank = static_cast<uint64_t>(fraction * static_cast<double>(total_));
    for (size_t bucket = 0; bucket < counts_.size(); ++bucket) {
      if (counts_[bucket] > rank) return LowerBound(bucket);
      rank -= counts_[bucket];
    }
    return max_;
  }

 private:
  static constexpr int kSubBits = 5;

  static size_t BucketOf(uint64_t v) {
    if (v < (1U << kSubBits)) return v;
    const int shift = 63 - std::countl_zero(v) - kSubBits;
    return (static_cast<size_t>(shift + 1) << kSubBits) + ((v >> shift) & ((1U << kSubBits) - 1));
  }
  static uint64_t LowerBound(size_t bucket) {
    if (bucket < (1U << kSubBits)) return bucket;
    const size_t shift = (bucket >> kSubBits) - 1;
    return ((1U << kSubBits) + (bucket & ((1U << kSubBits) - 1))) << shift;
  }

  std::array<uint64_t, 60 << kSubBits> counts_{};
  uint64_t total_ = 0;
  uint64_t max_ = 0;
};

}  // namespace kvorum::bench
