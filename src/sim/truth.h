#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "mvcc/watch.h"
#include "sim/history.h"
#include "sim/node.h"

namespace kvorum::sim {

/// Gathers what each revision did by watching everything on every member, and holds each member's account
/// against the others'. It is no client: faults of the network do not reach it.
class Truth {
 public:
  explicit Truth(Scheduler* scheduler) : scheduler_(scheduler) {}
  ~Truth();

  /// A process began at that node, or ended.
  void Follow(Node& node);
  void Leave(Node& node);

  const std::vector<Revision>& revisions() const { return revisions_; }
  /// The last one known without a gap; 1: none.
  int64_t last() const { return static_cast<int64_t>(revisions_.size()) + 1; }
  const Violations& violations() const { return violations_; }

 private:
  struct Follower;

  void Take(Follower& follower);
  void Learn(const Follower& follower, Revision revision);

  Scheduler* const scheduler_;
  std::vector<Revision> revisions_;
  std::map<int64_t, Revision> early_;  // behind a gap
  std::map<uint64_t, std::shared_ptr<Follower>> followers_;
  Violations violations_;
};

/// The events of a batch, by revision.
std::vector<Revision> RevisionsOf(const mvcc::WatchBatch& batch);

}  // namespace kvorum::sim
