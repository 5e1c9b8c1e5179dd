#include <set>

#include "gtest/gtest.h"
#include "member/testing/group.h"

namespace kvorum::member {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

/// Three members whose logs are short.
class SnapshotTest : public ::testing::Test {
 protected:
  void SetUp() override {
    group_.options().snapshot_count = 20;
    group_.options().snapshot_catchup_entries = 5;
    group_.options().strict_reconfig_check = false;
    group_.Begin(3);
    ASSERT_NE(group_.Leader(), nullptr);
    behind_ = &group_.Follower();
  }
  void PutMany(const std::string& prefix, int count, int64_t lease = 0) {
    for (int i = 0; i < count; ++i) {
      const auto result = group_.Put(*group_.Leader(), prefix + std::to_string(i), seconds(1), lease);
      ASSERT_TRUE(result && result->status.ok());
    }
  }
  /// The follower misses so much that only a snapshot brings it back.
  void LeaveBehind(int entries = 60) {
    group_.CutOff(*behind_);
    PutMany("missed", entries);
  }
  void ExpectCaughtUp() {
    EXPECT_TRUE(group_.PassUntil([&] {
      return behind_->member().status().applied_index == group_.Leader()->member().status().applied_index;
    }));
    EXPECT_EQ(group_.Hash(*behind_), group_.Hash(*group_.Leader()));
    EXPECT_TRUE(behind_->fatal().ok()) << behind_->fatal();
    behind_->member().store().CheckInvariants();
  }

