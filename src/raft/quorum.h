#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "raft/types.h"

namespace kvorum::raft {

/// A set of node ids in ascending order; small, so a sorted vector.
class IdSet {
 public:
  IdSet() = default;
  IdSet(std::initializer_list<NodeId> ids) {
    for (const NodeId id : ids) Insert(id);
  }

  bool Contains(NodeId id) const;
  void Insert(NodeId id);
  void Erase(NodeId id);
  void Clear() { ids_.clear(); }

  bool empty() const { return ids_.empty(); }
  size_t size() const { return ids_.size(); }
  auto begin() const { return ids_.begin(); }
  auto end() const { return ids_.end(); }
  const std::vector<NodeId>& ids() const { return ids_; }

  bool operator==(const IdSet&) const = default;

  /// "(1 a 2f)", in hex.
  std::string ToString() const;

 private:
  std::vector<NodeId> ids_;
};

enum class VoteResult : uint8_t {
  kPending,  ///< more votes may decide it either way
  kLost,     ///< a majority can no longer be reached
  kWon,
};
/// "VotePending" and so on.
std::string_view VoteResultName(VoteResult result);

/// What a voter has acknowledged; nothing where it was never heard of.
using AckedIndex = absl::FunctionRef<std::optional<Index>(NodeId)>;
using Votes = std::map<NodeId, bool>;

/// The highest index that a majority of `voters` has acknowledged: with no voters, beyond every index, so
/// that an empty half never holds a joint configuration back.
Index MajorityCommitted(const IdSet& voters, AckedIndex acked);
/// With no voters: won.
VoteResult MajorityVote(const IdSet& voters, const Votes& votes);

/// Two majorities that must agree while the outgoing one is not empty (thesis §4.3), one otherwise.
struct JointConfig {
  IdSet incoming;
  IdSet outgoing;

  bool joint() const { return !outgoing.empty(); }
  bool Contains(NodeId id) const { return incoming.Contains(id) || outgoing.Contains(id); }
  /// Voters of either half.
  IdSet All() const;
  /// One voter decides alone.
  bool IsSingleton() const { return incoming.size() == 1 && outgoing.empty(); }

  Index Committed(AckedIndex acked) const;
  VoteResult Vote(const Votes& votes) const;

  bool operator==(const JointConfig&) const = default;

  /// "(1 2)" or "(1 2)&&(1 3)".
  std::string ToString() const;
};

/// A picture of who has acknowledged how much: a line for each voter, the bar as long as the voters behind
/// it.
std::string DescribeAcked(const IdSet& voters, AckedIndex acked);

}  // namespace kvorum::raft
