#pragma once

#include <deque>
#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "base/executor.h"

namespace kvorum {

/// An Executor with one thread of its own. Takes everything that waits in one turn, so a burst of posts costs
/// one wake-up.
class ThreadExecutor final : public Executor {
 public:
  /// `name` is the thread's name as the system shows it, at most 15 characters.
  explicit ThreadExecutor(std::string name);
  /// Stops as `Stop()` does.
  ~ThreadExecutor() override;

  void Post(Task task) override;
  TimerId PostAt(MonotonicTime deadline, Task task) override;
  void CancelTimer(TimerId timer) override;
  const Clock& clock() const override { return SystemClock(); }

  /// Runs what was posted before the call, drops timers, and joins the thread. Not from the executor itself.
  void Stop();

 private:
  void Run();

  absl::Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  TimerId next_timer_ ABSL_GUARDED_BY(mutex_) = 1;
  std::vector<Task> queue_ ABSL_GUARDED_BY(mutex_);
  std::map<std::pair<MonotonicTime, TimerId>, Task> timers_ ABSL_GUARDED_BY(mutex_);
  std::map<TimerId, MonotonicTime> deadlines_ ABSL_GUARDED_BY(mutex_);
  /// The thread waits on this with the mutex released; signalled only when it sleeps.
  absl::CondVar wake_;
  bool asleep_ ABSL_GUARDED_BY(mutex_) = false;

  std::thread thread_;  // last: starts when everything above is ready
};

}  // namespace kvorum
