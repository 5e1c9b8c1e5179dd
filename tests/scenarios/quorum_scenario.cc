#include <limits>
#include <map>

#include "base/status.h"
#include "fmt/format.h"
#include "fmt/ranges.h"
#include "raft/quorum.h"
#include "scenario.h"

// Majorities: commands `committed` and `vote`. Source: reference raft.md §18.

namespace kvorum::scenarios {
namespace {

using raft::IdSet;
using raft::Index;
using raft::JointConfig;
using raft::NodeId;
using raft::VoteResult;

using Acks = std::map<NodeId, Index>;

std::string Text(Index index) {
  return index == Index(std::numeric_limits<uint64_t>::max()) ? "∞" : fmt::format("{}", index);
}

struct Input {
  bool joint = false;
  std::vector<NodeId> ids;
  std::vector<NodeId> outgoing_ids;
  std::vector<uint64_t> indexes;  ///< 0: not heard of
  std::vector<uint64_t> votes;    ///< 0: not heard of, 1: no, 2: yes

  JointConfig Config() const {
    JointConfig config;
    for (const NodeId id : ids) config.incoming.Insert(id);
    for (const NodeId id : outgoing_ids) config.outgoing.Insert(id);
    return config;
  }
};

absl::Status TakeValue(const std::string& key, const std::string& value, Input* input) {
  if (key == "cfg") {
    KVORUM_ASSIGN_OR_RETURN(const uint64_t id, ToUint(value));
    input->ids.push_back(NodeId(id));
  } else if (key == "cfgj") {
    input->joint = true;
    if (value == "zero") return absl::OkStatus();
    KVORUM_ASSIGN_OR_RETURN(const uint64_t id, ToUint(value));
    input->outgoing_ids.push_back(NodeId(id));
  } else if (key == "idx") {
    uint64_t index = 0;
    if (value != "_") {
      KVORUM_ASSIGN_OR_RETURN(index, ToUint(value));
      if (index == 0) return Malformed("cannot use 0 as idx");
    }
    input->indexes.push_back(index);
  } else if (key == "votes") {
    if (value != "y" && value != "n" && value != "_") {
      return Malformed(fmt::format("unknown vote: {}", value));
    }
    input->votes.push_back(value == "y" ? 2 : value == "n" ? 1 : 0);
  } else {
    return Malformed(fmt::format("unknown arg {}", key));
  }
  return absl::OkStatus();
}

/// The values in the order of the ids, a voter of both halves but once; without those that were not heard of.
std::map<NodeId, uint64_t> ById(const Input& input, const std::vector<uint64_t>& values) {
  std::map<NodeId, uint64_t> by_id;
  size_t next = 0;
  for (const std::vector<NodeId>* ids : {&input.ids, &input.outgoing_ids}) {
    for (const NodeId id : *ids) {
      if (next < values.size() && by_id.try_emplace(id, values[next]).second) ++next;
    }
  }
  std::erase_if(by_id, [](const auto& entry) { return entry.second == 0; });
  return by_id;
}

Index Committed(const JointConfig& config, const Acks& acks) {
  return config.Committed([&](NodeId id) -> std::optional<Index> {
    const auto ack = acks.find(id);
    return ack == acks.end() ? std::nullopt : std::optional(ack->second);
  });
}

/// The definition itself: the highest index that more than half has reached.
Index CommittedByCounting(const IdSet& voters, const Acks& acks) {
  if (voters.empty()) return Index(std::numeric_limits<uint64_t>::max());
  Index highest;
  for (const auto& [candidate, index] : acks) {
    if (!voters.Contains(candidate) || index <= highest) continue;
    size_t reached = 0;
    for (const auto& [id, other] : acks) reached += voters.Contains(id) && other >= index;
    if (reached > voters.size() / 2) highest = index;
  }
  return highest;
}

/// A line for each other way to the result that gives another one.
std::string CheckMajority(const JointConfig& config, const Acks& acks, Index committed) {
  std::string out;
  const auto expect_same = [&](Index other, std::string_view how) {
    if (other != committed) out += fmt::format("{} <-- {}\n", Text(other), how);
  };
  expect_same(CommittedByCounting(config.incoming, acks), "via alternative computation");
  expect_same(Committed({.incoming = config.incoming, .outgoing = {}}, acks), "zero-joint quorum");
  expect_same(Committed({.incoming = config.incoming, .outgoing = config.incoming}, acks),
              "self-joint quorum");
  for (const auto& [id, index] : acks) {
    if (!config.incoming.Contains(id) || committed <= index) continue;
    // Whoever is behind the result cannot change it by falling further behind.
    for (const Index lower : {index - 1, Index(0)}) {
      Acks overlaid = acks;
      overlaid[id] = lower;
      expect_same(Committed(config, overlaid), fmt::format("overlaying {}->{}", id, lower));
    }
  }
  return out;
}

std::string RunCommitted(const Input& input) {
  const JointConfig config = input.Config();
  Acks acks;
  for (const auto& [id, index] : ById(input, input.indexes)) acks[id] = Index(index);
  const Index committed = Committed(config, acks);
  std::string out = raft::DescribeAcked(config.All(), [&](NodeId id) -> std::optional<Index> {
    const auto ack = acks.find(id);
    return ack == acks.end() ? std::nullopt : std::optional(ack->second);
  });
  if (!input.joint) {
    out += CheckMajority(config, acks, committed);
  } else {
    const Index swapped = Committed({.incoming = config.outgoing, .outgoing = config.incoming}, acks);
    if (swapped != committed) out += fmt::format("{} <-- via symmetry\n", Text(swapped));
  }
  return out + Text(committed) + "\n";
}

std::string RunVote(const Input& input) {
  const JointConfig config = input.Config();
  raft::Votes votes;
  for (const auto& [id, vote] : ById(input, input.votes)) votes[id] = vote == 2;
  const VoteResult result = config.Vote(votes);
  std::string out;
  if (input.joint) {
    const VoteResult swapped =
        JointConfig{.incoming = config.outgoing, .outgoing = config.incoming}.Vote(votes);
    if (swapped != result) out += fmt::format("{} <-- via symmetry\n", raft::VoteResultName(swapped));
  }
  return out + fmt::format("{}\n", raft::VoteResultName(result));
}

class QuorumScenario : public Scenario {
 public:
  absl::StatusOr<std::string> Run(const Directive& directive) override {
    const bool vote = directive.command == "vote";
    if (!vote && directive.command != "committed") {
      return Malformed(fmt::format("unknown command: {}", directive.command));
    }
    Input input;
    for (const Arg& arg : directive.args) {
      for (const std::string& value : arg.values) {
        if (value == "zero" && arg.values.size() > 1) {
          return Malformed("cannot mix 'zero' into configuration");
        }
        KVORUM_RETURN_IF_ERROR(TakeValue(arg.key, value, &input));
      }
    }
    const IdSet voters = input.Config().All();
    const std::vector<uint64_t>& values = vote ? input.votes : input.indexes;
    if (voters.size() != values.size()) {
      std::vector<std::string> ids;
      for (const NodeId id : voters) ids.push_back(fmt::format("{}:{{}}", id));
      return fmt::format("error: mismatched input (explicit or _) for voters map[{}]: [{}]",
                         fmt::join(ids, " "), fmt::join(values, " "));
    }
    return vote ? RunVote(input) : RunCommitted(input);
  }
};

}  // namespace

std::unique_ptr<Scenario> MakeQuorumScenario() { return std::make_unique<QuorumScenario>(); }

}  // namespace kvorum::scenarios
