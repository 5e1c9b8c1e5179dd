#pragma once

#include <cstdint>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "base/random.h"
#include "sim/history.h"

namespace kvorum::sim {

/// The one queue of everything that will happen in a run, and the only source of chance. Events of one
/// instant happen in the order in which they were asked for. One thread.
class Scheduler {
 public:
  using Task = absl::AnyInvocable<void()>;
  using EventId = uint64_t;

  explicit Scheduler(uint64_t seed) : chance_(seed) {}

  Instant now() const { return now_; }
  Random& chance() { return chance_; }
  /// Between `low` and `high`, both included.
  Instant Between(Instant low, Instant high);

  EventId At(Instant when, Task task);
  EventId After(Instant delay, Task task) { return At(now_ + delay, std::move(task)); }
  /// Forgets an event that has not happened; does nothing for others.
  void Cancel(EventId event);

  /// Lets everything happen up to and including `end`, and makes that the time; or until `Stop` is called
  /// inside.
  void RunUntil(Instant end);
  void Stop() { stopped_ = true; }
  bool stopped() const { return stopped_; }

  uint64_t events() const { return events_; }

  /// Mixes a fact into the hash by which two runs are compared.
  void Note(uint64_t fact);
  uint64_t trace() const { return trace_; }

 private:
  struct Slot {
    Task task;
    uint32_t generation = 0;
  };
  struct Due {
    Instant when;
    uint64_t order;
    uint32_t slot;
    uint32_t generation;
    /// For a heap whose top is the earliest.
    bool operator<(const Due& other) const {
      return when != other.when ? when > other.when : order > other.order;
    }
  };

  /// The next of what is due by `end`.
  bool TakeNext(Instant end, Due* next);
  /// Forgets the places of what was cancelled.
  void Tidy();

  Instant now_ = 0;
  Random chance_;
  uint64_t order_ = 0;
  uint64_t events_ = 0;
  uint64_t trace_ = 0;
  bool stopped_ = false;
  std::vector<Due> soon_;  // few, which were due soon when they were asked for; the earliest is the last
  std::vector<Due> heap_;  // all others
  size_t cancelled_ = 0;   // of both
  std::vector<Slot> slots_;
  std::vector<uint32_t> free_;
};

}  // namespace kvorum::sim
