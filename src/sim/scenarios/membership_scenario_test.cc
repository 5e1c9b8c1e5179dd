#include <algorithm>

#include "gtest/gtest.h"
#include "sim/scenarios/scene.h"

namespace kvorum::sim {
namespace {

Scene::Options ShortLogs() {
  Scene::Options options;
  options.member.snapshot_count = 10;
  options.member.snapshot_catchup_entries = 5;
  return options;
}

void PutMany(Scene& scene, Node& node, int count) {
  for (int i = 0; i < count; ++i) scene.Put(node, "a", std::to_string(i));
}

/// Waits for what a change of the membership came to.
absl::Status Change(Scene& scene, absl::FunctionRef<void(member::Member::MembersDone)> change) {
  auto status = std::make_shared<std::optional<absl::Status>>();
  change(
      [status](const absl::StatusOr<std::vector<cluster::Member>>& members) { *status = members.status(); });
  EXPECT_TRUE(scene.Until([&] { return status->has_value(); }));
  return status->value_or(absl::UnknownError("no answer"));
}

/// The voters among the members that the database has.
std::vector<MemberId> VotersOnDisk(Node& node) {
  std::vector<MemberId> ids;
  const auto add = [&ids](std::string_view, std::string_view json) {
    const absl::StatusOr<cluster::Member> member = cluster::MemberFromJson(json);
    EXPECT_TRUE(member.ok()) << member.status();
    if (member.ok() && !member->is_learner) ids.push_back(member->id);
    return true;
  };
  EXPECT_TRUE(node.CopyDatabase()->NewReadView()->Scan(backend::Bucket::kMembers, "", "", add).ok());
  std::sort(ids.begin(), ids.end());
  return ids;
}

/// Every member knows the same voters: while it runs, in its database and in the tree of the v2 API.
void ExpectMembers(Scene& scene, const std::vector<MemberId>& ids) {
  scene.Settle();
  scene.Let(kSecond);  // the databases are committed
  for (Node* node : scene.nodes()) {
    std::vector<MemberId> known;
    for (const cluster::Member& member : node->member()->cluster().members()) {
      known.push_back(member.id);
      EXPECT_FALSE(member.is_learner) << node->name();
    }
    EXPECT_EQ(known, ids) << node->name();
    EXPECT_EQ(VotersOnDisk(*node), ids) << node->name();
    const v2store::Result tree = node->member()->v2_store().Get("/0/members", true, false);
    ASSERT_TRUE(std::holds_alternative<v2store::EventPtr>(tree)) << node->name();
    EXPECT_EQ(std::get<v2store::EventPtr>(tree)->node.nodes.size(), ids.size()) << node->name();
  }
}

std::vector<MemberId> IdsOf(const std::vector<Node*>& nodes) {
  std::vector<MemberId> ids;
  for (const Node* node : nodes) ids.push_back(node->id());
  std::sort(ids.begin(), ids.end());
  return ids;
}

TEST(MembershipScenario, AMemberThatWasRemovedDoesNotComeBackWithARestart) {
  Scene scene(ShortLogs());
  const std::vector<MemberId> first = IdsOf(scene.nodes());
  Node& extra = scene.Join();
  PutMany(scene, scene.Leader(), 30);
  ASSERT_TRUE(Change(scene, [&](member::Member::MembersDone done) {
                scene.node(0).member()->RemoveMember(extra.id(), MonotonicTime::max(), std::move(done));
              }).ok());
  scene.Leave(extra);
  ExpectMembers(scene, first);
  for (int round = 0; round < 3; ++round) {
    scene.Let(kSecond);  // the databases are committed
    for (Node* node : scene.nodes()) node->Kill(true);
    for (Node* node : scene.nodes()) ASSERT_TRUE(node->Start().ok());
    PutMany(scene, scene.Leader(), 20);
    ExpectMembers(scene, first);
  }
}

TEST(MembershipScenario, AVoterThatWasALearnerStaysAVoter) {
  Scene scene(ShortLogs());
  Node& learner = scene.Join(true);
  ASSERT_TRUE(scene.Until([&] {
    return Change(scene,
                  [&](member::Member::MembersDone done) {
                    scene.Leader().member()->PromoteMember(learner.id(), MonotonicTime::max(),
                                                           std::move(done));
                  })
        .ok();
  }));
  const std::vector<MemberId> all = IdsOf(scene.nodes());
  for (int round = 0; round < 3; ++round) {
    ExpectMembers(scene, all);
    for (Node* node : scene.nodes()) node->Kill(true);
    for (Node* node : scene.nodes()) ASSERT_TRUE(node->Start().ok());
    PutMany(scene, scene.Leader(), 20);
  }
  ExpectMembers(scene, all);
}

// What decides whether an entry is carried out has to come with a snapshot, or the member that got it judges
// otherwise than the rest from then on: here leases that are over or not, and the alarm for no space.
TEST(MembershipScenario, AMemberThatCameByASnapshotJudgesEntriesAsTheOthersDo) {
  Scene scene(ShortLogs());
  Node& leader = scene.Leader();
  Node& behind = scene.Other(leader);
  scene.Grant(leader, 7, 1000);
  scene.Settle();
  scene.CutOff(behind);
  scene.Grant(leader, 8, 1000);
  etcdserverpb::LeaseRevokeRequest revoke;
  revoke.set_id(7);
  ASSERT_TRUE(scene.Propose(leader, member::RequestKind::kLeaseRevoke, revoke).ok());
  PutMany(scene, leader, 30);
  etcdserverpb::AlarmRequest alarm;
  alarm.set_action(etcdserverpb::AlarmRequest::ACTIVATE);
  alarm.set_memberid(leader.id().value());
  alarm.set_alarm(etcdserverpb::NOSPACE);
  ASSERT_TRUE(scene.Propose(leader, member::RequestKind::kAlarm, alarm).ok());
  const uint64_t before = scene.network().snapshots();
  scene.network().HealAll();
  scene.Settle();
  ASSERT_GT(scene.network().snapshots(), before);
  etcdserverpb::PutRequest put;
  put.set_key("a");
  for (const int64_t lease : {0, 7, 8}) {
    put.set_lease(lease);
    for (Node* node : scene.nodes()) EXPECT_FALSE(scene.Ask(*node, put).ok());
  }
  alarm.set_action(etcdserverpb::AlarmRequest::DEACTIVATE);
  ASSERT_TRUE(scene.Propose(leader, member::RequestKind::kAlarm, alarm).ok());
  put.set_lease(7);
  for (Node* node : scene.nodes()) EXPECT_FALSE(scene.Ask(*node, put).ok());
  put.set_lease(8);
  for (Node* node : scene.nodes()) EXPECT_TRUE(scene.Ask(*node, put).ok());
  scene.Settle();
  for (Node* node : scene.nodes()) {
    EXPECT_EQ(node->member()->store().current_revision(), leader.member()->store().current_revision());
  }
}

// A learner applies its promotion, and is asked as a voter, before the only voter there was has applied it:
// that one may not answer reads from its store as if nobody else acknowledged writes.
TEST(MembershipScenario, TheOnlyVoterReadsWhatAPromotedLearnerAcknowledged) {
  Scene scene(1);
  Node& leader = scene.node(0);
  Node& learner = scene.Join(true);
  scene.Let(kSecond);
  leader.Slow(1, kSecond);  // applies late
  leader.member()->PromoteMember(learner.id(), MonotonicTime::max(), [](const auto&) {});
  ASSERT_TRUE(scene.Until([&] { return !learner.member()->cluster().IsLocalLearner(); }));
  for (int i = 0; i < 10; ++i) {
    const std::string value = fmt::format("{}", i);
    scene.Put(learner, "a", value);
    EXPECT_EQ(scene.Get(leader, "a"), value);
  }
}

}  // namespace
}  // namespace kvorum::sim
