#include "absl/strings/escaping.h"
#include "base/wire.h"
#include "cluster/v2_store_json.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "member/testing/group.h"
#include "member/v2_tree.h"
#include "raft/codec.h"

namespace kvorum::member {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;
using v2store::ErrorCode;
using v2store::EventPtr;
using v2store::Request;

Request Put(const std::string& path, const std::string& value) {
  return {.method = "PUT", .path = path, .value = value};
}

/// The event of an outcome that is to be good.
EventPtr EventOf(const std::optional<Member::V2Outcome>& outcome) {
  if (!outcome || !outcome->status.ok() || !std::holds_alternative<EventPtr>(outcome->result)) {
    ADD_FAILURE() << (outcome ? outcome->status.ToString() : "no outcome");
    return std::make_shared<v2store::Event>();
  }
  return std::get<EventPtr>(outcome->result);
}
ErrorCode CodeOf(const Member::V2Outcome& outcome) {
  const auto* error = std::get_if<v2store::Error>(&outcome.result);
  EXPECT_NE(error, nullptr);
  return error == nullptr ? ErrorCode::kUnauthorized : error->code;
}
/// The value of a file; nothing where there is none.
std::optional<std::string> ValueOf(World& world, const std::string& path) {
  const v2store::Result result = world.member().v2_store().Get(path, false, false);
  const auto* event = std::get_if<EventPtr>(&result);
  return event == nullptr ? std::nullopt : std::optional<std::string>((*event)->node.value.view());
}

// ---- One member.

class V2Test : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(world_.Start().ok()); }
  /// Starts the member on a log with one more entry.
  absl::Status StartOn(std::string data) {
    world_.Crash();
    const uint64_t last = world_.disk().entries().rbegin()->first.value();
    world_.set_entries_before_start(
        {{.term = raft::Term(2), .index = raft::Index(last + 1), .data = Bytes::Copy(data)}});
    return world_.Begin();
  }

  World world_;
};

TEST_F(V2Test, AWriteTellsWhatItDid) {
  // Added, published and told the version: one index each, as on a member of etcd 3.4.
  const Member::V2Outcome first = world_.DoV2(Put("/1/a", "1"));
  EXPECT_EQ(EventOf(first)->action, v2store::Action::kSet);
  EXPECT_EQ(EventOf(first)->index(), 4u);
  EXPECT_TRUE(EventOf(first)->IsCreated());
  const MemberStatus status = world_.member().status();
  EXPECT_EQ(first.raft_index, status.applied_index);
  EXPECT_EQ(first.raft_term, status.term);
  EXPECT_EQ(status.applied_term, status.term);
  EXPECT_EQ(EventOf(world_.DoV2(Put("/1/a", "2")))->prev_node->value.view(), "1");
  EXPECT_EQ(EventOf(world_.DoV2({.method = "POST", .path = "/1/q"}))->node.path, "/1/q/00000000000000000006");
  EXPECT_EQ(EventOf(world_.DoV2({.method = "QGET", .path = "/1/a"}))->node.value.view(), "2");
  EXPECT_EQ(CodeOf(world_.DoV2({.method = "PUT", .path = "/1/a", .prev_value = "x"})),
            ErrorCode::kCompareFailed);
  EXPECT_EQ(EventOf(world_.DoV2({.method = "DELETE", .path = "/1/a"}))->index(), 7u);
  EXPECT_EQ(CodeOf(world_.DoV2({.method = "QGET", .path = "/1/a"})), ErrorCode::kKeyNotFound);
  EXPECT_EQ(world_.Put("a", "v3").revision, 2) << "the other keys are not touched";
}

TEST_F(V2Test, ComesBackFromTheLogAlone) {
  for (int i = 0; i < 20; ++i) EventOf(world_.DoV2(Put("/1/k" + std::to_string(i), "v")));
  world_.backend().CommitNow();  // the database has them all, and nothing of them
  const std::string before = world_.V2Json();
  world_.Crash();
  ASSERT_TRUE(world_.Start().ok());
  EXPECT_EQ(ValueOf(world_, "/1/k19"), "v");
  // It published itself anew.
  EXPECT_EQ(EventOf(world_.DoV2(Put("/1/a", "1")))->index(), 25u);
}

