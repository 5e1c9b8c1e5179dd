#include "v2store/stats.h"

#include "fmt/format.h"
#include "v2store/counters.h"

namespace kvorum::v2store {

std::string ToJson(const Stats& stats) {
  std::string out;
  for (const StatsField& field : kStatsFields) {
    out += fmt::format("{}\"{}\":{}", out.empty() ? '{' : ',', field.name, stats.*field.value);
  }
  return out + '}';
}

// The fields up to `expireCount` come in pairs in the order of `Kind`.
Stats Counters::Get() const {
  Stats stats;
  for (size_t i = 0; i < 2 * counts_.size(); ++i) {
    stats.*kStatsFields[i].value = counts_[i / 2][i % 2].load(std::memory_order_relaxed);
  }
  stats.expire_count = expired_.load(std::memory_order_relaxed);
  return stats;
}

void Counters::Set(const Stats& stats) {
  for (size_t i = 0; i < 2 * counts_.size(); ++i) {
    counts_[i / 2][i % 2].store(stats.*kStatsFields[i].value, std::memory_order_relaxed);
  }
  expired_.store(stats.expire_count, std::memory_order_relaxed);
}

}  // namespace kvorum::v2store
