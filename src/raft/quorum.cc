#include "raft/quorum.h"

#include <algorithm>
#include <limits>
#include <tuple>

#include "absl/container/inlined_vector.h"
#include "fmt/format.h"

namespace kvorum::raft {

bool IdSet::Contains(NodeId id) const { return std::binary_search(ids_.begin(), ids_.end(), id); }

void IdSet::Insert(NodeId id) {
  const auto at = std::lower_bound(ids_.begin(), ids_.end(), id);
  if (at == ids_.end() || *at != id) ids_.insert(at, id);
}

void IdSet::Erase(NodeId id) {
  const auto at = std::lower_bound(ids_.begin(), ids_.end(), id);
  if (at != ids_.end() && *at == id) ids_.erase(at);
}

std::string IdSet::ToString() const {
  std::string out = "(";
  for (const NodeId id : ids_) {
    if (out.size() > 1) out += ' ';
    out += fmt::format("{:x}", id);
  }
  return out + ")";
}

std::string_view VoteResultName(VoteResult result) {
  switch (result) {
    case VoteResult::kPending:
      return "VotePending";
    case VoteResult::kLost:
      return "VoteLost";
    case VoteResult::kWon:
      return "VoteWon";
  }
  return "VoteUnknown";
}

Index MajorityCommitted(const IdSet& voters, AckedIndex acked) {
  if (voters.empty()) return Index(std::numeric_limits<uint64_t>::max());
  absl::InlinedVector<Index, 9> indexes;
  for (const NodeId id : voters) indexes.push_back(acked(id).value_or(Index(0)));
  // The smallest of the highest n/2 + 1.
  const size_t at = indexes.size() - (indexes.size() / 2 + 1);
  std::nth_element(indexes.begin(), indexes.begin() + static_cast<ptrdiff_t>(at), indexes.end());
  return indexes[at];
}

VoteResult MajorityVote(const IdSet& voters, const Votes& votes) {
  if (voters.empty()) return VoteResult::kWon;
  size_t granted = 0;
  size_t missing = 0;
  for (const NodeId id : voters) {
    const auto vote = votes.find(id);
    if (vote == votes.end()) {
      ++missing;
    } else if (vote->second) {
      ++granted;
    }
  }
  const size_t majority = voters.size() / 2 + 1;
  if (granted >= majority) return VoteResult::kWon;
  if (granted + missing >= majority) return VoteResult::kPending;
  return VoteResult::kLost;
}

IdSet JointConfig::All() const {
  IdSet all = incoming;
  for (const NodeId id : outgoing) all.Insert(id);
  return all;
}

Index JointConfig::Committed(AckedIndex acked) const {
  const Index committed = MajorityCommitted(incoming, acked);
  if (outgoing.empty()) return committed;
  return std::min(committed, MajorityCommitted(outgoing, acked));
}

VoteResult JointConfig::Vote(const Votes& votes) const {
  const VoteResult a = MajorityVote(incoming, votes);
  const VoteResult b = MajorityVote(outgoing, votes);
  if (a == b) return a;
  if (a == VoteResult::kLost || b == VoteResult::kLost) return VoteResult::kLost;
  return VoteResult::kPending;
}

std::string JointConfig::ToString() const {
  return outgoing.empty() ? incoming.ToString() : incoming.ToString() + "&&" + outgoing.ToString();
}

std::string DescribeAcked(const IdSet& voters, AckedIndex acked) {
  if (voters.empty()) return "<empty majority quorum>";
  struct Row {
    NodeId id;
    std::optional<Index> index;
    size_t bar = 0;
  };
  std::vector<Row> rows;
  for (const NodeId id : voters) rows.push_back({.id = id, .index = acked(id)});
  const auto value = [](const Row& row) { return row.index.value_or(Index(0)); };
  std::sort(rows.begin(), rows.end(), [&](const Row& a, const Row& b) {
    return std::tuple(value(a), a.id) < std::tuple(value(b), b.id);
  });
  for (size_t i = 1; i < rows.size(); ++i) {
    rows[i].bar = value(rows[i - 1]) < value(rows[i]) ? i : rows[i - 1].bar;
  }
  std::sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.id < b.id; });

  const size_t n = rows.size();
  std::string out = std::string(n, ' ') + "    idx\n";
  for (const Row& row : rows) {
    if (row.index) {
      out += std::string(row.bar, 'x') + '>' + std::string(n - row.bar, ' ');
    } else {
      out += '?' + std::string(n, ' ');
    }
    out += fmt::format(" {:>5}    (id={:x})\n", value(row), row.id);
  }
  return out;
}

}  // namespace kvorum::raft
