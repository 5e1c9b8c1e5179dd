#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "base/ids.h"

namespace kvorum::lease {

/// When to look at which lease next, earliest first, lower ids first among equals. Entries are never taken
/// out of the middle: whoever pops one asks the lease whether it still means it.
class DueQueue {
 public:
  struct Entry {
    int64_t when_ns;
    LeaseId id;
    auto operator<=>(const Entry&) const = default;
  };

  void Push(Entry entry) {
    heap_.push_back(entry);
    std::push_heap(heap_.begin(), heap_.end(), std::greater<>());
  }
  /// The earliest entry at or before `now_ns`, taken out.
  std::optional<Entry> PopDue(int64_t now_ns) {
    if (heap_.empty() || heap_.front().when_ns > now_ns) return std::nullopt;
    std::pop_heap(heap_.begin(), heap_.end(), std::greater<>());
    const Entry entry = heap_.back();
    heap_.pop_back();
    return entry;
  }
  void Assign(std::vector<Entry> entries) {
    heap_ = std::move(entries);
    std::make_heap(heap_.begin(), heap_.end(), std::greater<>());
  }
  void Clear() { std::vector<Entry>().swap(heap_); }
  size_t size() const { return heap_.size(); }
  const std::vector<Entry>& entries() const { return heap_; }

 private:
  std::vector<Entry> heap_;
};

}  // namespace kvorum::lease
