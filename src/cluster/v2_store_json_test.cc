#include "cluster/v2_store_json.h"

#include "backend/memory_backend.h"
#include "boost/json/parse.hpp"
#include "gtest/gtest.h"

namespace kvorum::cluster {
namespace {

TEST(V2StoreJson, HasMembersRemovedOnesAndTheVersion) {
  const auto backend = backend::MemoryBackend::Create();
  Cluster cluster(MemberId(1), ClusterId(2), backend.get());
  cluster.AddMember({.id = MemberId(0xab), .peer_urls = {"http://a"}, .is_learner = true, .name = "n"},
                    Cluster::Persist::kNo);
  cluster.AddMember({.id = MemberId(0xcd), .peer_urls = {"http://b"}}, Cluster::Persist::kNo);
  cluster.RemoveMember(MemberId(0xef), Cluster::Persist::kNo);
  cluster.SetVersion("3.7.0", Cluster::Persist::kNo);

  const boost::json::value tree = boost::json::parse(V2StoreJson(cluster));
  const auto value = [&tree](const char* pointer) {
    return std::string(tree.at_pointer(pointer).as_string());
  };
  const std::string members = "/Root/Children/0/Children/members/Children";
  EXPECT_EQ(value((members + "/ab/Children/attributes/Value").c_str()), R"({"name":"n"})");
  EXPECT_EQ(value((members + "/ab/Children/raftAttributes/Value").c_str()),
            R"({"peerURLs":["http://a"],"isLearner":true})");
  EXPECT_EQ(value((members + "/cd/Children/raftAttributes/Path").c_str()), "/0/members/cd/raftAttributes");
  EXPECT_EQ(value("/Root/Children/0/Children/removed_members/Children/ef/Value"), "");
  EXPECT_EQ(value("/Root/Children/0/Children/version/Value"), "3.7.0");
  EXPECT_TRUE(tree.at_pointer("/Root/Children/1/Children").as_object().empty());
  EXPECT_EQ(tree.at_pointer("/WatcherHub/EventHistory/Queue/Events").as_array().size(), 1000u);
  EXPECT_EQ(tree.at("CurrentIndex").to_number<int>(), 5);
}

TEST(V2StoreJson, IsReadBack) {
  const auto backend = backend::MemoryBackend::Create();
  Cluster cluster(MemberId(1), ClusterId(2), backend.get());
  cluster.AddMember({.id = MemberId(0xab),
                     .peer_urls = {"http://a"},
                     .is_learner = true,
                     .name = "n\"<",
                     .client_urls = {"http://c"}},
                    Cluster::Persist::kNo);
  cluster.AddMember({.id = MemberId(0xcd), .peer_urls = {"http://b", "http://c"}}, Cluster::Persist::kNo);
  cluster.RemoveMember(MemberId(0xef), Cluster::Persist::kNo);
  cluster.SetVersion("3.7.0", Cluster::Persist::kNo);
  const absl::StatusOr<Roster> roster = RosterFromV2StoreJson(V2StoreJson(cluster));
  ASSERT_TRUE(roster.ok()) << roster.status();
  EXPECT_EQ(roster->members, cluster.members());
  EXPECT_EQ(roster->removed, cluster.removed());
  EXPECT_EQ(roster->version, "3.7.0");

  Cluster other(MemberId(1), ClusterId(2), backend.get());
  other.AddMember({.id = MemberId(0x12), .peer_urls = {"http://old"}}, Cluster::Persist::kYes);
  other.Restore(*roster);
  Cluster loaded(MemberId(1), ClusterId(2), backend.get());
  ASSERT_TRUE(loaded.Load().ok());
  EXPECT_EQ(loaded.members(), cluster.members());
  EXPECT_EQ(loaded.removed(), cluster.removed());
  EXPECT_EQ(loaded.version(), "3.7.0");
}

TEST(V2StoreJson, BringsNobodyBackWhoWasRemovedAndTakesNoPromotionBack) {
  const std::unique_ptr<backend::MemoryBackend> backend = backend::MemoryBackend::Create();
  Cluster cluster(MemberId(1), ClusterId(2), backend.get());
  cluster.AddMember({.id = MemberId(1), .peer_urls = {"http://a"}}, Cluster::Persist::kYes);
  cluster.RemoveMember(MemberId(3), Cluster::Persist::kYes);
  cluster.Restore({.members = {{.id = MemberId(1), .peer_urls = {"http://a"}, .is_learner = true},
                               {.id = MemberId(3), .peer_urls = {"http://b"}}},
                   .removed = {},
                   .version = "3.7.0"});
  for (int i = 0; i < 2; ++i) {
    ASSERT_EQ(cluster.members().size(), 1u);
    EXPECT_FALSE(cluster.members()[0].is_learner);
    EXPECT_TRUE(cluster.IsRemoved(MemberId(3)));
    ASSERT_TRUE(cluster.Load().ok());  // the same on disk
  }
}

TEST(V2StoreJson, RefusesWhatSaysNoMembership) {
  for (const char* text : {"", "{}", R"({"Root":{"Children":{"0":{"Children":{}}}}})",
                           R"({"Root":{"Children":{"0":{"Children":{"members":{"Children":{"x":{}}}}}}}})"}) {
    EXPECT_TRUE(absl::IsDataLoss(RosterFromV2StoreJson(text).status())) << text;
  }
}

TEST(ConfStateJson, IsReadBack) {
  const raft::ConfState state{.voters = {raft::NodeId(1), raft::NodeId(UINT64_MAX)},
                              .learners = {raft::NodeId(3)},
                              .voters_outgoing = {raft::NodeId(4)},
                              .learners_next = {raft::NodeId(4)},
                              .auto_leave = true};
  EXPECT_EQ(*ConfStateFromJson(ToJson(state)), state);
  EXPECT_EQ(ToJson(raft::ConfState{.voters = {raft::NodeId(7)}}), R"({"voters":[7],"auto_leave":false})");
  EXPECT_TRUE(absl::IsDataLoss(ConfStateFromJson(R"({"voters":["x"]})").status()));
}

}  // namespace
}  // namespace kvorum::cluster