  Group group_;
  World* behind_ = nullptr;
};

TEST_F(SnapshotTest, BringsAFollowerBack) {
  LeaveBehind();
  const mvcc::RangeResult before = *behind_->member().store().Range({.range = {.key = "missed0"}});
  EXPECT_EQ(before.count, 0);
  group_.Heal();
  ExpectCaughtUp();
  EXPECT_GT(group_.snapshots_sent(), 0u);
  EXPECT_TRUE(behind_->Get("missed0"));
  EXPECT_EQ(behind_->member().cluster().members(), group_.Leader()->member().cluster().members());
  PutMany("after", 3);
  group_.Pass(milliseconds(500));
  EXPECT_TRUE(behind_->Get("after2"));
  EXPECT_EQ(group_.snapshots_sent(), 1u);
}

TEST_F(SnapshotTest, ResultsThatAreOutKeepWhatTheyShow) {
  PutMany("old", 1);
  group_.Pass(milliseconds(500));
  const mvcc::RangeResult result = *behind_->member().store().Range({.range = {.key = "old0"}});
  ASSERT_EQ(result.records.size(), 1u);
  const std::string record(result.records[0]);
  LeaveBehind();
  group_.Heal();
  ExpectCaughtUp();
  EXPECT_EQ(result.records[0], record);
}

TEST_F(SnapshotTest, LeasesComeWithTheirKeys) {
  etcdserverpb::LeaseGrantRequest grant;
  grant.set_id(7);
  grant.set_ttl(1000);
  group_.CutOff(*behind_);
  ASSERT_TRUE(group_.Do(*group_.Leader(), RequestKind::kLeaseGrant, grant, seconds(1))->status.ok());
  PutMany("leased", 2, 7);
  LeaveBehind();
  group_.Heal();
  ExpectCaughtUp();
  const auto view = behind_->member().lessor().Get(LeaseId(7), true);
  ASSERT_TRUE(view.ok());
  EXPECT_EQ(view->keys, (std::vector<std::string>{"leased0", "leased1"}));
}

/// All that a stream has to give.
std::vector<mvcc::WatchBatch> TakeAll(mvcc::WatchStream& stream) {
  std::vector<mvcc::WatchBatch> all;
  for (std::vector<mvcc::WatchBatch> some = stream.Take(1 << 20); !some.empty();
       some = stream.Take(1 << 20)) {
    for (mvcc::WatchBatch& batch : some) all.push_back(std::move(batch));
  }
  return all;
}

TEST_F(SnapshotTest, WatchersGetWhatLiesBetween) {
  const auto stream = behind_->member().store().watch_hub().NewStream([] {});
  ASSERT_TRUE(stream->Watch(0, {.key = "missed", .end = "missee"}).ok());
  ASSERT_TRUE(stream->Watch(0, {.key = "later"}).ok());
  LeaveBehind(60);
  group_.Heal();
  ExpectCaughtUp();
  PutMany("missed", 1);
  group_.Pass(milliseconds(500));
  size_t events = 0;
  int64_t last = 0;
  for (const mvcc::WatchBatch& batch : TakeAll(*stream)) {
    EXPECT_EQ(batch.compact_revision, 0);
    EXPECT_GE(batch.revision, last);
    last = batch.revision;
    events += batch.event_count;
  }
  EXPECT_EQ(events, 61u);
  EXPECT_EQ(stream->SyncedRevision(), behind_->member().store().current_revision());
}

TEST_F(SnapshotTest, WatchersOfWhatWasCompactedAreTold) {
  const auto stream = behind_->member().store().watch_hub().NewStream([] {});
  ASSERT_TRUE(stream->Watch(0, {.key = "missed0"}).ok());
  LeaveBehind(60);
  etcdserverpb::CompactionRequest compaction;
  compaction.set_revision(group_.Leader()->member().store().current_revision());
  ASSERT_TRUE(group_.Do(*group_.Leader(), RequestKind::kCompaction, compaction, seconds(1))->status.ok());
  group_.Pass(milliseconds(500));
  group_.Heal();
  ExpectCaughtUp();
  const std::vector<mvcc::WatchBatch> batches = TakeAll(*stream);
  ASSERT_EQ(batches.size(), 1u);
  EXPECT_EQ(batches[0].compact_revision, compaction.revision());
}

// The snapshot says who is in the cluster, also to one that missed how it came about.
TEST_F(SnapshotTest, BringsTheMembership) {
  group_.CutOff(*behind_);
  const Group::Members added =
      group_.Add(*group_.Leader(), {.peer_urls = {"http://new"}, .is_learner = true});
  ASSERT_TRUE(added.ok()) << added.status();
  LeaveBehind();
  group_.Heal();
  ExpectCaughtUp();
  EXPECT_EQ(behind_->member().cluster().members(), group_.Leader()->member().cluster().members());
  EXPECT_EQ(behind_->member().cluster().members().size(), 4u);
}

TEST_F(SnapshotTest, ACrashAtAnyStepIsMadeGood) {
  for (int steps = 0; steps < 60; ++steps) {
    group_.Pass(seconds(31));  // until the leader keeps nothing for the snapshot of before
    LeaveBehind(40);
    group_.Heal();
    group_.HoldSnapshots(true);
    ASSERT_TRUE(group_.PassUntil([&] { return group_.snapshots_held() > 0; })) << steps;
    group_.HoldSnapshots(false);
    group_.DeliverHeld();
    for (int i = 0; i < steps; ++i) behind_->Step();
    behind_->Crash(static_cast<size_t>(steps % 3));
    ASSERT_TRUE(behind_->Begin().ok()) << steps;
    ExpectCaughtUp();
    if (HasFailure()) FAIL() << "after " << steps << " steps";
  }
}

TEST_F(SnapshotTest, EntriesGoOnWhileItIsInstalled) {
  LeaveBehind();
  behind_->disk().HoldDatabases(true);
  group_.Heal();
  ASSERT_TRUE(group_.PassUntil([&] { return group_.snapshots_sent() > 0; }));
  PutMany("during", 30);
  group_.Pass(seconds(1));
  EXPECT_FALSE(behind_->Get("missed0"));
  EXPECT_EQ(behind_->disk().entries().rbegin()->first, group_.Leader()->disk().entries().rbegin()->first);
  // Those that it has on disk count.
  World* third = nullptr;
  for (World* world : group_.worlds()) {
    if (world != behind_ && world != group_.Leader()) third = world;
  }
  group_.CutOff(*third);
  PutMany("with it", 2);
  group_.Heal();
  behind_->disk().HoldDatabases(false);
  ExpectCaughtUp();
  EXPECT_TRUE(behind_->Get("during29"));
}

TEST_F(SnapshotTest, ADatabaseThatCannotBeReadEndsTheMemberAlone) {
  LeaveBehind();
  group_.Heal();
  group_.HoldSnapshots(true);
  ASSERT_TRUE(group_.PassUntil([&] { return group_.snapshots_held() > 0; }));
  group_.DeliverHeld();
  behind_->disk().ReleaseDatabases(raft::Index(1'000'000));
  group_.Pass(seconds(1));
  EXPECT_FALSE(behind_->fatal().ok());
  PutMany("after", 3);
}

TEST_F(SnapshotTest, ALeaderKeepsWhatAConnectedFollowerNeeds) {
  // It hears everything, but its disk does not answer for a while.
  behind_->HoldDisk(true);
  PutMany("slow", 100);
  behind_->HoldDisk(false);
  ExpectCaughtUp();
  EXPECT_EQ(group_.snapshots_sent(), 0u);
}

}  // namespace
}  // namespace kvorum::member
