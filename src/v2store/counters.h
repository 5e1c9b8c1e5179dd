#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "v2store/stats.h"

namespace kvorum::v2store {

/// The statistics while they are counted. Thread-safe.
class Counters {
 public:
  enum class Kind : uint8_t { kGets, kSets, kDelete, kUpdate, kCreate, kCompareAndSwap, kCompareAndDelete };

  void Count(Kind kind, bool success) { Add(counts_[static_cast<size_t>(kind)][success ? 0 : 1]); }
  void CountExpired() { Add(expired_); }

  /// All but `watchers`.
  Stats Get() const;
  void Set(const Stats& stats);

 private:
  // Each counts for itself: nothing is read of one by another.
  static void Add(std::atomic<uint64_t>& count) { count.fetch_add(1, std::memory_order_relaxed); }

  std::array<std::array<std::atomic<uint64_t>, 2>, 7> counts_{};
  std::atomic<uint64_t> expired_{0};
};

/// The fields of the statistics by their names in JSON, in its order.
struct StatsField {
  const char* name;
  uint64_t Stats::*value;
};
inline constexpr std::array<StatsField, 16> kStatsFields = {{
    {"getsSuccess", &Stats::gets_success},
    {"getsFail", &Stats::gets_fail},
    {"setsSuccess", &Stats::sets_success},
    {"setsFail", &Stats::sets_fail},
    {"deleteSuccess", &Stats::delete_success},
    {"deleteFail", &Stats::delete_fail},
    {"updateSuccess", &Stats::update_success},
    {"updateFail", &Stats::update_fail},
    {"createSuccess", &Stats::create_success},
    {"createFail", &Stats::create_fail},
    {"compareAndSwapSuccess", &Stats::compare_and_swap_success},
    {"compareAndSwapFail", &Stats::compare_and_swap_fail},
    {"compareAndDeleteSuccess", &Stats::compare_and_delete_success},
    {"compareAndDeleteFail", &Stats::compare_and_delete_fail},
    {"expireCount", &Stats::expire_count},
    {"watchers", &Stats::watchers},
}};

}  // namespace kvorum::v2store
