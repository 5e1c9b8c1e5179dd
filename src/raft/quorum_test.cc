#include "raft/quorum.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "raft/membership.h"

namespace kvorum::raft {
namespace {

using Acks = std::map<uint64_t, uint64_t>;

IdSet Ids(const std::vector<uint64_t>& ids) {
  IdSet set;
  for (const uint64_t id : ids) set.Insert(NodeId(id % 8 + 1));
  return set;
}

std::optional<Index> Lookup(const Acks& acks, NodeId id) {
  const auto ack = acks.find(id.value() % 8);
  return ack == acks.end() ? std::nullopt : std::optional(Index(ack->second % 20));
}

RC_GTEST_PROP(QuorumTest, TheCommittedIndexIsTheHighestThatAMajorityHas,
              (std::vector<uint64_t> ids, Acks acks)) {
  const IdSet voters = Ids(ids);
  RC_PRE(!voters.empty());
  const auto acked = [&](NodeId id) { return Lookup(acks, id); };
  const Index committed = MajorityCommitted(voters, acked);
  const auto reached = [&](Index index) {
    size_t count = 0;
    for (const NodeId id : voters) count += acked(id).value_or(Index(0)) >= index;
    return count > voters.size() / 2;
  };
  RC_ASSERT(reached(committed));
  RC_ASSERT(!reached(committed + 1));
}

RC_GTEST_PROP(QuorumTest, JointVotesAgreeWithBothHalvesInEitherOrder,
              (std::vector<uint64_t> in, std::vector<uint64_t> out, Acks acks)) {
  const JointConfig config{.incoming = Ids(in), .outgoing = Ids(out)};
  Votes votes;
  for (const auto& [id, ack] : acks) votes[NodeId(id % 8 + 1)] = ack % 2 == 0;
  const VoteResult result = config.Vote(votes);
  RC_ASSERT(result == (JointConfig{.incoming = config.outgoing, .outgoing = config.incoming}.Vote(votes)));
  const bool both = MajorityVote(config.incoming, votes) == VoteResult::kWon &&
                    MajorityVote(config.outgoing, votes) == VoteResult::kWon;
  RC_ASSERT((result == VoteResult::kWon) == both);
}

// Thesis §4.1 and §4.3: what a change leads to shares a node with every majority of what was before.
RC_GTEST_PROP(MembershipTest, EveryChangeKeepsMajoritiesOverlapping,
              (std::vector<uint64_t> start, std::vector<std::pair<uint64_t, uint64_t>> words, bool joint)) {
  const Inflights window(4, 0);
  const IdSet voters = Ids(start);
  RC_PRE(!voters.empty());
  const Membership before = RestoreMembership({.voters = voters.ids()}, Index(1), window).value();
  std::vector<ConfChangeSingle> changes;
  for (const auto& [type, id] : words) {
    changes.push_back({static_cast<ConfChangeType>(type % 4), NodeId(id % 9)});
  }
  const MembershipChanger changer(before, Index(1), window);
  const auto after = joint ? changer.EnterJoint(false, changes) : changer.Simple(changes);
  if (!after.ok()) return;
  RC_ASSERT(after->Check().ok());
  // No set of nodes wins after the change while the rest wins before it.
  const IdSet all = after->voters.All();
  for (uint32_t mask = 0; mask < 512; ++mask) {
    Votes side;
    Votes rest;
    for (uint64_t id = 1; id <= 9; ++id) {
      const bool in = (mask >> (id - 1) & 1) != 0;
      side[NodeId(id)] = in;
      rest[NodeId(id)] = !in;
    }
    RC_ASSERT(after->voters.Vote(side) != VoteResult::kWon || before.voters.Vote(rest) != VoteResult::kWon);
  }
  // What it describes leads back to it.
  const auto restored = RestoreMembership(after->ToConfState(), Index(1), window);
  RC_ASSERT(restored.ok());
  RC_ASSERT(restored->ToConfState() == after->ToConfState());
}

}  // namespace
}  // namespace kvorum::raft
