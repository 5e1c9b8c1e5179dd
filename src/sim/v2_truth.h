#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "sim/history.h"
#include "sim/node.h"
#include "v2store/store.h"

namespace kvorum::sim {

/// Gathers what each index of the v2 store did, refreshes and hidden names too, from the history of every
/// member's store, and holds each member's account against the others': as it goes on, as a start took it
/// from the disk, and as a snapshot of the leader brought it. It is no client: faults of the network do not
/// reach it.
class V2Truth {
 public:
  explicit V2Truth(Scheduler* scheduler);
  ~V2Truth();

  /// A process began at that node, or is about to end.
  void Follow(Node& node);
  void Leave(Node& node);

  /// By index, from 1 on. An index that no member told of is left out.
  std::vector<V2Event> Events() const;
  /// The last one known without a gap.
  uint64_t last() const { return events_.size(); }

  /// Compares all that the stores of the nodes have. REQUIRES: they run and have come to the same index.
  void CompareStores(const std::vector<Node*>& nodes);

  const Violations& violations() const { return violations_; }

 private:
  struct Follower;
  struct Known {
    v2store::EventPtr event;
    Instant seen = kNever;
  };

  void Poll();
  void Watch(const std::shared_ptr<Follower>& follower);
  void Take(Follower& follower);
  void Learn(const Follower& follower, const v2store::EventPtr& event);

  Scheduler* const scheduler_;
  std::vector<Known> events_;        // of index 1, 2, …
  std::map<uint64_t, Known> early_;  // behind a gap
  std::map<uint64_t, std::shared_ptr<Follower>> followers_;
  Violations violations_;
};

}  // namespace kvorum::sim
