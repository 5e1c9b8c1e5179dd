#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/check.h"
#include "base/executor.h"

namespace kvorum::http {

/// Tasks by deadline: a binary heap whose entries can be taken out in O(log n). Not thread-safe.
class TimerHeap {
 public:
  using Id = Executor::TimerId;

  /// Ids are never 0 and not used twice.
  Id Add(MonotonicTime deadline, Executor::Task task) {
    uint32_t slot;
    if (free_.empty()) {
      slot = static_cast<uint32_t>(slots_.size());
      slots_.emplace_back();
    } else {
      slot = free_.back();
      free_.pop_back();
    }
    slots_[slot].task = std::move(task);
    heap_.push_back({deadline, slot});
    slots_[slot].position = static_cast<uint32_t>(heap_.size() - 1);
    Up(heap_.size() - 1);
    return uint64_t{slots_[slot].generation} << 32 | slot;
  }

  /// The task, or an empty one where the timer has run or was taken before.
  Executor::Task Take(Id id) {
    const auto slot = static_cast<uint32_t>(id);
    if (slot >= slots_.size() || slots_[slot].generation != id >> 32) return nullptr;
    return TakeAt(slots_[slot].position);
  }

  /// The task of the earliest timer whose deadline is not after `now`, or an empty one.
  Executor::Task TakeDue(MonotonicTime now) {
    if (heap_.empty() || heap_.front().deadline > now) return nullptr;
    return TakeAt(0);
  }

  std::optional<MonotonicTime> Earliest() const {
    if (heap_.empty()) return std::nullopt;
    return heap_.front().deadline;
  }

  size_t size() const { return heap_.size(); }

  /// Every entry stands after its parent, and each slot in use knows its place.
  void CheckInvariants() const {
    for (size_t i = 0; i < heap_.size(); ++i) {
      KVORUM_CHECK(i == 0 || heap_[(i - 1) / 2].deadline <= heap_[i].deadline, "heap order at {}", i);
      KVORUM_CHECK(slots_[heap_[i].slot].position == i, "position of slot {}", heap_[i].slot);
    }
  }

 private:
  struct Entry {
    MonotonicTime deadline;
    uint32_t slot;
  };
  struct Slot {
    Executor::Task task;
    uint32_t position = 0;
    uint32_t generation = 1;  // part of the id, so that an old id finds nothing
  };

  Executor::Task TakeAt(size_t position) {
    const uint32_t slot = heap_[position].slot;
    Executor::Task task = std::move(slots_[slot].task);
    slots_[slot].task = nullptr;
    ++slots_[slot].generation;
    free_.push_back(slot);
    const Entry last = heap_.back();
    heap_.pop_back();
    if (position < heap_.size()) {
      Place(position, last);
      Up(position);
      Down(slots_[last.slot].position);
    }
    return task;
  }

  void Place(size_t position, Entry entry) {
    heap_[position] = entry;
    slots_[entry.slot].position = static_cast<uint32_t>(position);
  }

  void Up(size_t position) {
    const Entry entry = heap_[position];
    while (position > 0) {
      const size_t parent = (position - 1) / 2;
      if (heap_[parent].deadline <= entry.deadline) break;
      Place(position, heap_[parent]);
      position = parent;
    }
    Place(position, entry);
  }

  void Down(size_t position) {
    const Entry entry = heap_[position];
    for (;;) {
      size_t child = 2 * position + 1;
      if (child >= heap_.size()) break;
      if (child + 1 < heap_.size() && heap_[child + 1].deadline < heap_[child].deadline) ++child;
      if (entry.deadline <= heap_[child].deadline) break;
      Place(position, heap_[child]);
      position = child;
    }
    Place(position, entry);
  }

  std::vector<Entry> heap_;
  std::vector<Slot> slots_;
  std::vector<uint32_t> free_;
};

}  // namespace kvorum::http
