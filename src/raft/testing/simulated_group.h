#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "raft/raw_node.h"
#include "raft/testing/safety_checker.h"

namespace kvorum::raft {

/// A group on a network that loses, doubles and reorders messages and falls apart, with disks that lose what
/// was not synced, all from one seed. Every step is checked.
class SimulatedGroup {
 public:
  struct Options {
    uint64_t seed = 1;
    int voters = 3;  ///< at the start
    int spares = 0;  ///< nodes without a configuration, for membership changes to add
    bool async_storage_writes = false;
    bool membership_changes = false;
    bool pre_vote = false;
    bool check_quorum = false;
  };
  explicit SimulatedGroup(const Options& options);
  ~SimulatedGroup();

  /// `steps` random steps with faults; ends at the first violation.
  void RunWithFaults(int steps);
  /// Everything up, no faults: true once every member has applied an entry proposed now, within a bound. Also
  /// true where the group is stranded as below, which Raft does not promise to get out of.
  bool RunUntilProgress();

  const std::string& violation() const { return checker_.violation(); }
  Index last_committed() const { return checker_.last_committed(); }
  /// How many elections, snapshots and conf changes there were: a run without them has tested little.
  int leaders_elected() const { return leaders_elected_; }
  int snapshots_applied() const { return snapshots_applied_; }
  int conf_changes_applied() const { return conf_changes_applied_; }
  int reads_answered() const { return reads_answered_; }

 private:
  struct Node;

  void Step();
  void StepNode(Node& node);
  void StepRarely(Node& node);
  void Start(Node& node);
  void Crash(Node& node);
  void DeliverOne();
  void Deliver(Message message);
  void Send(Node& node, std::vector<Message> messages);
  void ProcessReady(Node& node);
  bool PersistReady(Node& node, Ready& ready);
  void Persist(Node& node, const HardState& state, std::vector<Entry> entries, const Snapshot& snapshot);
  void ProcessAppendWork(Node& node);
  void ProcessApplyWork(Node& node);
  void Apply(Node& node, const std::vector<Entry>& entries);
  void Compact(Node& node);
  void ProposeRandom(Node& node);
  void ChangeMembership(Node& node);
  void Observe(Node& node);
  Node* Leader();
  /// The one with the longest log has learned that it is no voter any more, so it does not campaign; the
  /// others have not learned it, so they need its vote, and their logs are too short for that (thesis §4.2.2:
  /// it would have to stay a candidate until its removal is known to the others).
  bool IsStrandedByRemoval() const;
  bool Chance(uint64_t one_in) { return random_.Below(one_in) == 0; }

  const Options options_;
  Random random_;
  SafetyChecker checker_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::vector<Message> network_;
  /// Nodes of different sides do not hear each other.
  std::vector<int> side_;
  bool faults_ = true;
  uint64_t next_value_ = 1;
  int leaders_elected_ = 0;
  int snapshots_applied_ = 0;
  int conf_changes_applied_ = 0;
  int reads_answered_ = 0;
};

}  // namespace kvorum::raft
