#pragma once

#include "planted_bugs_on.h"  // made by src/base/CMakeLists.txt: KVORUM_PLANTED_BUGS as 0 or 1

// Bugs that are planted in the code for the simulator to find: who hunts bugs has to show that he finds the
// ones that are there. Each is like one that a real system had. They are compiled in with the CMake option
// KVORUM_PLANTED_BUGS alone, and then one at a time is there, picked by `kvorum-sim --bug`; without the
// option IsPlanted is false when the compiler looks at it, and nothing of them is left.

// X(constant, name, what is wrong)
// clang-format off
#define KVORUM_FOR_EACH_PLANTED_BUG(X)                                                                       \
  X(kVoteBeforeDisk, "vote-before-disk", "a vote is given before it is on the disk")                         \
  X(kAckBeforeDisk, "ack-before-disk", "a follower acknowledges entries before they are on its disk")        \
  X(kLeadBeforeOwnVote, "lead-before-own-vote", "a candidate leads before its own vote is on its disk")      \
  X(kTwoVotes, "two-votes", "a member that knows no leader votes again in the same term")                    \
  X(kVoteForShorterLog, "vote-for-shorter-log", "votes go to candidates whose log lacks entries")            \
  X(kCommitOlderTerm, "commit-older-term", "a leader counts copies of entries of an older term")             \
  X(kCommitBeyondMatch, "commit-beyond-match", "heartbeats tell followers to commit what they may not have") \
  X(kFollowerCommitsAll, "follower-commits-all", "a follower commits all it has, not what the leader has")   \
  X(kConflictKept, "conflict-kept", "a read of the log keeps entries behind one that was replaced")          \
  X(kSnapshotKeepsLog, "snapshot-keeps-log", "a snapshot is taken for known where the log is long enough")   \
  X(kReadUnconfirmed, "read-unconfirmed", "a leader answers reads without asking whether it still leads")    \
  X(kReadBeforeTermCommit, "read-before-term-commit", "a new leader reads before it committed in its term")  \
  X(kWitnessMinority, "witness-minority", "one follower's word confirms a read in a cluster of five")        \
  X(kCrcIgnored, "crc-ignored", "records of the log count whose checksum does not fit")                      \
  X(kSegmentNameNotSynced, "segment-name-not-synced", "the name of a new log segment is not synced")         \
  X(kVoteNotSynced, "vote-not-synced", "a write of the log with a vote but no entry is not synced")          \
  X(kSnapshotNotSynced, "snapshot-not-synced", "a snapshot file gets its name before it is synced")          \
  X(kPositionNotCommitted, "position-not-committed", "data gets to the disk before its place in the log")    \
  X(kSnapshotKeepsLeases, "snapshot-keeps-leases", "a snapshot brings keys, but not their leases")           \
  X(kRevokeOrder, "revoke-order", "a lease's keys are deleted in an order of each member's own")             \
  X(kTxnHalf, "txn-half", "a transaction is applied in part where no client waits for it")                   \
  X(kRenewalUnconfirmed, "renewal-unconfirmed", "a deposed leader renews leases")                            \
  X(kLeaseRevived, "lease-revived", "a lease that was revoked is there again after a restart")               \
  X(kLeaseNotExtended, "lease-not-extended", "a new leader lets leases end as if never renewed")             \
  X(kLeaseKeyKept, "lease-key-kept", "a key stays with its old lease when it is put with another")           \
  X(kCompactionLosesLive, "compaction-loses-live", "a compaction drops what is read at its revision")        \
  X(kCompactedReadServed, "compacted-read-served", "a range at a compacted revision is not refused")         \
  X(kCompactionForgotten, "compaction-forgotten", "a compaction under way is forgotten by a restart")        \
  X(kTombstoneLost, "tombstone-lost", "a deletion that begins a batch is lost by a restart")                 \
  X(kWatchSkipsNext, "watch-skips-next", "a watcher that has caught up misses the next event")               \
  X(kWatchSplitsRevision, "watch-splits-revision", "events of one revision are told apart")                  \
  X(kWatchLostInReload, "watch-lost-in-reload", "watchers are not told what a snapshot brought")             \
  X(kPrevKvOfNow, "prev-kv-of-now", "events carry the new pair as the previous one")                         \
  X(kV2CasAnyIndex, "v2-cas-any-index", "a compare-and-swap of the v2 API ignores prevIndex")                \
  X(kV2OwnClock, "v2-own-clock", "keys of the v2 API expire by each member's own clock")                     \
  X(kConfChangeForgotten, "conf-change-forgotten", "a restart forgets changes of members since a snapshot")  \
  X(kLearnerCounted, "learner-counted", "a learner's copy of an entry counts for its commit")
// clang-format on

namespace kvorum {

enum class PlantedBug : unsigned char {
  kNone,
#define KVORUM_PLANTED_BUG_CONSTANT(constant, name, what) constant,
  KVORUM_FOR_EACH_PLANTED_BUG(KVORUM_PLANTED_BUG_CONSTANT)
#undef KVORUM_PLANTED_BUG_CONSTANT
};

#if KVORUM_PLANTED_BUGS
/// The one that is there; to be set before anything runs.
inline PlantedBug planted_bug = PlantedBug::kNone;
inline bool IsPlanted(PlantedBug bug) { return planted_bug == bug; }
#else
constexpr bool IsPlanted(PlantedBug) { return false; }
#endif

}  // namespace kvorum
