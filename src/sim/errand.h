#pragma once

#include <cstdint>
#include <utility>

#include "sim/node.h"
#include "sim/scheduler.h"

namespace kvorum::sim {

/// How one client's requests get to a member and their answers back: one at a time, each way takes time, the
/// process that has the request may end, and the client waits only so long. One thread.
class Errand {
 public:
  /// One request, wherever it is.
  struct Trip {
    uint64_t number;
    Node* node;
    uint64_t start;  ///< of the node's process

    /// It lies in the socket of a process that stands still: nobody looks at it before the client gives up.
    bool IsStuck() const { return node->paused(); }
    /// The process that it went to is gone.
    bool IsCutShort() const { return !node->up() || node->starts() != start; }
  };

  explicit Errand(Scheduler* scheduler) : scheduler_(*scheduler) {}

  bool under_way() const { return under_way_; }
  /// Whether the client still waits for this one.
  bool IsAwaited(const Trip& trip) const { return under_way_ && trip.number == number_; }

  /// The request leaves: `arrive(trip)` runs when it is there, and `give_up()` when the client has waited
  /// long enough, unless End was called.
  template <typename Arrive, typename GiveUp>
  void Begin(Node* node, Arrive arrive, GiveUp give_up) {
    const Trip trip{.number = ++number_, .node = node, .start = node->starts()};
    under_way_ = true;
    scheduler_.After(Way(), [trip, arrive = std::move(arrive)]() mutable { arrive(trip); });
    give_up_ = scheduler_.After(scheduler_.Between(kMinPatience, kMaxPatience), std::move(give_up));
  }
  /// The answer leaves: `arrive()` runs when it is there, also where nobody waits for it any more.
  template <typename Arrive>
  void Return(Arrive arrive) {
    scheduler_.After(Way(), std::move(arrive));
  }
  /// The client waits no longer.
  void End() {
    if (std::exchange(under_way_, false)) scheduler_.Cancel(give_up_);
  }

 private:
  static constexpr Instant kMinPatience = 200'000'000;
  static constexpr Instant kMaxPatience = 3'000'000'000;
  static constexpr Instant kMinWay = 20'000;
  static constexpr Instant kMaxWay = 500'000;

  Instant Way() { return scheduler_.Between(kMinWay, kMaxWay); }

  Scheduler& scheduler_;
  uint64_t number_ = 0;
  bool under_way_ = false;
  Scheduler::EventId give_up_ = 0;
};

}  // namespace kvorum::sim
