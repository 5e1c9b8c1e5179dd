#include "sim/executor.h"

#include <utility>

namespace kvorum::sim {

namespace {

/// How long a thread takes to get going.
constexpr Instant kWakeUp = 20'000;

}  // namespace

SimExecutor::~SimExecutor() {
  if (awake_) scheduler_->Cancel(turn_);
  for (auto& [id, timer] : timers_) scheduler_->Cancel(timer.event);
}

void SimExecutor::Post(Task task) {
  tasks_.push_back(std::move(task));
  Wake();
}

Executor::TimerId SimExecutor::PostAt(MonotonicTime deadline, Task task) {
  const TimerId id = ++last_timer_;
  const Instant when = clock_->InstantOf(deadline);
  Timer& timer = timers_[id];
  timer.task = std::move(task);
  timer.event = scheduler_->At(when, [this, id] {
    // Run in its turn; until then it can still be forgotten.
    Post([this, id] {
      auto found = timers_.extract(id);
      if (!found.empty()) found.mapped().task();
    });
  });
  return id;
}

void SimExecutor::CancelTimer(TimerId timer) {
  auto found = timers_.extract(timer);
  if (!found.empty()) scheduler_->Cancel(found.mapped().event);
}

void SimExecutor::Pause() {
  paused_ = true;
  if (awake_) scheduler_->Cancel(turn_);
  awake_ = false;
}

void SimExecutor::Resume() {
  paused_ = false;
  if (!tasks_.empty()) Wake();
}

void SimExecutor::Wake() {
  if (awake_ || paused_) return;
  awake_ = true;
  turn_ = scheduler_->After(scheduler_->Between(0, kWakeUp + lag_), [this] { Run(); });
}

void SimExecutor::Run() {
  awake_ = false;
  for (size_t n = tasks_.size(); n > 0; --n) {
    Task task = std::move(tasks_.front());
    tasks_.pop_front();
    task();
  }
  if (!tasks_.empty()) Wake();
}

}  // namespace kvorum::sim
