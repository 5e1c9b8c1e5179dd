#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/executor.h"

namespace kvorum::http {

class Poller;

/// Work that is left for the end of a turn, so that it is done once for everything the turn brought.
class TurnEnd {
 public:
  virtual ~TurnEnd() = default;
  virtual void OnTurnEnd() = 0;
};

/// An I/O thread. Everything that belongs to a connection happens on its connection's loop, without locks. It
/// goes round: what is ready to be read or written (some of it, in one turn), the posted tasks and due timers
/// (one turn), what was put off (a turn each); and waits where there is nothing. Posts from other threads
/// share one wake-up. Timers are due at most a millisecond late.
class Loop final : public Executor {
 public:
  /// `name` is the thread's name, at most 15 characters.
  explicit Loop(std::string name);
  /// Stops as `Stop()` does.
  ~Loop() override;

  void Post(Task task) override;
  TimerId PostAt(MonotonicTime deadline, Task task) override;
  void CancelTimer(TimerId timer) override;
  const Clock& clock() const override { return SystemClock(); }

  /// Runs `task` in a turn of its own behind the input that waits and the tasks that are posted. On the loop
  /// only; when its thread has ended, the task is destroyed sooner or later.
  void PutOff(Task task);

  /// Its sockets.
  Poller& poller();
  /// True on the loop's own thread.
  bool InThread() const;

  /// Calls `work->OnTurnEnd()` at the end of this turn, or when the outermost `Turn` ends. On the loop only.
  void AtTurnEnd(std::shared_ptr<TurnEnd> work);

  /// A stretch that counts as one turn. Everything that runs on a loop runs inside one.
  class Turn {
   public:
    explicit Turn(Loop& loop);
    ~Turn();
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    Loop& loop_;
  };

  /// Lets the thread end after what is posted, and joins it. Not from the loop.
  void Stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// The I/O threads of a process.
class LoopGroup {
 public:
  /// REQUIRES: threads > 0
  explicit LoopGroup(size_t threads, std::string_view name = "io");
  ~LoopGroup();

  size_t size() const { return loops_.size(); }
  Loop& at(size_t i) { return *loops_[i]; }
  /// The next loop, in turn; thread-safe.
  Loop& Next();
  void Stop();

 private:
  std::vector<std::unique_ptr<Loop>> loops_;
  std::atomic<size_t> next_{0};
};

}  // namespace kvorum::http
