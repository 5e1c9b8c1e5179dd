#include "member/v2_gate.h"

#include "gtest/gtest.h"
#include "member/testing/group.h"

namespace kvorum::member {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

/// One member that runs, and others that are whatever the test says.
class V2GateTest : public ::testing::Test {
 protected:
  V2GateTest() {
    calls_.kvorum = false;
    cluster_.AddMember(Member(1, "self"), cluster::Cluster::Persist::kNo);
    cluster_.SetVersion("3.5.0", cluster::Cluster::Persist::kNo);
  }
  static cluster::Member Member(uint64_t id, const std::string& name, bool is_kvorum = false) {
    return {.id = MemberId(id),
            .peer_urls = {"http://m" + std::to_string(id)},
            .name = name,
            .is_kvorum = is_kvorum};
  }
  void Add(const cluster::Member& member) { cluster_.AddMember(member, cluster::Cluster::Persist::kNo); }
  void Says(uint64_t id, const std::string& version, bool kvorum = false) {
    calls_.versions["http://m" + std::to_string(id)] = version;
    calls_.kvorum = kvorum;
  }
  void Pass(milliseconds time) {
    const MonotonicTime end = clock_.Now() + time;
    for (;;) {
      while (executor_.RunOne()) {
      }
      const std::optional<MonotonicTime> next = executor_.NextTimer();
      if (!next || *next > end) break;
      clock_.Set(*next);
    }
    clock_.Set(end);
  }
  std::string Check() { return std::string(gate_.Check().message()); }

  FakeClock clock_;
  ManualExecutor executor_{&clock_};
  FakeCalls calls_;
  cluster::Cluster cluster_{MemberId(1), ClusterId(9), nullptr};
  V2Gate gate_{
      &cluster_,
      Ports{.clock = &clock_, .apply_executor = &executor_, .calls = &calls_, .logger = &NullLogger()}};
};

TEST_F(V2GateTest, LetsMembersOfKvorumAndOfOlderReleasesHaveThem) {
  gate_.Start();
  Says(2, "3.5.16");
  Add(Member(2, "two"));
  Add(Member(3, "three", true));
  EXPECT_EQ(Check(), "");
  Pass(seconds(10));
  EXPECT_EQ(Check(), "");
  cluster_.SetVersion("3.7.0", cluster::Cluster::Persist::kNo);
  EXPECT_EQ(Check(), "");
}

TEST_F(V2GateTest, NamesAMemberThatWouldDie) {
  Add(Member(0x8211f1d0f64f3269, "etcd2"));
  calls_.version = "3.7.3";
  gate_.Start();
  Pass(milliseconds(10));
  EXPECT_EQ(Check(),
            "etcdserver: member etcd2 (8211f1d0f64f3269, etcd 3.7.3) does not understand v2 requests");
  EXPECT_TRUE(absl::IsFailedPrecondition(gate_.Check()));
  // One that is down is what it was.
  calls_.version = "";
  Pass(seconds(10));
  EXPECT_NE(Check(), "");
  // It comes back as one of Kvorum, which its attributes tell first.
  Add(Member(0x8211f1d0f64f3269, "etcd2", true));
  EXPECT_EQ(Check(), "");
  // And as one of etcd again.
  calls_.version = "3.7.3";
  calls_.kvorum = true;
  Pass(seconds(10));
  cluster_.SetVersion("3.7.0", cluster::Cluster::Persist::kNo);
  EXPECT_EQ(Check(), "");
  calls_.kvorum = false;
  Add(Member(0x8211f1d0f64f3269, "etcd2"));
  EXPECT_EQ(Check(),
            "etcdserver: member etcd2 (8211f1d0f64f3269) cannot be asked whether it understands v2 requests, "
            "which etcd 3.7 does not");
  Pass(seconds(5));
  EXPECT_EQ(Check(),
            "etcdserver: member etcd2 (8211f1d0f64f3269, etcd 3.7.3) does not understand v2 requests");
  cluster_.RemoveMember(MemberId(0x8211f1d0f64f3269), cluster::Cluster::Persist::kNo);
  EXPECT_EQ(Check(), "");
}

TEST_F(V2GateTest, WaitsForOneOfUnknownKindOnlyInANewEnoughCluster) {
  gate_.Start();
  Add(Member(2, "two"));
  Pass(seconds(5));
  EXPECT_EQ(Check(), "");
  cluster_.SetVersion("3.6.0", cluster::Cluster::Persist::kNo);
  EXPECT_EQ(
      Check(),
      "etcdserver: member two (2) cannot be asked whether it understands v2 requests, which etcd 3.6 does "
      "not");
  Says(2, "3.7.1", true);
  Pass(milliseconds(600));
  EXPECT_EQ(Check(), "");
}

TEST_F(V2GateTest, IsNotHeldUpByWhoHasNotStarted) {
  gate_.Start();
  cluster_.SetVersion("3.7.0", cluster::Cluster::Persist::kNo);
  Add(Member(2, ""));
  Pass(seconds(5));
  EXPECT_EQ(Check(), "");
  Says(2, "3.7.3");
  Pass(seconds(5));
  EXPECT_NE(Check(), "") << "it runs, though it has not told its name";
}

TEST_F(V2GateTest, AsksWhomASnapshotIsFor) {
  Add(Member(2, ""));
  Add(Member(3, "three", true));
  const auto may = [this](uint64_t id) {
    std::optional<bool> answer;
    gate_.MayHaveKeys(MemberId(id), [&answer](bool got) { answer = got; });
    Pass(milliseconds(1));
    EXPECT_TRUE(answer);
    return answer.value_or(false);
  };
  EXPECT_TRUE(may(2)) << "no answer";
  EXPECT_TRUE(may(3));
  Says(2, "3.5.16");
  EXPECT_TRUE(may(2));
  Add(Member(4, ""));
  Says(4, "3.6.4");
  EXPECT_FALSE(may(4));
  EXPECT_NE(Check(), "") << "what it said is known from then on";
}

// ---- In a cluster.

TEST(V2GateGroup, WritesAndExpiryWaitForAMemberOfEtcd) {
  Group group;
  group.Begin(3);
  World& world = group.Follower();
  v2store::Request put{.method = "PUT", .path = "/1/a", .value = "1"};
  put.expiration = (world.clock().WallNow() + seconds(1)).time_since_epoch().count();
  const auto first = group.DoV2(world, put);
  ASSERT_TRUE(first && first->status.ok());
  for (const cluster::Member& member : world.member().cluster().members()) EXPECT_TRUE(member.is_kvorum);
  // Two of the three are taken for etcd's by the others.
  group.calls().kvorum = false;
  group.Pass(seconds(6));
  for (World* one : group.worlds()) {
    const auto refused = group.DoV2(*one, {.method = "PUT", .path = "/1/b"});
    ASSERT_TRUE(refused);
    EXPECT_TRUE(absl::IsFailedPrecondition(refused->status)) << refused->status;
  }
  const uint64_t applied = world.member().status().applied_index;
  EXPECT_TRUE(group.Put(world, "v3", seconds(1))->status.ok());
  group.Pass(seconds(3));
  EXPECT_EQ(world.member().status().applied_index, applied + 1) << "time stands still";
  group.calls().kvorum = true;
  group.Pass(seconds(6));
  EXPECT_TRUE(group.DoV2(world, {.method = "PUT", .path = "/1/b"})->status.ok());
  EXPECT_FALSE(world.member().v2_store().HasTtls());
}

}  // namespace
}  // namespace kvorum::member
