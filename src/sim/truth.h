#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "mvcc/watch.h"
#include "sim/history.h"
#include "sim/ledger.h"
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

  const std::vector<Revision>& revisions() const { return ledger_.revisions(); }
  /// The last one known without a gap; 1: none.
  int64_t last() const { return ledger_.last(); }
  const Violations& violations() const { return ledger_.violations(); }

 private:
  struct Follower;

  void Take(Follower& follower);
  /// A member tells `events` of a revision, which have the hash `bytes`.
  void Learn(const Follower& follower, int64_t number, uint64_t bytes, std::span<const Bytes> events);

  Scheduler* const scheduler_;
  Ledger ledger_;
  /// By revision: the hash of what was told of it first, so that the same need not be read again. 0: nothing.
  std::vector<uint64_t> told_;
  std::map<uint64_t, std::shared_ptr<Follower>> followers_;
};

/// The events of a batch, by revision.
std::vector<Revision> RevisionsOf(const mvcc::WatchBatch& batch);

}  // namespace kvorum::sim
