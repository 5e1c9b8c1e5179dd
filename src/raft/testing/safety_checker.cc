#include "raft/testing/safety_checker.h"

#include <algorithm>

#include "raft/raft.h"

namespace kvorum::raft {
namespace {

uint64_t ContentOf(const Entry& entry) {
  return std::hash<std::string_view>()(entry.data.view()) * 3 + static_cast<uint64_t>(entry.type);
}

}  // namespace

void SafetyChecker::Observe(const RawNode& node) {
  node.CheckInvariants();
  const RaftLog& log = node.raft().log();
  const Index first = log.FirstIndex();
  absl::StatusOr<std::vector<Entry>> entries = log.EntriesFrom(first, kNoLimit);
  if (!entries.ok()) {
    Violated("{}: the log from {} on: {}", node.raft().id(), first, entries.status().ToString());
    return;
  }
  const NodeId id = node.raft().id();
  Last& last = last_[id];
  if (node.term() < last.term) Violated("{:x}: the term fell from {} to {}", id, last.term, node.term());
  if (log.committed() < last.commit) {
    Violated("{:x}: the commit index fell from {} to {}", id, last.commit, log.committed());
  }
  ObserveLog(node, *entries, log.TermAt(first - 1).value_or(Term(0)));
  ObserveCommit(node, *entries);
  ObserveLeader(node, last, *entries, first);
  last.term = node.term();
  last.commit = log.committed();
  last.role = node.raft().role();
  last.log = last.role == Role::kLeader ? *std::move(entries) : std::vector<Entry>();
}

// Log matching: an entry is written once, by the leader of its term, behind a certain one. If every copy of
// it stands behind that one, logs that agree in an entry agree in all before it.
void SafetyChecker::ObserveLog(const RawNode& node, const std::vector<Entry>& log, Term before) {
  const NodeId id = node.raft().id();
  for (const Entry& entry : log) {
    const Written seen{.previous_term = before, .content = ContentOf(entry)};
    const Written& known = written_.try_emplace({entry.index, entry.term}, seen).first->second;
    if (known.previous_term != seen.previous_term || known.content != seen.content) {
      Violated(
          "log matching: entry {} of term {} on {:x} stands behind term {}, elsewhere behind {}; contents "
          "{:x}, {:x}",
          entry.index, entry.term, id, before, known.previous_term, seen.content, known.content);
    }
    if (entry.term < before) Violated("{:x}: the terms of the log fall at {}", id, entry.index);
    before = entry.term;
  }
}

void SafetyChecker::ObserveCommit(const RawNode& node, const std::vector<Entry>& log) {
  const Index commit = node.raft().log().committed();
  for (const Entry& entry : log) {
    if (entry.index > commit) break;
    const Committed seen{.term = entry.term, .content = ContentOf(entry), .by = node.term()};
    const Committed& known = committed_.try_emplace(entry.index, seen).first->second;
    if (known.term != seen.term || known.content != seen.content) {
      Violated("{:x} has committed another entry {} (of term {}) than the one of term {}", node.raft().id(),
               entry.index, seen.term, known.term);
    }
  }
  last_committed_ = std::max(last_committed_, commit);
}

void SafetyChecker::ObserveLeader(const RawNode& node, const Last& last, const std::vector<Entry>& log,
                                  Index first) {
  if (node.raft().role() != Role::kLeader) return;
  const NodeId id = node.raft().id();
  const auto has = [&](Index index, Term term) {
    if (index < first) return true;  // compacted, so applied
    const uint64_t at = index - first;
    return at < log.size() && log[at].term == term;
  };
  // Election safety: a term has at most one leader.
  const NodeId leader = leaders_.try_emplace(node.term(), id).first->second;
  if (leader != id) {
    Violated("election safety: {:x} and {:x} both lead term {}", leader, id, node.term());
  }
  if (last.role == Role::kLeader && last.term == node.term()) {
    // Leader append-only: it never overwrites or deletes entries in its log.
    for (const Entry& entry : last.log) {
      if (!has(entry.index, entry.term)) {
        Violated("leader append-only: leader {:x} has lost entry {}", id, entry.index);
      }
    }
    return;
  }
  // Leader completeness: what was committed in earlier terms is in its log.
  for (const auto& [index, entry] : committed_) {
    if (entry.by < node.term() && !has(index, entry.term)) {
      Violated("leader completeness: {:x} leads term {} without entry {} of term {}", id, node.term(), index,
               entry.term);
    }
  }
}

void SafetyChecker::Sent(const Message& message) {
  if (message.type != MessageType::kVoteResp || message.reject) return;
  const NodeId vote = votes_.try_emplace({message.from, message.term}, message.to).first->second;
  if (vote != message.to) {
    Violated("{:x} has voted for {:x} and for {:x} in term {}", message.from, vote, message.to, message.term);
  }
}

// State machine safety: no two nodes apply different entries at one index.
uint64_t SafetyChecker::Applied(NodeId id, const Entry& entry, uint64_t digest) {
  digest = (digest ^ ContentOf(entry)) * 0x9e3779b97f4a7c15 + entry.term.value();
  SnapshotApplied(id, entry.index, digest);
  return digest;
}

void SafetyChecker::SnapshotApplied(NodeId id, Index index, uint64_t digest) {
  if (digests_.try_emplace(index, digest).first->second != digest) {
    Violated("state machine safety: {:x} has another state at {} than others", id, index);
  }
}

void SafetyChecker::ReadAnswered(const ReadState& state) {
  const auto read = reads_.find(std::string(state.context.view()));
  if (read == reads_.end()) {
    Violated("a read was answered that nobody asked for");
  } else if (state.index < read->second) {
    Violated("a read at {} does not see entry {}, committed before it", state.index, read->second);
  }
}

}  // namespace kvorum::raft
