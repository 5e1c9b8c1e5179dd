#include "raft/progress.h"

#include <gtest/gtest.h>

namespace kvorum::raft {
namespace {

TEST(InflightsTest, IsFullByCountAndFreesThroughAnIndex) {
  Inflights inflights(2, 0);
  inflights.Add(Index(3), 10);
  EXPECT_FALSE(inflights.full());
  inflights.Add(Index(5), 10);
  EXPECT_TRUE(inflights.full());
  inflights.FreeThrough(Index(4));
  EXPECT_EQ(inflights.count(), 1u);
  inflights.FreeThrough(Index(5));
  EXPECT_EQ(inflights.count(), 0u);
}

TEST(InflightsTest, TheByteLimitIsSoft) {
  Inflights inflights(100, 10);
  inflights.Add(Index(1), 9);
  EXPECT_FALSE(inflights.full());
  inflights.Add(Index(2), 9);
  EXPECT_TRUE(inflights.full());
  inflights.FreeThrough(Index(1));
  EXPECT_FALSE(inflights.full());
}

Progress Replicating(uint64_t match) {
  Progress progress{.match = Index(match), .next = Index(match + 1), .inflights = Inflights(2, 0)};
  progress.recent_active = true;
  progress.BecomeReplicate();
  return progress;
}

TEST(ProgressTest, ReplicationRunsAheadUntilTheWindowIsFull) {
  Progress progress = Replicating(4);
  progress.SentEntries(2, 20);
  EXPECT_EQ(progress.next, Index(7));
  EXPECT_FALSE(progress.IsPaused());
  progress.SentEntries(1, 10);
  EXPECT_TRUE(progress.IsPaused());
  EXPECT_EQ(progress.ToString(), "StateReplicate match=4 next=8 paused inflight=2[full]");
}

TEST(ProgressTest, AProbeWaitsForItsAnswerUnlessItWasEmpty) {
  Progress progress{.match = Index(0), .next = Index(5), .inflights = Inflights(2, 0)};
  progress.SentEntries(0, 0);
  EXPECT_FALSE(progress.IsPaused());
  progress.SentEntries(1, 3);
  EXPECT_TRUE(progress.IsPaused());
  EXPECT_EQ(progress.next, Index(5));
  EXPECT_EQ(progress.ToString(), "StateProbe match=0 next=5 paused inactive");
}

TEST(ProgressTest, ARejectedProbeStepsBackToTheHintButNotBelowTheMatch) {
  Progress progress{.match = Index(3), .next = Index(10), .inflights = Inflights(2, 0)};
  EXPECT_FALSE(progress.MaybeDecreaseTo(Index(7), Index(2))) << "not the last probe";
  EXPECT_TRUE(progress.MaybeDecreaseTo(Index(9), Index(6)));
  EXPECT_EQ(progress.next, Index(7));
  EXPECT_TRUE(progress.MaybeDecreaseTo(Index(6), Index(1)));
  EXPECT_EQ(progress.next, Index(4));
}

TEST(ProgressTest, AStaleRejectionDoesNotMoveAReplicatingFollower) {
  Progress progress = Replicating(4);
  EXPECT_FALSE(progress.MaybeDecreaseTo(Index(4), Index(2)));
  progress.SentEntries(3, 1);
  progress.sent_commit = Index(7);
  EXPECT_TRUE(progress.MaybeDecreaseTo(Index(6), Index(2)));
  EXPECT_EQ(progress.next, Index(5));
  EXPECT_EQ(progress.sent_commit, Index(4));
}

TEST(ProgressTest, GoesOnBehindASnapshotThatWasDelivered) {
  Progress progress = Replicating(2);
  progress.BecomeSnapshot(Index(10));
  EXPECT_TRUE(progress.IsPaused());
  progress.BecomeProbe();
  EXPECT_EQ(progress.next, Index(11));
  progress.BecomeSnapshot(Index(20));
  progress.pending_snapshot = Index(0);  // it failed
  progress.BecomeProbe();
  EXPECT_EQ(progress.next, Index(3));
}

TEST(ProgressTest, PushesACommitOnlyForEntriesThatWereSent) {
  Progress progress = Replicating(4);
  progress.sent_commit = Index(3);
  EXPECT_TRUE(progress.CanBumpCommit(Index(9)));
  progress.sent_commit = Index(4);
  EXPECT_FALSE(progress.CanBumpCommit(Index(9))) << "it has nothing that is not known to be committed";
  progress.SentEntries(1, 1);
  EXPECT_TRUE(progress.CanBumpCommit(Index(9)));
  EXPECT_FALSE(progress.CanBumpCommit(Index(4)));
}

}  // namespace
}  // namespace kvorum::raft
