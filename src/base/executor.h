#pragma once

#include <chrono>
#include <cstdint>

#include "absl/functional/any_invocable.h"
#include "base/clock.h"

namespace kvorum {

/// Runs tasks one at a time, in the order in which they were posted: a thread with a queue, an I/O loop, or a
/// simulator's turn. State that only one executor's tasks touch needs no lock.
class Executor {
 public:
  using Task = absl::AnyInvocable<void()>;
  using TimerId = uint64_t;

  virtual ~Executor() = default;

  /// Thread-safe; never runs `task` inside the call. Posting to an executor that is already awake costs no
  /// system call. A task posted after the executor stopped is destroyed without running.
  virtual void Post(Task task) = 0;

  /// Runs `task` once, at `deadline` or a little later, on this executor. Thread-safe.
  virtual TimerId PostAt(MonotonicTime deadline, Task task) = 0;

  /// Forgets a timer. Called on this executor, its task will not run; called elsewhere, it may be running.
  virtual void CancelTimer(TimerId timer) = 0;

  virtual const Clock& clock() const = 0;

  TimerId PostAfter(std::chrono::nanoseconds delay, Task task) {
    return PostAt(clock().Now() + delay, std::move(task));
  }
};

}  // namespace kvorum
