#include "cluster/cluster.h"

#include "backend/memory_backend.h"
#include "gtest/gtest.h"

namespace kvorum::cluster {
namespace {

using raft::ConfChange;
using raft::ConfChangeType;
using raft::NodeId;

Member Make(uint64_t id, std::string url) { return {.id = MemberId(id), .peer_urls = {std::move(url)}}; }

ConfChange Change(ConfChangeType type, const ChangeContext& context) {
  return {
      .type = type, .node_id = NodeId(context.member.id.value()), .context = Bytes::Copy(ToJson(context))};
}

class ClusterTest : public testing::Test {
 protected:
  std::unique_ptr<Cluster> Reloaded() {
    auto again = std::make_unique<Cluster>(MemberId(1), ClusterId(2), backend_.get());
    EXPECT_TRUE(again->Load().ok());
    return again;
  }
  std::string Refusal(const ConfChange& change) { return std::string(cluster_.Validate(change).message()); }

  std::unique_ptr<backend::MemoryBackend> backend_ = backend::MemoryBackend::Create();
  Cluster cluster_{MemberId(1), ClusterId(2), backend_.get()};
};

TEST(ClusterIds, AreEtcds) {
  const MemberId member = MemberIdOf({"http://127.0.0.1:42380"}, "etcd-cluster");
  EXPECT_EQ(IdText(member.value()), "667880157b8812c8");
  EXPECT_EQ(IdText(ClusterIdOf({member}).value()), "dc50b8daae93b3e0");
}

TEST(ClusterIds, DoNotDependOnTheOrderOfUrls) {
  EXPECT_EQ(MemberIdOf({"http://b:1", "http://a:1"}, "t"), MemberIdOf({"http://a:1", "http://b:1"}, "t"));
  EXPECT_NE(MemberIdOf({"http://a:1"}, ""), MemberIdOf({"http://a:1"}, "", 1700000000));
}

TEST(MemberJson, IsGos) {
  EXPECT_EQ(
      ToJson(ChangeContext{
          .member = {.id = MemberId(2748), .peer_urls = {"http://127.0.0.1:2380"}, .is_learner = true}}),
      R"({"id":2748,"peerURLs":["http://127.0.0.1:2380"],"isLearner":true})");
  EXPECT_EQ(ToJson(ChangeContext{.member = {.id = MemberId(2748)}, .is_promote = true}),
            R"({"id":2748,"peerURLs":null,"isPromote":true})");
  EXPECT_EQ(ToJson(Member{.id = MemberId(1), .peer_urls = {"http://a"}, .name = "<&>\n\x01\xff"}),
            R"({"id":1,"peerURLs":["http://a"],"name":"\u003c\u0026\u003e\n\u0001\ufffd"})");
}

TEST(MemberJson, IsReadBack) {
  const Member member{.id = MemberId(~uint64_t{0}),
                      .peer_urls = {"http://a", "http://b"},
                      .is_learner = true,
                      .name = "日本 \"q\"",
                      .client_urls = {"unix:/x"}};
  EXPECT_EQ(*MemberFromJson(ToJson(member)), member);
  EXPECT_FALSE(MemberFromJson("{\"id\":\"x\"}").ok());
  EXPECT_FALSE(MemberFromJson("[]").ok());
  EXPECT_FALSE(MemberFromJson("{\"id\":1").ok());
}

TEST_F(ClusterTest, IsKeptInTheBackend) {
  cluster_.AddMember(Make(1, "http://a"), Cluster::Persist::kYes);
  cluster_.AddMember(Make(2, "http://b"), Cluster::Persist::kYes);
  cluster_.UpdateAttributes(MemberId(1), "one", {"http://c"}, Cluster::Persist::kYes);
  cluster_.RemoveMember(MemberId(2), Cluster::Persist::kYes);
  cluster_.SetVersion("3.7.0", Cluster::Persist::kYes);
  cluster_.SetDowngrade({.target_version = "3.6.0", .enabled = true}, Cluster::Persist::kYes);

  const std::unique_ptr<Cluster> again = Reloaded();
  EXPECT_EQ(again->members(), cluster_.members());
  EXPECT_EQ(again->Find(MemberId(1))->name, "one");
  EXPECT_TRUE(again->IsRemoved(MemberId(2)));
  EXPECT_EQ(again->version(), "3.7.0");
  EXPECT_EQ(again->downgrade(), cluster_.downgrade());
}

TEST_F(ClusterTest, ReplayLeavesTheBackendAlone) {
  cluster_.AddMember(Make(1, "http://a"), Cluster::Persist::kNo);
  EXPECT_TRUE(cluster_.Find(MemberId(1)));
  EXPECT_TRUE(Reloaded()->members().empty());
}

TEST_F(ClusterTest, RefusesADamagedRecord) {
  backend_->Put(backend::Bucket::kMembers, "2", Bytes::Copy(ToJson(Make(1, "http://a"))));
  EXPECT_EQ(cluster_.Load().code(), absl::StatusCode::kDataLoss);
}

TEST_F(ClusterTest, RefusesChangesThatBreakTheMembership) {
  const auto kNo = Cluster::Persist::kNo;
  cluster_.AddMember(Make(1, "http://a"), kNo);
  cluster_.AddMember({.id = MemberId(2), .peer_urls = {"http://b"}, .is_learner = true}, kNo);
  cluster_.RemoveMember(MemberId(3), kNo);

  EXPECT_EQ(Refusal(Change(ConfChangeType::kAddNode, {Make(3, "http://c")})), "membership: ID removed");
  EXPECT_EQ(Refusal(Change(ConfChangeType::kAddNode, {Make(1, "http://c")})), "membership: ID exists");
  EXPECT_EQ(Refusal(Change(ConfChangeType::kAddNode, {Make(4, "http://b")})), "membership: peerURL exists");
  EXPECT_EQ(Refusal(Change(ConfChangeType::kAddLearnerNode, {Make(4, "http://d")})),
            "membership: too many learner members in cluster");
  EXPECT_EQ(Refusal(Change(ConfChangeType::kAddNode, {Make(1, ""), true})),
            "membership: can only promote a learner member");
  EXPECT_EQ(Refusal(Change(ConfChangeType::kAddNode, {Make(9, ""), true})), "membership: ID not found");
  EXPECT_EQ(Refusal(Change(ConfChangeType::kUpdateNode, {Make(1, "http://b")})),
            "membership: peerURL exists");
  EXPECT_EQ(Refusal(Change(ConfChangeType::kUpdateNode, {Make(9, "http://z")})), "membership: ID not found");
  EXPECT_EQ(Refusal({.type = ConfChangeType::kRemoveNode, .node_id = NodeId(9)}), "membership: ID not found");

  EXPECT_EQ(Refusal(Change(ConfChangeType::kAddNode, {Make(2, ""), true})), "");
  EXPECT_EQ(Refusal(Change(ConfChangeType::kAddNode, {Make(4, "http://d")})), "");
  EXPECT_EQ(Refusal(Change(ConfChangeType::kUpdateNode, {Make(1, "http://a")})), "");
}

TEST_F(ClusterTest, VotersAndLearnersAreApart) {
  cluster_.AddMember({.id = MemberId(2), .is_learner = true}, Cluster::Persist::kNo);
  cluster_.AddMember(Make(1, "http://a"), Cluster::Persist::kNo);
  EXPECT_EQ(cluster_.conf_state(), (raft::ConfState{.voters = {NodeId(1)}, .learners = {NodeId(2)}}));
  cluster_.Promote(MemberId(2), Cluster::Persist::kNo);
  EXPECT_EQ(cluster_.conf_state().voters, (std::vector<NodeId>{NodeId(1), NodeId(2)}));
}

}  // namespace
}  // namespace kvorum::cluster
