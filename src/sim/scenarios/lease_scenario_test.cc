#include <optional>

#include "gtest/gtest.h"
#include "sim/scenarios/planting.h"
#include "sim/scenarios/scene.h"

namespace kvorum::sim {
namespace {

constexpr int64_t kLease = 7;

/// Renews every second for `seconds`, by whoever leads; whether that went well each time.
bool Renewing(Scene& scene, Node& by, int seconds) {
  for (int i = 0; i < seconds; ++i) {
    scene.Let(kSecond);
    if (!scene.Renew(by, kLease).ok()) return false;
  }
  return true;
}

// The leader's consensus is stuck, its other threads are not: its clock for leases goes on although nobody
// follows it any more, and by that clock a lease is over that the next leader's clients renew.
TEST(LeaseScenario, AStuckLeaderDoesNotEndLeasesThatItsSuccessorRenews) {
  Scene scene;
  Node& old = scene.Leader();
  scene.Grant(old, kLease, 4);
  scene.Put(old, "k", "v", kLease);
  old.raft_executor().Pause();
  Node& follower = scene.Other(old);
  ASSERT_TRUE(scene.Until([&] {
    const MemberId leader = follower.member()->status().leader;
    return leader.value() != 0 && leader != old.id();
  }));
  ASSERT_TRUE(Renewing(scene, follower, 8));
  old.raft_executor().Resume();
  EXPECT_TRUE(Renewing(scene, follower, 8));
  EXPECT_EQ(scene.Get(old, "k"), "v");
}

// The same with a disk that does not answer: the log's writes hang, and nothing else does.
TEST(LeaseScenario, AStuckDiskOfTheLeaderEndsNoLease) {
  Scene scene;
  Node& old = scene.Leader();
  scene.Grant(old, kLease, 4);
  scene.Put(old, "k", "v", kLease);
  old.disk().manner() = {.stall_one_in = 1, .stall = 10 * kSecond};
  Node& follower = scene.Other(old);
  EXPECT_TRUE(Renewing(scene, follower, 12));
  old.disk().manner().stall_one_in = 0;
  EXPECT_TRUE(Renewing(scene, follower, 12));
  EXPECT_EQ(scene.Get(old, "k"), "v");
}

/// A leader is stopped until the lease is half over for its successor; then it comes back, hears nobody for a
/// moment, and is asked to renew. Whether the lease lives on for as long as that promises.
bool ARenewalByADeposedLeaderIsKept() {
  constexpr int64_t kTtl = 10;
  Scene scene;
  Node& old = scene.Leader();
  scene.Grant(old, kLease, kTtl);
  scene.Put(old, "k", "v", kLease);
  scene.Settle();
  scene.network().SetFilter([&old](const raft::Message& message) {
    return message.from.value() != old.id().value() && message.to.value() != old.id().value();
  });
  old.Pause();
  Node& next = scene.Leader();
  scene.Let(kTtl / 2 * kSecond);
  old.Resume();
  EXPECT_TRUE(old.member()->status().is_leader) << "as far as it knows";
  std::optional<absl::Status> told;
  old.member()->RenewLease(LeaseId(kLease),
                           [&told](const absl::StatusOr<int64_t>& ttl) { told = ttl.status(); });
  const Instant asked = scene.scheduler().now();
  scene.Let(50 * kMillisecond);
  scene.network().SetFilter(nullptr);
  EXPECT_TRUE(scene.Until([&] { return told.has_value(); }));
  EXPECT_TRUE(told->ok()) << *told;
  scene.scheduler().RunUntil(asked + (kTtl - 1) * kSecond);
  return scene.Get(next, "k") == "v";
}

TEST(LeaseScenario, ADeposedLeaderPromisesNoRenewal) { EXPECT_TRUE(ARenewalByADeposedLeaderIsKept()); }

#if KVORUM_PLANTED_BUGS
TEST(LeaseScenario, ADeposedLeaderThatRenewsIsFound) {
  const Planting planting(PlantedBug::kRenewalUnconfirmed);
  EXPECT_FALSE(ARenewalByADeposedLeaderIsKept());
}
#endif

TEST(LeaseScenario, ALeaseThatNobodyRenewsEndsUnderTheNextLeaderToo) {
  Scene scene;
  Node& old = scene.Leader();
  scene.Grant(old, kLease, 4);
  scene.Put(old, "k", "v", kLease);
  old.Kill(false);
  EXPECT_TRUE(scene.Until([&] { return scene.Get(scene.Leader(), "k") == "(none)"; }));
}

}  // namespace
}  // namespace kvorum::sim
