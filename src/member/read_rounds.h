#pragma once

#include <map>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "member/metrics.h"
#include "raft/types.h"

namespace kvorum::member {

/// A read that waits to be confirmed.
struct PendingRead {
  MonotonicTime deadline;
  absl::AnyInvocable<void(absl::Status)> done;
  absl::Status overdue;  ///< what it gets when its time is over
};

/// Linearizable reads (reference: raft.md §7, apply.md §6): one round with the leader serves every read that
/// was waiting when it started; its answer is an index, and the reads are confirmed once that was applied.
/// Not thread-safe: the raft loop's own.
class ReadRounds {
 public:
  /// `first_round`: no other member, and no earlier run of this one, may come near it.
  ReadRounds(Metrics* metrics, uint64_t first_round) : metrics_(metrics), round_(first_round) {}

  void Add(PendingRead read);

  /// The context to ask the leader with, where a round is to be started or was not answered in time; null
  /// where there is nothing to ask. REQUIRES: a leader is known
  Bytes Ask(MonotonicTime now);
  void OnAnswer(const raft::ReadState& answer);
  void OnApplied(raft::Index applied);
  /// Another leader took over: the round under way is lost.
  void OnLeaderChange();
  void OnTick(MonotonicTime now);
  void FailAll(const absl::Status& status);
  /// Reads wait for something to be applied.
  bool waiting() const { return !unapplied_.empty(); }

 private:
  Metrics* const metrics_;
  std::vector<PendingRead> queued_;  // for the next round
  std::vector<PendingRead> asked_;   // in the round under way
  uint64_t round_;                   // its number, the context's content
  bool asking_ = false;
  MonotonicTime asked_at_;
  std::multimap<raft::Index, PendingRead> unapplied_;
};

}  // namespace kvorum::member
