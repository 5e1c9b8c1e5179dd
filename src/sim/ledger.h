#pragma once

#include <cstdint>
#include <map>
#include <string_view>
#include <vector>

#include "sim/history.h"

namespace kvorum::sim {

/// What each revision did, put together from the accounts of all members, which are held against each other.
class Ledger {
 public:
  /// `member` tells that `revision` did what it says, at `now`. True where nobody had told of it.
  bool Learn(std::string_view member, Revision revision, Instant now);

  const std::vector<Revision>& revisions() const { return revisions_; }
  /// The last one known without a gap; 1: none.
  int64_t last() const { return static_cast<int64_t>(revisions_.size()) + 1; }
  /// The last one known at all.
  int64_t newest() const { return early_.empty() ? last() : early_.rbegin()->first; }
  /// Each difference between two members' accounts.
  const Violations& violations() const { return violations_; }

 private:
  std::vector<Revision> revisions_;
  std::map<int64_t, Revision> early_;  // behind a gap
  Violations violations_;
};

/// Adds an event to the last of `revisions`, or begins the next with it. REQUIRES: events come in order.
void AddEvent(mvccpb::Event event, std::vector<Revision>* revisions);

}  // namespace kvorum::sim
