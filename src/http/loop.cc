#include "http/loop.h"

#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <thread>
#include <utility>

#include "absl/synchronization/mutex.h"
#include "base/check.h"
#include "fmt/format.h"
#include "http/poller.h"
#include "http/timer_heap.h"

namespace kvorum::http {

namespace {
thread_local const Loop* current_loop = nullptr;
}  // namespace

struct Loop::Impl {
  explicit Impl(Loop* owner) : loop(owner) {}
  /// What waits is let go of while the rest is still there.
  ~Impl() {
    poller.End();
    while (LetGo()) {
    }
    over = true;
  }

  Loop* const loop;
  Poller poller;

  absl::Mutex mutex;
  std::vector<Task> queue ABSL_GUARDED_BY(mutex);
  TimerHeap timers ABSL_GUARDED_BY(mutex);
  /// The thread waits, or is about to, and has to be woken.
  bool asleep ABSL_GUARDED_BY(mutex) = false;
  bool stopping ABSL_GUARDED_BY(mutex) = false;

  // Owned by the loop's thread. The memory of those that ran is that of the next ones.
  std::vector<Task> running;
  std::vector<Task> put_off;
  std::vector<Task> running_put_off;
  bool over = false;
  int turn_depth = 0;
  std::vector<std::shared_ptr<TurnEnd>> turn_ends;
  std::vector<std::shared_ptr<TurnEnd>> running_turn_ends;
  std::thread thread;

  /// False: nothing is left. What goes may own what leaves something more.
  bool LetGo() {
    const std::vector<Task> off = std::exchange(put_off, {});
    const std::vector<std::shared_ptr<TurnEnd>> ends = std::exchange(turn_ends, {});
    absl::ReleasableMutexLock lock(&mutex);
    const std::vector<Task> posted = std::exchange(queue, {});
    const TimerHeap set = std::exchange(timers, {});
    lock.Release();
    return !off.empty() || !ends.empty() || !posted.empty() || set.size() > 0;
  }

  void Run() {
    // What was closed last tells those who wait for it by what is put off. Some put off for as long as there
    // is something to send.
    int last_rounds = 16;
    do {
      running_put_off.swap(put_off);
      const int timeout_ms = TimeoutMs();
      {
        Turn turn(*loop);
        poller.Poll(timeout_ms);
      }
      RunPosted();
      RunPutOff();
    } while (!IsOver() || (!put_off.empty() && last_rounds-- > 0));
  }

  /// How long there is nothing to do, as far as is known.
  int TimeoutMs() {
    absl::MutexLock lock(&mutex);
    if (!queue.empty() || stopping || !running_put_off.empty()) return 0;
    asleep = true;
    const std::optional<MonotonicTime> earliest = timers.Earliest();
    if (!earliest) return -1;
    constexpr auto kLongest = std::chrono::milliseconds(std::chrono::hours(1));
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(*earliest - loop->clock().Now());
    return static_cast<int>(std::clamp(left, std::chrono::milliseconds(0), kLongest).count());
  }

  void RunPosted() {
    {
      absl::MutexLock lock(&mutex);
      asleep = false;
      running.swap(queue);
      if (running.empty() && !timers.Earliest()) return;
    }
    Turn turn(*loop);
    for (Task& task : running) {
      task();
      task = nullptr;
    }
    running.clear();
    RunDueTimers();
  }

  void RunDueTimers() {
    const MonotonicTime now = loop->clock().Now();
    for (;;) {
      Task due;
      {
        absl::MutexLock lock(&mutex);
        if (!stopping) due = timers.TakeDue(now);
      }
      if (!due) return;
      due();
    }
  }

  void RunPutOff() {
    for (Task& task : running_put_off) {
      Turn turn(*loop);
      task();
      task = nullptr;
    }
    running_put_off.clear();
  }

  bool IsOver() {
    absl::MutexLock lock(&mutex);
    return stopping && queue.empty();
  }

  void RunTurnEnds() {
    // Work may leave more work behind.
    while (!turn_ends.empty()) {
      running_turn_ends.swap(turn_ends);
      for (std::shared_ptr<TurnEnd>& work : running_turn_ends) {
        work->OnTurnEnd();
        work.reset();
      }
      running_turn_ends.clear();
    }
  }
};

Loop::Loop(std::string name) : impl_(std::make_unique<Impl>(this)) {
  impl_->thread = std::thread([this, name = std::move(name)] {
    pthread_setname_np(pthread_self(), name.substr(0, 15).c_str());
    current_loop = this;
    impl_->Run();
    current_loop = nullptr;
  });
}

Loop::~Loop() { Stop(); }

void Loop::Post(Task task) {
  bool wake = false;
  {
    absl::MutexLock lock(&impl_->mutex);
    if (impl_->stopping) return;
    impl_->queue.push_back(std::move(task));
    wake = std::exchange(impl_->asleep, false);
  }
  if (wake) impl_->poller.Wake();
}

Executor::TimerId Loop::PostAt(MonotonicTime deadline, Task task) {
  bool wake = false;
  TimerId id;
  {
    absl::MutexLock lock(&impl_->mutex);
    const std::optional<MonotonicTime> earliest = impl_->timers.Earliest();
    id = impl_->timers.Add(deadline, std::move(task));
    if (!earliest || deadline < *earliest) wake = std::exchange(impl_->asleep, false);
  }
  if (wake) impl_->poller.Wake();
  return id;
}

void Loop::CancelTimer(TimerId timer) {
  Task dropped;  // destroyed after the lock is released
  absl::MutexLock lock(&impl_->mutex);
  dropped = impl_->timers.Take(timer);
}

void Loop::PutOff(Task task) {
  if (!impl_->over) impl_->put_off.push_back(std::move(task));
}

Poller& Loop::poller() { return impl_->poller; }

bool Loop::InThread() const { return current_loop == this; }

void Loop::AtTurnEnd(std::shared_ptr<TurnEnd> work) {
  impl_->turn_ends.push_back(std::move(work));
  if (impl_->turn_depth == 0) PutOff([] {});  // its thread has ended, or is about to
}

Loop::Turn::Turn(Loop& loop) : loop_(loop) { ++loop_.impl_->turn_depth; }

Loop::Turn::~Turn() {
  if (loop_.impl_->turn_depth == 1) loop_.impl_->RunTurnEnds();
  --loop_.impl_->turn_depth;
}

void Loop::Stop() {
  if (!impl_->thread.joinable()) return;
  KVORUM_CHECK(!InThread(), "a loop cannot stop itself");
  bool wake = false;
  {
    absl::MutexLock lock(&impl_->mutex);
    impl_->stopping = true;
    wake = std::exchange(impl_->asleep, false);
  }
  if (wake) impl_->poller.Wake();
  impl_->thread.join();
}

LoopGroup::LoopGroup(size_t threads, std::string_view name) {
  KVORUM_CHECK(threads > 0, "a group of no loops");
  for (size_t i = 0; i < threads; ++i) loops_.push_back(std::make_unique<Loop>(fmt::format("{}{}", name, i)));
}

LoopGroup::~LoopGroup() { Stop(); }

Loop& LoopGroup::Next() { return *loops_[next_.fetch_add(1, std::memory_order_relaxed) % loops_.size()]; }

void LoopGroup::Stop() {
  for (auto& loop : loops_) loop->Stop();
}

}  // namespace kvorum::http
