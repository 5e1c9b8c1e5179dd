#pragma once

#include <cstdint>
#include <string>

namespace kvorum::v2store {

/// Counters of what was asked of the store; a part of its snapshots (reference: v2-keys.md §9.1).
struct Stats {
  uint64_t gets_success = 0;
  uint64_t gets_fail = 0;
  uint64_t sets_success = 0;
  uint64_t sets_fail = 0;
  uint64_t delete_success = 0;
  uint64_t delete_fail = 0;
  uint64_t update_success = 0;
  uint64_t update_fail = 0;
  uint64_t create_success = 0;
  uint64_t create_fail = 0;
  uint64_t compare_and_swap_success = 0;
  uint64_t compare_and_swap_fail = 0;
  uint64_t compare_and_delete_success = 0;
  uint64_t compare_and_delete_fail = 0;
  uint64_t expire_count = 0;
  uint64_t watchers = 0;
  bool operator==(const Stats&) const = default;
};

/// As /v2/stats/store shows it.
std::string ToJson(const Stats& stats);

}  // namespace kvorum::v2store
