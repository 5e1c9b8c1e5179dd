#include "sim/scheduler.h"

#include <algorithm>
#include <bit>
#include <iterator>
#include <utility>

#include "base/check.h"

namespace kvorum::sim {

namespace {

/// Before what is due is looked through for them.
constexpr size_t kMostCancelled = 64;
/// What comes within this, and is not more, is kept in order, which costs less than a heap.
constexpr Instant kSoon = 2'000'000;
constexpr size_t kMostSoon = 64;

}  // namespace

Instant Scheduler::Between(Instant low, Instant high) {
  KVORUM_CHECK(low <= high);
  return low + static_cast<Instant>(chance_.Below(static_cast<uint64_t>(high - low) + 1));
}

Scheduler::EventId Scheduler::At(Instant when, Task task) {
  if (free_.empty()) {
    free_.push_back(static_cast<uint32_t>(slots_.size()));
    slots_.emplace_back();
  }
  const uint32_t slot = free_.back();
  free_.pop_back();
  slots_[slot].task = std::move(task);
  const uint32_t generation = slots_[slot].generation;
  const Due due{std::max(when, now_), ++order_, slot, generation};
  if (due.when - now_ < kSoon && soon_.size() < kMostSoon) {
    auto place = soon_.end();
    while (place != soon_.begin() && due < *std::prev(place)) --place;
    soon_.insert(place, due);
  } else {
    heap_.push_back(due);
    std::push_heap(heap_.begin(), heap_.end());
  }
  return uint64_t{generation} << 32 | slot;
}

void Scheduler::Cancel(EventId event) {
  const auto slot = static_cast<uint32_t>(event);
  if (slot >= slots_.size() || slots_[slot].generation != event >> 32 || !slots_[slot].task) return;
  // What the task holds may call in here when it goes.
  const Task forgotten = std::exchange(slots_[slot].task, nullptr);
  ++slots_[slot].generation;
  free_.push_back(slot);
  if (++cancelled_ > kMostCancelled && 2 * cancelled_ > soon_.size() + heap_.size()) Tidy();
}

void Scheduler::Tidy() {
  const auto cancelled = [this](const Due& due) { return slots_[due.slot].generation != due.generation; };
  std::erase_if(soon_, cancelled);
  std::erase_if(heap_, cancelled);
  std::make_heap(heap_.begin(), heap_.end());
  cancelled_ = 0;
}

bool Scheduler::TakeNext(Instant end, Due* next) {
  const bool soon = !soon_.empty() && (heap_.empty() || heap_.front() < soon_.back());
  if (!soon && heap_.empty()) return false;
  *next = soon ? soon_.back() : heap_.front();
  if (next->when > end) return false;
  if (!soon) std::pop_heap(heap_.begin(), heap_.end());
  (soon ? soon_ : heap_).pop_back();
  return true;
}

void Scheduler::RunUntil(Instant end) {
  for (Due due; !stopped_ && TakeNext(end, &due);) {
    if (slots_[due.slot].generation != due.generation) {
      --cancelled_;
      continue;
    }
    now_ = due.when;
    Task task = std::move(slots_[due.slot].task);
    ++slots_[due.slot].generation;
    free_.push_back(due.slot);
    ++events_;
    trace_ = std::rotl(trace_ ^ static_cast<uint64_t>(now_), 7) * 0x9e3779b97f4a7c15;
    task();
  }
  if (!stopped_) now_ = std::max(now_, end);
}

void Scheduler::Note(uint64_t fact) { trace_ = std::rotl(trace_ ^ fact, 23) * 0xbf58476d1ce4e5b9; }

}  // namespace kvorum::sim
