#include "member/testing/group.h"
#include "gtest/gtest.h"

namespace kvorum::member {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

/// Three members that exchange raft messages.
class GroupTest : public ::testing::Test {
 protected:
  void SetUp() override {
    group_.Begin(3);
    ASSERT_NE(group_.Leader(), nullptr);
  }
  std::optional<ApplyResult> Put(World& world, const std::string& key, milliseconds patience) {
    return group_.Put(world, key, patience);
  }
  World& leader() { return *group_.Leader(); }

  Group group_;
};

TEST_F(GroupTest, AllMembersPublishAndApplyTheSame) {
  EXPECT_TRUE(Put(group_.Follower(), "a", milliseconds(500))->status.ok());
  group_.Pass(milliseconds(500));
  for (World* world : group_.worlds()) {
    EXPECT_TRUE(world->ready());
    EXPECT_TRUE(world->Get("a"));
    EXPECT_EQ(world->member().cluster().members().size(), 3u);
    EXPECT_EQ(world->member().status().leader, leader().member().id());
    EXPECT_EQ(world->member().lessor().primary(), world == &leader());
  }
}

TEST_F(GroupTest, AReadOnAFollowerSeesWhatWasAcknowledged) {
  ASSERT_TRUE(Put(leader(), "a", milliseconds(500))->status.ok());
  EXPECT_EQ(group_.Read(group_.Follower(), milliseconds(500)), absl::OkStatus());
  EXPECT_TRUE(group_.Follower().Get("a"));
}

TEST_F(GroupTest, ADeposedLeaderNeverAnswersAReadThatItTook) {
  World& old = leader();
  group_.CutOff(old);
  EXPECT_EQ(group_.Read(old, milliseconds(100)), std::nullopt);
  ASSERT_TRUE(group_.PassUntil([&] { return group_.Leader() != nullptr; }));
  ASSERT_TRUE(Put(leader(), "new", seconds(1))->status.ok());
  const std::optional<absl::Status> read = group_.Read(old, seconds(10));
  ASSERT_TRUE(read);
  EXPECT_EQ(std::string(read->message()), "etcdserver: request timed out");
  EXPECT_FALSE(old.member().status().is_leader);
}

TEST_F(GroupTest, AnotherLeaderTakesOverAndNothingIsLost) {
  ASSERT_TRUE(Put(leader(), "a", milliseconds(500))->status.ok());
  World& old = leader();
  group_.CutOff(old);
  EXPECT_EQ(Put(old, "lost", milliseconds(100)), std::nullopt);
  ASSERT_TRUE(group_.PassUntil([&] { return group_.Leader() != nullptr; }));
  EXPECT_TRUE(leader().Get("a"));
  EXPECT_TRUE(Put(leader(), "b", milliseconds(500))->status.ok());
  group_.Pass(seconds(5));
  EXPECT_FALSE(old.member().lessor().primary());
  group_.Heal();
  group_.Pass(seconds(3));
  EXPECT_TRUE(old.Get("b"));
  EXPECT_FALSE(old.Get("lost"));
}

TEST_F(GroupTest, ALostProposalTimesOutAndSaysWhy) {
  World& old = leader();
  group_.CutOff(old);
  const std::optional<ApplyResult> result = Put(old, "lost", seconds(10));
  ASSERT_TRUE(result);
  EXPECT_EQ(Error(*result), "etcdserver: request timed out");

  // A follower that is connected to nobody knows of its leader as long as it hears of no other.
  group_.Heal();
  group_.Pass(seconds(3));
  World& follower = group_.Follower();
  group_.DropOneIn(1);
  const std::optional<ApplyResult> forwarded = Put(follower, "lost too", seconds(10));
  ASSERT_TRUE(forwarded);
  EXPECT_EQ(forwarded->status.code(), absl::StatusCode::kUnavailable);
}

TEST_F(GroupTest, AProposalWaitsForALeader) {
  World& follower = group_.Follower();
  group_.CutOff(leader());
  const std::optional<ApplyResult> result = Put(follower, "a", seconds(8));
  ASSERT_TRUE(result);
  EXPECT_TRUE(result->status.ok() || result->status.code() == absl::StatusCode::kUnavailable);
}

TEST_F(GroupTest, MessagesThatAreLostCostTimeAlone) {
  group_.DropOneIn(5);
  int acknowledged = 0;
  for (int i = 0; i < 40; ++i) {
    World* to = group_.worlds()[static_cast<size_t>(i % 3)];
    const auto result = Put(*to, "k" + std::to_string(i), seconds(10));
    if (result && result->status.ok()) ++acknowledged;
  }
  EXPECT_GT(acknowledged, 20);
  group_.DropOneIn(0);
  group_.Pass(seconds(5));
  const uint32_t hash = group_.Hash(leader());
  for (World* world : group_.worlds()) EXPECT_EQ(group_.Hash(*world), hash);
}

TEST_F(GroupTest, AFollowerAnswersAsSoonAsItsLogIsDurable) {
  World& follower = group_.Follower();
  World* third = nullptr;
  for (World* world : group_.worlds()) {
    if (world != &leader() && world != &follower) third = world;
  }
  group_.CutOff(*third);
  leader().HoldDisk(true);
  EXPECT_EQ(Put(leader(), "a", milliseconds(200)), std::nullopt);
  EXPECT_GE(follower.disk().entries().size(), leader().disk().entries().size() + 1);
  leader().HoldDisk(false);
  group_.Pass(milliseconds(100));
  EXPECT_TRUE(leader().Get("a"));
}

TEST_F(GroupTest, SaysThatItsDiskIsStuck) {
  World& stuck = leader();
  EXPECT_FALSE(stuck.member().status().disk_stalled);
  stuck.HoldDisk(true);
  Put(stuck, "a", seconds(3));
  EXPECT_TRUE(stuck.member().status().disk_stalled);
  stuck.HoldDisk(false);
  group_.Pass(milliseconds(100));
  EXPECT_FALSE(stuck.member().status().disk_stalled);
}

TEST_F(GroupTest, ARestartedMemberFindsItsLeaderAgain) {
  World& follower = group_.Follower();
  const uint64_t term = leader().member().status().term;
  follower.Crash();
  ASSERT_TRUE(Put(leader(), "a", seconds(1))->status.ok());
  ASSERT_TRUE(follower.Begin().ok());
  group_.Pass(seconds(3));
  EXPECT_TRUE(follower.ready());
  EXPECT_TRUE(follower.Get("a"));
  EXPECT_EQ(leader().member().status().term, term);
}

TEST_F(GroupTest, TheLeaderAloneEndsLeases) {
  etcdserverpb::LeaseGrantRequest grant;
  grant.set_id(7);
  grant.set_ttl(2);
  ASSERT_TRUE(group_.Do(leader(), RequestKind::kLeaseGrant, grant, seconds(1))->status.ok());
  ASSERT_TRUE(group_.Put(group_.Follower(), "leased", seconds(1), 7)->status.ok());
  group_.CutOff(leader());
  ASSERT_TRUE(group_.PassUntil([&] { return group_.Leader() != nullptr; }));
  EXPECT_TRUE(leader().Get("leased"));  // the new leader gives it its time again
  EXPECT_TRUE(group_.PassUntil([&] { return !leader().Get("leased"); }));
  EXPECT_FALSE(group_.Follower().Get("leased"));
}

}  // namespace
}  // namespace kvorum::member
