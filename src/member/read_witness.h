#pragma once

#include <optional>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "member/shared_state.h"
#include "raft/types.h"

namespace kvorum::member {

/// Lets a leader answer a follower's question for a linearizable read at once, without asking around, where
/// leader and follower alone are a quorum: in clusters of two or three voters.
///
/// A follower of ours stamps its question with the term that it is in (in a field that the protocol leaves
/// free there, and that etcd passes over). The stamp is what the answer to a heartbeat would be: when the
/// question left, at a time t after the reads that it stands for began, the follower was in that term, and so
/// was this leader, which still leads in it now. A leader of a later term would have needed, by t, the vote
/// of one of the two, and the vote of neither had left. So everything that was acknowledged before t was
/// committed by this leader or before its term, and lies at or before its commit index once it has committed
/// an entry of its own term (reference: raft.md §7). How long the question was on its way does not matter.
///
/// Questions without a stamp, those of etcd's members among them, are the core's.
class ReadWitness {
 public:
  explicit ReadWitness(raft::NodeId self) : self_(self) {}

  /// What this member is, before any message leaves that says so. `term_led`: 0 where it does not lead.
  /// Called on the raft executor.
  void Show(uint64_t term_led, const raft::ConfState& conf);

  /// The stamp for a question that leaves in `term`.
  static void Stamp(raft::Message& question, raft::Term term) { question.log_term = term; }

  /// The answer to `question`, or null where the core has to find it. Thread-safe.
  std::optional<raft::Message> Answer(const raft::Message& question, const SharedState& state) const;

 private:
  const raft::NodeId self_;
  // What was shown last; the raft executor's own.
  uint64_t shown_term_ = 0;
  raft::ConfState shown_conf_;

  mutable absl::Mutex mutex_;
  uint64_t term_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<raft::NodeId> partners_ ABSL_GUARDED_BY(mutex_);  // with any of them this member is a quorum
};

}  // namespace kvorum::member