TEST_F(V2Test, ComesBackFromASnapshotAndTheLog) {
  world_.Crash();
  world_.options().snapshot_count = 10;
  ASSERT_TRUE(world_.Start().ok());
  for (int i = 0; i < 35; ++i) {
    EventOf(world_.DoV2(Put("/1/k" + std::to_string(i), "v")));
    world_.Put("v3", "x");
  }
  world_.Advance(seconds(1));
  world_.backend().CommitNow();
  EXPECT_GT(world_.disk().noted(), raft::Index(50));
  EXPECT_LT(world_.disk().noted(), raft::Index(world_.member().status().applied_index));
  const uint64_t index = world_.member().v2_store().index();
  world_.Crash();
  ASSERT_TRUE(world_.Start().ok());
  EXPECT_EQ(ValueOf(world_, "/1/k0"), "v");
  EXPECT_EQ(ValueOf(world_, "/1/k34"), "v");
  EXPECT_EQ(world_.member().v2_store().index(), index + 1) << "published once more";
}

TEST_F(V2Test, TakesARequestInTheOtherForm) {
  std::string data;
  wire::AppendBytes(data, kV2Kind, v2store::Encode(Put("/1/wrapped", "v")).view());
  ASSERT_TRUE(StartOn(data).ok());
  world_.Advance(seconds(2));
  EXPECT_EQ(ValueOf(world_, "/1/wrapped"), "v");
}

TEST_F(V2Test, AMethodThatIsNoneIsAnErrorAndNoFailure) {
  EXPECT_EQ(CodeOf(world_.DoV2({.method = "PATCH", .path = "/1/a"})), ErrorCode::kRaftInternal);
  EXPECT_TRUE(world_.fatal().ok());
  EXPECT_EQ(EventOf(world_.DoV2(Put("/1/a", "1")))->index(), 4u);
}

TEST_F(V2Test, AnEntryThatCannotBeDecodedEndsTheStart) {
  EXPECT_THAT(std::string(StartOn("\x12\x03PU").message()), HasSubstr("cannot be decoded"));
}

TEST_F(V2Test, KeysLikeThoseOfMembersAreKeys) {
  const std::string path = "/1/0/members/1234/attributes";
  EXPECT_EQ(EventOf(world_.DoV2(Put(path, "{")))->node.path, path);
  EXPECT_EQ(world_.member().cluster().members()[0].name, "m1");
}

TEST_F(V2Test, WhoWaitsAtAStopIsTold) {
  world_.HoldDisk(true);
  std::optional<Member::V2Outcome> outcome;
  world_.ProposeV2(Put("/1/a", "1"), &outcome);
  world_.Settle();
  EXPECT_FALSE(outcome);
  world_.member().Stop([] {});
  world_.Settle();
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->status.message(), "etcdserver: server stopped");
}

TEST_F(V2Test, WhatIsNotAgreedOnInTimeFails) {
  world_.HoldDisk(true);
  std::optional<Member::V2Outcome> outcome;
  world_.ProposeV2(Put("/1/a", "1"), &outcome);
  world_.Advance(world_.options().request_timeout() + milliseconds(100));
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->status.message(), "etcdserver: request timed out");
}

TEST_F(V2Test, ExpiresByTheLogAlone) {
  const auto expires = [this](seconds after) {
    return (world_.clock().WallNow() + after).time_since_epoch().count();
  };
  EventOf(world_.DoV2({.method = "PUT", .path = "/1/soon", .expiration = expires(seconds(2))}));
  EventOf(world_.DoV2({.method = "PUT", .path = "/1/later", .expiration = expires(seconds(9))}));
  world_.Advance(milliseconds(1900));
  EXPECT_TRUE(ValueOf(world_, "/1/soon"));
  world_.Advance(milliseconds(700));
  EXPECT_FALSE(ValueOf(world_, "/1/soon"));
  EXPECT_TRUE(ValueOf(world_, "/1/later"));
  world_.Advance(seconds(8));
  EXPECT_FALSE(ValueOf(world_, "/1/later"));
  // Nothing is written where nothing can expire.
  const uint64_t applied = world_.member().status().applied_index;
  world_.Advance(seconds(5));
  EXPECT_EQ(world_.member().status().applied_index, applied);
}

// ---- The membership in the store.

std::string Change(raft::ConfChangeType type, const cluster::Member& member) {
  const bool removes = type == raft::ConfChangeType::kRemoveNode;
  return raft::Encode(raft::ConfChange{.type = type,
                                       .node_id = raft::NodeId(member.id.value()),
                                       .context = Bytes::Copy(removes ? "" : cluster::ToJson(member))});
}

