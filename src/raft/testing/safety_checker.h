#pragma once

#include <map>
#include <string>
#include <vector>

#include "raft/raw_node.h"

namespace kvorum::raft {

/// Watches the nodes of one group for the five properties of figure 3 of the Raft paper, and for what the
/// promises rest on: a term has one vote of each node, and a read sees what was committed before it.
///
/// The first violation is kept; everything after it may follow from it.
class SafetyChecker {
 public:
  /// After each step of a node.
  void Observe(const RawNode& node);
  /// A node lost its volatile state.
  void Restarted(NodeId id) { last_.erase(id); }
  void Sent(const Message& message);
  /// The entry was applied on a node whose state was `digest` before; gives the digest after it.
  uint64_t Applied(NodeId id, const Entry& entry, uint64_t digest);
  /// A node's state was set to the snapshot's.
  void SnapshotApplied(NodeId id, Index index, uint64_t digest);

  void ReadRequested(const std::string& context) { reads_[context] = last_committed_; }
  void ReadAnswered(const ReadState& state);

  Index last_committed() const { return last_committed_; }
  /// Empty while all is well.
  const std::string& violation() const { return violation_; }

 private:
  /// What is known of an entry by its place and term.
  struct Written {
    Term previous_term;
    uint64_t content;
  };
  struct Committed {
    Term term;
    uint64_t content;
    /// The entry was committed in this term, or before.
    Term by;
  };
  struct Last {
    Term term;
    Index commit;
    Role role = Role::kFollower;
    std::vector<Entry> log;  ///< of a leader
  };

  void ObserveLog(const RawNode& node, const std::vector<Entry>& log, Term before);
  void ObserveCommit(const RawNode& node, const std::vector<Entry>& log);
  void ObserveLeader(const RawNode& node, const Last& last, const std::vector<Entry>& log, Index first);
  template <typename... Args>
  void Violated(fmt::format_string<Args...> format, Args&&... args) {
    if (violation_.empty()) violation_ = fmt::format(format, std::forward<Args>(args)...);
  }

  std::map<Term, NodeId> leaders_;
  std::map<std::pair<Index, Term>, Written> written_;
  std::map<Index, Committed> committed_;
  std::map<Index, uint64_t> digests_;
  std::map<std::pair<NodeId, Term>, NodeId> votes_;
  std::map<std::string, Index> reads_;
  std::map<NodeId, Last> last_;
  Index last_committed_;
  std::string violation_;
};

}  // namespace kvorum::raft
