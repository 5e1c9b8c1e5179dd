#pragma once

#include <map>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
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
/// Thread-safe; reads are told without the lock.
class ReadRounds {
 public:
  /// `first_round`: no other member, and no earlier run of this one, may come near it.
  ReadRounds(Metrics* metrics, uint64_t first_round) : metrics_(metrics), round_(first_round) {}

  /// False, and the read is left alone, after FailAll.
  bool Add(PendingRead& read);

  /// The context to ask the leader with, where a round is to be started; null where one is under way or there
  /// is nothing to ask.
  Bytes Ask(MonotonicTime now);
  /// The same; and another context for a round that was not answered in time, whose answer counts as the
  /// first one's does: a leader of etcd's confirms too much where a context comes twice.
  Bytes AskAgain(MonotonicTime now);
  /// The reads are told at once where that much is applied. Answers to no round under way are passed over.
  void OnAnswer(const raft::ReadState& answer, raft::Index applied);
  void OnApplied(raft::Index applied);
  /// Another leader took over: the round under way is lost.
  void OnLeaderChange();
  void OnTick(MonotonicTime now);
  /// The last call: nothing is taken any more.
  void FailAll(const absl::Status& status);
  /// Reads wait for something to be applied.
  bool waiting() const {
    absl::MutexLock lock(&mutex_);
    return !unapplied_.empty();
  }

 private:
  Bytes Start(MonotonicTime now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Metrics* const metrics_;

  mutable absl::Mutex mutex_;
  std::vector<PendingRead> queued_ ABSL_GUARDED_BY(mutex_);  // for the next round
  std::vector<PendingRead> asked_ ABSL_GUARDED_BY(mutex_);   // in the round under way
  uint64_t round_ ABSL_GUARDED_BY(mutex_);                   // the last context's content
  uint64_t first_asked_ ABSL_GUARDED_BY(mutex_) = 0;         // of the round under way, its first context's
  bool asking_ ABSL_GUARDED_BY(mutex_) = false;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  MonotonicTime asked_at_ ABSL_GUARDED_BY(mutex_);
  /// The reads of each round that was answered, by what has to be applied for them.
  std::multimap<raft::Index, std::vector<PendingRead>> unapplied_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace kvorum::member