class V2TreeTest : public ::testing::Test {
 protected:
  uint64_t Follow(raft::EntryType type, std::string data) {
    tree_.Follow({.type = type, .data = Bytes::Copy(data)});
    return store_.index();
  }
  uint64_t Follow(raft::ConfChangeType type, const cluster::Member& member) {
    return Follow(raft::EntryType::kConfChange, Change(type, member));
  }
  std::string Get(const std::string& path) {
    const v2store::Result result = store_.Get(path, false, false);
    const auto* event = std::get_if<EventPtr>(&result);
    if (event == nullptr) return "(none)";
    const v2store::NodeImage& node = (*event)->node;
    return node.dir ? "(directory)" : std::string(node.value.view());
  }

  FakeClock clock_;
  v2store::Store store_{&clock_};
  V2Tree tree_{&store_, MemberId(1), ClusterId(2), 1};
};

TEST_F(V2TreeTest, KeepsMembersAsEtcdDoes) {
  using enum raft::ConfChangeType;
  cluster::Member one{.id = MemberId(0xab), .peer_urls = {"http://a"}, .name = "one"};
  EXPECT_EQ(Follow(kAddNode, one), 1u);
  EXPECT_EQ(Get("/0/members/ab/raftAttributes"), R"({"peerURLs":["http://a"]})");
  EXPECT_EQ(Get("/0/members/ab/attributes"), "(none)");
  EXPECT_EQ(Follow(kAddNode, one), 1u) << "refused";
  const cluster::Member two{.id = MemberId(0xcd), .peer_urls = {"http://b"}};
  EXPECT_EQ(Follow(kAddLearnerNode, two), 2u);
  EXPECT_EQ(Get("/0/members/cd/raftAttributes"), R"({"peerURLs":["http://b"],"isLearner":true})");
  EXPECT_EQ(
      Follow(raft::EntryType::kConfChange,
             raft::Encode(raft::ConfChange{.type = kAddNode,
                                           .node_id = raft::NodeId(0xcd),
                                           .context = Bytes::Copy(cluster::ToJson(cluster::ChangeContext{
                                               .member = {.id = two.id}, .is_promote = true}))})),
      3u);
  EXPECT_EQ(Get("/0/members/cd/raftAttributes"), R"({"peerURLs":["http://b"]})");
  one.peer_urls = {"http://c"};
  EXPECT_EQ(Follow(kUpdateNode, one), 4u);
  EXPECT_EQ(Get("/0/members/ab/raftAttributes"), R"({"peerURLs":["http://c"]})");
  EXPECT_EQ(Follow(kRemoveNode, two), 6u) << "the member and the note that it was";
  EXPECT_EQ(Get("/0/members/cd"), "(none)");
  EXPECT_EQ(Get("/0/removed_members/cd"), "");
  EXPECT_EQ(Follow(kAddNode, two), 6u) << "it does not come back";
}

TEST_F(V2TreeTest, BothFormsOfAnEntryDoTheSame) {
  Follow(raft::ConfChangeType::kAddNode, {.id = MemberId(0xab), .peer_urls = {"http://a"}});
  const cluster::Member said{.name = "n", .client_urls = {"http://c"}, .is_kvorum = true};
  const std::string legacy(
      BuildLegacyPut(LegacyAttributesPath(MemberId(0xab)), cluster::AttributesToJson(said), RequestId(1))
          .view());
  EXPECT_EQ(Follow(raft::EntryType::kNormal, legacy), 2u);
  const std::string expected = R"({"name":"n","clientURLs":["http://c"]})";
  EXPECT_EQ(Get("/0/members/ab/attributes"), expected);
  // ClusterMemberAttrSet of member 0xab with these attributes, behind a header.
  std::string request;
  wire::AppendUint(request, 1, 0xab);
  wire::AppendBytes(request, 2, absl::HexStringToBytes("0a016e1208687474703a2f2f63"));
  wire::AppendUint(request, kSaysKvorumField, 1);
  const auto current = [](RequestKind kind, const std::string& body) {
    return std::string(BuildEntry(kind, body, RequestId(1), {}).view());
  };
  EXPECT_EQ(Follow(raft::EntryType::kNormal, current(RequestKind::kClusterMemberAttrSet, request)), 3u);
  EXPECT_EQ(Get("/0/members/ab/attributes"), expected);
  EXPECT_EQ(Follow(raft::EntryType::kNormal,
                   std::string(BuildLegacyPut(kLegacyVersionPath, "3.4.0", RequestId(1)).view())),
            4u);
  std::string version;
  wire::AppendBytes(version, 1, "3.5.0");
  EXPECT_EQ(Follow(raft::EntryType::kNormal, current(RequestKind::kClusterVersionSet, version)), 5u);
  EXPECT_EQ(Get("/0/version"), "3.5.0");
  // A member that is none says nothing.
  const std::string unknown(BuildLegacyPut(LegacyAttributesPath(MemberId(7)), "{}", RequestId(1)).view());
  EXPECT_EQ(Follow(raft::EntryType::kNormal, unknown), 5u);
}

// What Kvorum wrote before it had the v2 API, and what etcd 3.7 sends.
TEST_F(V2TreeTest, GoesOnFromTheMembershipAlone) {
  cluster::Cluster known(MemberId(1), ClusterId(2), nullptr);
  const cluster::Member one{.id = MemberId(1), .peer_urls = {"http://a"}, .name = "one"};
  known.AddMember(one, cluster::Cluster::Persist::kNo);
  known.RemoveMember(MemberId(7), cluster::Cluster::Persist::kNo);
  known.SetVersion("3.6.0", cluster::Cluster::Persist::kNo);
  raft::Snapshot snapshot{.data = Bytes::Copy(cluster::V2StoreJson(known)),
                          .metadata = {.conf_state = known.conf_state(), .index = raft::Index(9)}};
  const std::optional<cluster::Roster> roster = tree_.Recover(snapshot, known, NullLogger());
  ASSERT_TRUE(roster);
  EXPECT_EQ(roster->members, std::vector<cluster::Member>{one});
  EXPECT_EQ(roster->removed, std::set<MemberId>{MemberId(7)});
  EXPECT_EQ(roster->version, "3.6.0");
  const uint64_t index = store_.index();
  EXPECT_EQ(Follow(raft::ConfChangeType::kAddNode, one), index) << "it is there";
  EXPECT_EQ(Follow(raft::ConfChangeType::kAddNode, {.id = MemberId(7)}), index) << "it was removed";

  for (const char* unusable : {"", "{}", "[", R"({"Root":{"Path":"/","Children":{}},"CurrentIndex":5})"}) {
    snapshot.data = Bytes::Copy(unusable);
    EXPECT_FALSE(tree_.Recover(snapshot, known, NullLogger())) << unusable;
    EXPECT_EQ(Get("/0/members/1/raftAttributes"), R"({"peerURLs":["http://a"]})");
    EXPECT_EQ(Get("/0/members/1/attributes"), R"({"name":"one"})");
    EXPECT_EQ(Get("/0/version"), "3.6.0");
  }
}

TEST(V2MembershipPut, IsFoundByItsWholePath) {
  const auto of = [](const std::string& path) { return MembershipPutOf(Put(path, "")); };
  EXPECT_EQ(of("/0/members/ab/attributes")->attributes_of, MemberId(0xab));
  EXPECT_EQ(of("/0/members/8211F1D0F64F3269/attributes")->attributes_of, MemberId(0x8211f1d0f64f3269));
  EXPECT_FALSE(of("/0/version")->attributes_of);
  for (const char* path : {"/1/0/members/ab/attributes", "/0/members/ab/attributes/x",
                           "/0/members//attributes", "/0/members/attributes", "/0/members/xy/attributes",
                           "/0/members/ab/raftAttributes", "/0/members/10000000000000000/attributes",
                           "/0/membersab/attributes", "/1/0/version", "/0/version/"}) {
    EXPECT_FALSE(of(path)) << path;
  }
  EXPECT_FALSE(MembershipPutOf({.method = "PUT", .path = "/0/version", .prev_exist = true}));
  EXPECT_FALSE(MembershipPutOf({.method = "DELETE", .path = "/0/version"}));
}

// ---- Several members.

class V2GroupTest : public ::testing::Test {
 protected:
  void SetUp() override {
    group_.options().snapshot_count = 20;
    group_.options().snapshot_catchup_entries = 5;
    group_.Begin(3);
    ASSERT_NE(group_.Leader(), nullptr);
  }
  void WriteMany(World& world, const std::string& prefix, int count) {
    for (int i = 0; i < count; ++i) EventOf(group_.DoV2(world, Put(prefix + std::to_string(i), "v")));
  }
  void ExpectAllEqual() {
    EXPECT_TRUE(group_.PassUntil([&] {
      for (World* world : group_.worlds()) {
        if (world->member().status().applied_index != group_.Leader()->member().status().applied_index) {
          return false;
        }
      }
      return true;
    }));
    for (World* world : group_.worlds()) {
      EXPECT_TRUE(world->fatal().ok()) << world->fatal();
      EXPECT_TRUE(world->V2Json() == group_.Leader()->V2Json()) << world->V2Json().substr(0, 4000);
    }
  }
  int64_t Expires(milliseconds after) {
    return (group_.Leader()->clock().WallNow() + after).time_since_epoch().count();
  }

  Group group_;
};

TEST_F(V2GroupTest, AnyMemberWrites) {
  // Three members, three times published, one version.
  EXPECT_EQ(EventOf(group_.DoV2(group_.at(1), Put("/1/a", "1")))->index(), 8u);
  EXPECT_EQ(EventOf(group_.DoV2(group_.at(2), Put("/1/a", "2")))->index(), 9u);
  EXPECT_EQ(EventOf(group_.DoV2(group_.at(3), Put("/1/a", "3")))->prev_node->value.view(), "2");
  ExpectAllEqual();
}

TEST_F(V2GroupTest, ASnapshotBringsAFollowerBack) {
  World& behind = group_.Follower();
  WriteMany(*group_.Leader(), "/1/before", 3);
  group_.CutOff(behind);
  WriteMany(*group_.Leader(), "/1/missed", 60);
  EventOf(
      group_.DoV2(*group_.Leader(), {.method = "PUT", .path = "/1/t", .expiration = Expires(seconds(30))}));
  EventOf(group_.DoV2(*group_.Leader(), {.method = "DELETE", .path = "/1/before0"}));
  group_.Heal();
  ExpectAllEqual();
  EXPECT_GT(group_.snapshots_sent(), 0u);
  EXPECT_EQ(ValueOf(behind, "/1/missed59"), "v");
  EXPECT_FALSE(ValueOf(behind, "/1/before0"));
  // What came with it expires with the others', and is there after a restart.
  behind.Crash();
  ASSERT_TRUE(behind.Begin().ok());
  group_.Pass(seconds(32));
  EXPECT_FALSE(ValueOf(behind, "/1/t"));
  ExpectAllEqual();
}

TEST_F(V2GroupTest, ExpiresInTheSameOrderEverywhereAcrossLeaders) {
  for (int i = 0; i < 12; ++i) {
    EventOf(group_.DoV2(group_.at(1), {.method = "PUT",
                                       .path = "/1/t" + std::to_string(i),
                                       .expiration = Expires(milliseconds(2000 + 300 * ((i * 7) % 12)))}));
  }
  group_.Pass(seconds(3));
  World& old = *group_.Leader();
  EXPECT_TRUE(old.member().v2_store().HasTtls());
  group_.CutOff(old);
  ASSERT_TRUE(group_.PassUntil([&] { return group_.Leader() != nullptr && group_.Leader() != &old; }));
  group_.Pass(seconds(10));
  EXPECT_FALSE(group_.Leader()->member().v2_store().HasTtls());
  EXPECT_TRUE(old.member().v2_store().HasTtls()) << "nobody expires anything by itself";
  group_.Heal();
  ExpectAllEqual();
  EXPECT_EQ(group_.Leader()->member().v2_store().stats().expire_count, 12u);
}

TEST_F(V2GroupTest, AMemberThatJoinsAndOneThatLeavesKeepTheIndexes) {
  WriteMany(*group_.Leader(), "/1/k", 5);
  const uint64_t before = group_.Leader()->member().v2_store().index();
  World& gone = group_.Follower();
  const MemberId id = gone.member().id();
  ASSERT_TRUE(group_.Remove(*group_.Leader(), id).ok());
  EXPECT_EQ(group_.Leader()->member().v2_store().index(), before + 2);
  gone.Crash();
  gone.GiveUp();
  const Group::Members members = group_.Add(*group_.Leader(), {.peer_urls = {"http://m4"}});
  ASSERT_TRUE(members.ok()) << members.status();
  for (const cluster::Member& member : *members) {
    if (member.peer_urls != std::vector<std::string>{"http://m4"}) continue;
    World& joined = group_.StartJoining(member.id, *members);
    ASSERT_TRUE(group_.PassUntil([&] { return joined.ready(); }));
    group_.Pass(seconds(1));
    EXPECT_TRUE(joined.V2Json() == group_.Leader()->V2Json());
    EXPECT_EQ(ValueOf(joined, "/1/k4"), "v");
  }
  EXPECT_EQ(group_.Leader()->member().v2_store().index(), before + 4);
}

}  // namespace
}  // namespace kvorum::member
