#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "backend/memory_backend.h"
#include "member/member.h"
#include "member/ports.h"
#include "sim/node_clock.h"
#include "sim/recorder.h"
#include "sim/scheduler.h"

namespace kvorum::sim {

/// How messages between machines fare.
struct NetworkManner {
  Instant min_delay = 50'000;
  Instant max_delay = 1'000'000;
  /// One message in so many (0: none):
  uint64_t lost_one_in = 0;
  uint64_t doubled_one_in = 0;
  /// is overtaken by those behind it.
  uint64_t late_one_in = 0;
  Instant late = 300'000'000;
};

/// A machine as the network sees it.
class Machine {
 public:
  virtual ~Machine() = default;
  /// Null while no process runs there that listens.
  virtual member::Member* member() = 0;
  /// A database for the disk, which came with a snapshot. False where there is no room.
  virtual bool TakeDatabase(raft::Index index, std::unique_ptr<backend::MemoryBackend> database) = 0;
  virtual const std::vector<std::string>& peer_urls() const = 0;
};

/// The wire between all machines, and the questions that members ask each other over it. One thread.
class Network {
 public:
  Network(Scheduler* scheduler, NetworkManner manner, Recorder* recorder)
      : scheduler_(scheduler), manner_(manner), recorder_(recorder) {}

  void Add(MemberId id, Machine* machine) { machines_[id.value()] = machine; }
  /// Nobody is there any more. REQUIRES: no process runs there
  void Remove(MemberId id) { machines_.erase(id.value()); }
  /// From now on members may be removed or move: the wire looks at who somebody is and where.
  void ExpectChanges() { changes_ = true; }
  NetworkManner& manner() { return manner_; }
  /// Notes what passes here.
  Recorder* recorder() { return recorder_; }

  /// The ports of one process at that machine, until they are destroyed.
  std::unique_ptr<member::PeerTransport> NewTransport(MemberId local);
  std::unique_ptr<member::PeerCalls> NewCalls(MemberId local, const NodeClock* clock);
  /// Questions of one that is about to start and waits for the answers: they come at once.
  std::unique_ptr<member::PeerCalls> NewFirstCalls(std::string local_url);

  /// From now on nothing goes from `from` to `to`.
  void Cut(MemberId from, MemberId to) { cut_.insert({from.value(), to.value()}); }
  void HealAll() { cut_.clear(); }
  bool Passes(MemberId from, MemberId to) const { return !cut_.contains({from.value(), to.value()}); }

  // For scripts.

  /// Shown each message when it would arrive; one that it returns false for is not delivered.
  using Filter = absl::AnyInvocable<bool(const raft::Message& message)>;
  void SetFilter(Filter filter) { filter_ = std::move(filter); }
  /// Hands `message` to its receiver now, whatever holds of the wire.
  void Inject(raft::Message message);

  uint64_t messages() const { return messages_; }
  uint64_t snapshots() const { return snapshots_; }

 private:
  class Transport;
  class Calls;
  class FirstCalls;
  class Report;
  using Link = std::pair<uint64_t, uint64_t>;

  member::Member* MemberAt(uint64_t id);
  /// A number that no other process has; 0: none runs there.
  uint64_t ProcessAt(uint64_t id);
  /// Soon, or once it is not stopped any more; never where that process ends.
  void WhenAwake(uint64_t id, uint64_t process, std::function<void(member::Member&)> tell);
  Machine* MachineOf(const std::vector<std::string>& urls, uint64_t* id);
  /// Whether one of the two knows where the other is: connections are made from both sides.
  bool Meet(uint64_t a, uint64_t b);
  /// Tells a process that it is none of the cluster's any more.
  void TellRemoved(uint64_t id, uint64_t by);
  /// When a message that leaves now arrives; nullopt where it is lost.
  std::optional<Instant> Arrival(Link link);
  void Deliver(raft::Message&& message);

  Scheduler* const scheduler_;
  NetworkManner manner_;
  Recorder* const recorder_;
  std::map<uint64_t, Machine*> machines_;
  std::set<Link> cut_;
  std::map<Link, Instant> last_arrival_;
  std::map<uint64_t, Transport*> transports_;  // of the processes that run
  Filter filter_;
  bool changes_ = false;
  uint64_t processes_ = 0;
  uint64_t messages_ = 0;
  uint64_t snapshots_ = 0;
};

}  // namespace kvorum::sim
