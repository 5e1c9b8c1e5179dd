#include "http/loop.h"

#include <pthread.h>

#include <optional>
#include <thread>

#include "absl/synchronization/mutex.h"
#include "base/check.h"
#include "boost/asio/executor_work_guard.hpp"
#include "boost/asio/post.hpp"
#include "boost/asio/steady_timer.hpp"
#include "fmt/format.h"
#include "http/poller.h"
#include "http/timer_heap.h"

namespace kvorum::http {

namespace asio = boost::asio;

namespace {
thread_local const Loop* current_loop = nullptr;
}  // namespace

struct Loop::Impl {
  explicit Impl(Loop* owner) : loop(owner), poller(owner), context(1), alarm(context) {
    poller.Start(context);
  }
  ~Impl() { poller.End(); }

  Loop* const loop;

  absl::Mutex mutex;
  std::vector<Task> queue ABSL_GUARDED_BY(mutex);
  TimerHeap timers ABSL_GUARDED_BY(mutex);
  /// A `RunPosted` is on its way through the context.
  bool signalled ABSL_GUARDED_BY(mutex) = false;
  bool stopping ABSL_GUARDED_BY(mutex) = false;
  /// What `alarm` is set to, or being set to by a `RunPosted` under way.
  std::optional<MonotonicTime> alarm_at ABSL_GUARDED_BY(mutex);

  // Owned by the loop's thread.
  std::vector<Task> running;  // empty between turns; its memory is that of the next queue
  int turn_depth = 0;
  bool turn_end_posted = false;
  std::vector<std::shared_ptr<TurnEnd>> turn_ends;
  std::vector<std::shared_ptr<TurnEnd>> running_turn_ends;

  Poller poller;
  // Last, so that what its handlers own is destroyed while the rest is still there.
  asio::io_context context;
  asio::steady_timer alarm;
  std::thread thread;

  void Signal() {
    asio::post(context, [this] { RunPosted(); });
  }

  void RunPosted() {
    bool stop;
    {
      absl::MutexLock lock(&mutex);
      running.swap(queue);
      stop = stopping;
    }
    {
      Turn turn(*loop);
      for (Task& task : running) {
        task();
        task = nullptr;
      }
      running.clear();
      RunDueTimers();
    }
    absl::MutexLock lock(&mutex);
    SetAlarm();
    if (!queue.empty()) {
      Signal();  // behind the input that waits
    } else if (stop) {
      context.stop();
    } else {
      signalled = stopping;
      if (stopping) Signal();
    }
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

  /// Sets the Asio timer when a deadline came before the one it waits for; a later one waits for it to fire.
  void SetAlarm() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    const std::optional<MonotonicTime> earliest = timers.Earliest();
    if (!earliest || (alarm_at && *alarm_at <= *earliest)) return;
    alarm_at = earliest;
    alarm.expires_at(*earliest);
    alarm.async_wait([this](const boost::system::error_code& error) {
      if (error) return;
      {
        absl::MutexLock lock(&mutex);
        alarm_at.reset();
      }
      {
        Turn turn(*loop);
        RunDueTimers();
      }
      absl::MutexLock lock(&mutex);
      SetAlarm();
    });
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
    auto work = asio::make_work_guard(impl_->context);
    impl_->context.run();
    current_loop = nullptr;
  });
}

Loop::~Loop() { Stop(); }

void Loop::Post(Task task) {
  bool signal = false;
  {
    absl::MutexLock lock(&impl_->mutex);
    if (impl_->stopping) return;
    impl_->queue.push_back(std::move(task));
    signal = !std::exchange(impl_->signalled, true);
  }
  if (signal) impl_->Signal();
}

Executor::TimerId Loop::PostAt(MonotonicTime deadline, Task task) {
  bool signal = false;
  TimerId id;
  {
    absl::MutexLock lock(&impl_->mutex);
    id = impl_->timers.Add(deadline, std::move(task));
    if (impl_->stopping) return id;
    if (InThread()) {
      impl_->SetAlarm();
    } else if (!impl_->alarm_at || deadline < *impl_->alarm_at) {
      signal = !std::exchange(impl_->signalled, true);
    }
  }
  if (signal) impl_->Signal();
  return id;
}

void Loop::CancelTimer(TimerId timer) {
  Task dropped;  // destroyed after the lock is released
  absl::MutexLock lock(&impl_->mutex);
  dropped = impl_->timers.Take(timer);
}

asio::io_context& Loop::context() { return impl_->context; }

Poller& Loop::poller() { return impl_->poller; }

bool Loop::InThread() const { return current_loop == this; }

void Loop::AtTurnEnd(std::shared_ptr<TurnEnd> work) {
  impl_->turn_ends.push_back(std::move(work));
  if (impl_->turn_depth > 0 || impl_->turn_end_posted) return;
  impl_->turn_end_posted = true;
  asio::post(impl_->context, [impl = impl_.get()] {
    impl->turn_end_posted = false;
    Turn turn(*impl->loop);
  });
}

Loop::Turn::Turn(Loop& loop) : loop_(loop) { ++loop_.impl_->turn_depth; }

Loop::Turn::~Turn() {
  if (loop_.impl_->turn_depth == 1) loop_.impl_->RunTurnEnds();
  --loop_.impl_->turn_depth;
}

void Loop::Stop() {
  if (!impl_->thread.joinable()) return;
  KVORUM_CHECK(!InThread(), "a loop cannot stop itself");
  bool signal = false;
  {
    absl::MutexLock lock(&impl_->mutex);
    impl_->stopping = true;
    signal = !std::exchange(impl_->signalled, true);
  }
  if (signal) impl_->Signal();
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
