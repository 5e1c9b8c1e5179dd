#pragma once

#include <deque>
#include <unordered_map>

#include "base/executor.h"
#include "sim/node_clock.h"
#include "sim/scheduler.h"

namespace kvorum::sim {

/// One thread of one process: what is posted runs a little later, together with what else waits by then. It
/// can be stopped in its tracks, as by SIGSTOP, and is destroyed in them, as by SIGKILL.
class SimExecutor final : public Executor {
 public:
  SimExecutor(Scheduler* scheduler, const NodeClock* clock) : scheduler_(scheduler), clock_(clock) {}
  ~SimExecutor() override;

  void Post(Task task) override;
  TimerId PostAt(MonotonicTime deadline, Task task) override;
  void CancelTimer(TimerId timer) override;
  const Clock& clock() const override { return *clock_; }

  void Pause();
  /// From now on it takes up to so much longer before it gets going.
  void SetLag(Instant lag) { lag_ = lag; }
  void Resume();

 private:
  struct Timer {
    Task task;
    Scheduler::EventId event;
  };

  void Wake();
  void Run();

  Scheduler* const scheduler_;
  const NodeClock* const clock_;
  std::deque<Task> tasks_;
  std::unordered_map<TimerId, Timer> timers_;
  TimerId last_timer_ = 0;
  Scheduler::EventId turn_ = 0;
  bool awake_ = false;
  bool paused_ = false;
  Instant lag_ = 0;
};

}  // namespace kvorum::sim
