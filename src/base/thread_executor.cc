#include "base/thread_executor.h"

#include <pthread.h>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/check.h"

namespace kvorum {

ThreadExecutor::ThreadExecutor(std::string name)
    : thread_([this, name = std::move(name)] {
        pthread_setname_np(pthread_self(), name.substr(0, 15).c_str());
        Run();
      }) {}

ThreadExecutor::~ThreadExecutor() { Stop(); }

void ThreadExecutor::Post(Task task) {
  absl::MutexLock lock(&mutex_);
  if (stopping_) return;
  queue_.push_back(std::move(task));
  if (asleep_) {
    asleep_ = false;
    wake_.Signal();
  }
}

Executor::TimerId ThreadExecutor::PostAt(MonotonicTime deadline, Task task) {
  absl::MutexLock lock(&mutex_);
  const TimerId id = next_timer_++;
  if (stopping_) return id;
  const bool earliest = timers_.empty() || deadline < timers_.begin()->first.first;
  timers_.emplace(std::pair(deadline, id), std::move(task));
  deadlines_.emplace(id, deadline);
  if (earliest && asleep_) {
    asleep_ = false;
    wake_.Signal();
  }
  return id;
}

void ThreadExecutor::CancelTimer(TimerId timer) {
  Task dropped;  // destroyed after the lock is released
  absl::MutexLock lock(&mutex_);
  auto it = deadlines_.find(timer);
  if (it == deadlines_.end()) return;
  auto entry = timers_.find(std::pair(it->second, timer));
  dropped = std::move(entry->second);
  timers_.erase(entry);
  deadlines_.erase(it);
}

void ThreadExecutor::Stop() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
    wake_.Signal();
  }
  if (!thread_.joinable()) return;
  KVORUM_CHECK(thread_.get_id() != std::this_thread::get_id(), "an executor cannot stop itself");
  thread_.join();
}

void ThreadExecutor::Run() {
  std::vector<Task> batch;
  for (;;) {
    {
      absl::MutexLock lock(&mutex_);
      while (queue_.empty() && !stopping_) {
        if (timers_.empty()) {
          asleep_ = true;
          wake_.Wait(&mutex_);
        } else {
          const auto wait = timers_.begin()->first.first - clock().Now();
          if (wait <= std::chrono::nanoseconds(0)) break;
          asleep_ = true;
          wake_.WaitWithTimeout(&mutex_, absl::FromChrono(wait));
        }
        asleep_ = false;
      }
      if (queue_.empty() && stopping_) {
        timers_.clear();
        deadlines_.clear();
        return;
      }
      batch.swap(queue_);
    }
    for (Task& task : batch) task();
    batch.clear();

    // Due timers run one by one, so that each may still cancel the next.
    for (;;) {
      Task due;
      {
        absl::MutexLock lock(&mutex_);
        if (stopping_ || timers_.empty() || timers_.begin()->first.first > clock().Now()) break;
        deadlines_.erase(timers_.begin()->first.second);
        due = std::move(timers_.begin()->second);
        timers_.erase(timers_.begin());
      }
      due();
    }
  }
}

}  // namespace kvorum
