#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "member/testing/group.h"
#include "raft/codec.h"

namespace kvorum::member {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

/// Three members, connected for long enough.
class MembershipTest : public ::testing::Test {
 protected:
  void SetUp() override {
    group_.Begin(3);
    ASSERT_NE(group_.Leader(), nullptr);
  }
  World& leader() { return *group_.Leader(); }
  static std::string Text(const Group::Members& members) { return std::string(members.status().message()); }
  static MemberId IdByUrl(const Group::Members& members, const std::string& url) {
    for (const cluster::Member& member : *members) {
      if (member.peer_urls == std::vector<std::string>{url}) return member.id;
    }
    ADD_FAILURE() << url;
    return MemberId(0);
  }
  Group::Members Promote(World& world, MemberId id) {
    return group_.DoChange([&](auto done) { world.member().PromoteMember(id, MonotonicTime::max(), done); });
  }
  Group::Members Update(World& world, MemberId id, const std::string& url) {
    return group_.DoChange(
        [&](auto done) { world.member().UpdateMember(id, {url}, MonotonicTime::max(), done); });
  }
  std::string Move(World& world, MemberId to) {
    std::optional<absl::Status> result;
    world.member().MoveLeader(to, MonotonicTime::max(), [&result](absl::Status status) { result = status; });
    group_.PassUntil([&] { return result.has_value(); });
    return result ? std::string(result->message()) : "no answer";
  }

  Group group_;
};

TEST_F(MembershipTest, AMemberJoins) {
  const Group::Members members = group_.Add(group_.Follower(), {.peer_urls = {"http://m4"}});
  ASSERT_TRUE(members.ok()) << members.status();
  ASSERT_EQ(members->size(), 4u);
  const MemberId id = IdByUrl(members, "http://m4");
  World& joined = group_.StartJoining(id, *members);
  ASSERT_TRUE(group_.PassUntil([&] { return joined.ready(); }));
  ASSERT_TRUE(group_.Put(joined, "a", seconds(1))->status.ok());
  group_.Pass(milliseconds(500));
  for (World* world : group_.worlds()) {
    EXPECT_TRUE(world->Get("a"));
    EXPECT_EQ(world->member().cluster().members().size(), 4u);
    EXPECT_EQ(world->member().cluster().Find(id)->name, joined.options().name);
  }
}

TEST_F(MembershipTest, TheEntryIsEtcds) {
  ASSERT_TRUE(group_.Add(leader(), {.peer_urls = {"http://b", "http://a"}, .is_learner = true}).ok());
  bool found = false;
  for (const auto& [index, entry] : leader().disk().entries()) {
    if (entry.type != raft::EntryType::kConfChange || entry.term == raft::Term(1)) continue;
    const auto change = raft::DecodeConfChange(entry.data.view());
    ASSERT_TRUE(change.ok());
    EXPECT_EQ(change->type, raft::ConfChangeType::kAddLearnerNode);
    EXPECT_EQ(change->context.view(),
              fmt::format(R"({{"id":{},"peerURLs":["http://a","http://b"],"isLearner":true}})",
                          change->node_id.value()));
    found = true;
  }
  EXPECT_TRUE(found);
}

TEST_F(MembershipTest, ALearnerIsPromotedWhenItHasCaughtUp) {
  const Group::Members members = group_.Add(leader(), {.peer_urls = {"http://m4"}, .is_learner = true});
  ASSERT_TRUE(members.ok()) << members.status();
  const MemberId id = IdByUrl(members, "http://m4");
  EXPECT_EQ(Text(Promote(leader(), id)),
            "etcdserver: can only promote a learner member which is in sync with leader");
  World& joined = group_.StartJoining(id, *members);
  ASSERT_TRUE(group_.PassUntil([&] { return joined.ready(); }));
  EXPECT_TRUE(joined.member().status().is_learner);
  group_.Pass(seconds(1));
  EXPECT_TRUE(Promote(leader(), id).ok());
  group_.Pass(milliseconds(500));
  EXPECT_FALSE(joined.member().status().is_learner);
  EXPECT_EQ(Text(Promote(leader(), id)), "membership: can only promote a learner member");
  EXPECT_EQ(Text(Promote(leader(), MemberId(99))), "membership: ID not found");
}

TEST_F(MembershipTest, AFollowerAsksTheLeaderToPromote) {
  const Group::Members members = group_.Add(leader(), {.peer_urls = {"http://m4"}, .is_learner = true});
  ASSERT_TRUE(members.ok());
  const MemberId id = IdByUrl(members, "http://m4");
  EXPECT_EQ(Text(Promote(group_.Follower(), id)),
            "etcdserver: can only promote a learner member which is in sync with leader");
  World& joined = group_.StartJoining(id, *members);
  ASSERT_TRUE(group_.PassUntil([&] { return joined.ready(); }));
  group_.Pass(seconds(1));
  const Group::Members promoted = Promote(group_.Follower(), id);
  ASSERT_TRUE(promoted.ok()) << promoted.status();
  EXPECT_EQ(promoted->size(), 4u);
}

TEST_F(MembershipTest, ARemovedMemberEndsAndStaysAway) {
  World& gone = group_.Follower();
  const MemberId id = gone.member().id();
  const Group::Members members = group_.Remove(leader(), id);
  ASSERT_TRUE(members.ok()) << members.status();
  EXPECT_EQ(members->size(), 2u);
  ASSERT_TRUE(group_.PassUntil([&] { return gone.removed(); }));
  EXPECT_TRUE(group_.Put(leader(), "a", seconds(1))->status.ok());
  gone.backend().CommitNow();
  gone.Crash(1);
  EXPECT_EQ(std::string(gone.Begin().message()), "the member has been permanently removed from the cluster");
  EXPECT_EQ(Text(group_.Remove(leader(), id)), "membership: ID removed");
}

TEST_F(MembershipTest, TheLeaderCanBeRemoved) {
  World& gone = leader();
  ASSERT_TRUE(group_.Remove(gone, gone.member().id()).ok());
  ASSERT_TRUE(group_.PassUntil([&] { return gone.removed(); }));
  gone.Crash();
  ASSERT_TRUE(group_.PassUntil([&] { return group_.Leader() != nullptr; }));
  EXPECT_TRUE(group_.Put(leader(), "a", seconds(5))->status.ok());
}

TEST_F(MembershipTest, WhoIsToldByOthersThatItWasRemovedEnds) {
  group_.Follower().member().OnRemoved();
  EXPECT_TRUE(group_.Follower().removed());
}

TEST_F(MembershipTest, MessagesOfARemovedMemberAreDropped) {
  World& gone = group_.Follower();
  const MemberId id = gone.member().id();
  ASSERT_TRUE(group_.Remove(leader(), id).ok());
  const uint64_t term = leader().member().status().term;
  leader().member().Receive({.type = raft::MessageType::kHeartbeat,
                             .to = raft::NodeId(leader().member().id().value()),
                             .from = raft::NodeId(id.value()),
                             .term = raft::Term(term + 5)});
  group_.Pass(milliseconds(100));
  EXPECT_EQ(leader().member().status().term, term);
}

TEST_F(MembershipTest, UrlsAreReplaced) {
  World& follower = group_.Follower();
  const MemberId id = follower.member().id();
  ASSERT_TRUE(Update(leader(), id, "http://elsewhere").ok());
  group_.Pass(milliseconds(500));
  for (World* world : group_.worlds()) {
    EXPECT_THAT(world->member().cluster().Find(id)->peer_urls, testing::ElementsAre("http://elsewhere"));
  }
  EXPECT_FALSE(follower.member().cluster().Find(id)->name.empty());
  EXPECT_EQ(Text(Update(leader(), MemberId(99), "http://x")), "membership: ID not found");
  const std::string taken = leader().member().cluster().Find(leader().member().id())->peer_urls[0];
  EXPECT_EQ(Text(Update(leader(), id, taken)), "membership: peerURL exists");
}

TEST_F(MembershipTest, SaysWhatIsWrongWithAnAddition) {
  EXPECT_EQ(Text(group_.Add(leader(), {.peer_urls = {"http://m1"}})), "membership: peerURL exists");
  ASSERT_TRUE(group_.Add(leader(), {.peer_urls = {"http://l1"}, .is_learner = true}).ok());
  EXPECT_EQ(Text(group_.Add(leader(), {.peer_urls = {"http://l2"}, .is_learner = true})),
            "membership: too many learner members in cluster");
}

TEST_F(MembershipTest, RefusesWhatRisksTheQuorum) {
  ASSERT_TRUE(group_.Add(leader(), {.peer_urls = {"http://never-started"}}).ok());
  // Four voters, of which three have started.
  EXPECT_TRUE(group_.Add(leader(), {.peer_urls = {"http://neither"}}).ok());
  EXPECT_EQ(Text(group_.Add(leader(), {.peer_urls = {"http://nor-this"}})),
            "etcdserver: re-configuration failed due to not enough started members");
  EXPECT_EQ(Text(group_.Remove(leader(), group_.Follower().member().id())),
            "etcdserver: re-configuration failed due to not enough started members");
}

TEST_F(MembershipTest, RefusesAChangeWhileMembersAreDown) {
  World& follower = group_.Follower();
  group_.CutOff(follower);
  group_.Pass(seconds(1));
  EXPECT_EQ(Text(group_.Add(leader(), {.peer_urls = {"http://m4"}})), "etcdserver: unhealthy cluster");
  EXPECT_EQ(Text(group_.Remove(leader(), leader().member().id())), "etcdserver: unhealthy cluster");
  // One that is down is no part of what runs.
  EXPECT_TRUE(group_.Remove(leader(), follower.member().id()).ok());
}

TEST_F(MembershipTest, ChangesFollowOneAnother) {
  const std::vector<std::string> urls = {"http://x", "http://y"};
  std::vector<std::optional<Group::Members>> results(3);
  World& from = leader();
  for (size_t i = 0; i < 3; ++i) {
    from.member().UpdateMember(MemberId(i + 1), {"http://n" + std::to_string(i)}, MonotonicTime::max(),
                               [&results, i](Group::Members members) { results[i] = std::move(members); });
  }
  group_.Pass(seconds(1));
  for (const auto& result : results) {
    ASSERT_TRUE(result);
    EXPECT_TRUE(result->ok()) << result->status();
  }
}

TEST_F(MembershipTest, LeadershipMoves) {
  World& follower = group_.Follower();
  const MemberId to = follower.member().id();
  EXPECT_EQ(Move(follower, to), "etcdserver: not leader");
  EXPECT_EQ(Move(leader(), MemberId(99)), "etcdserver: bad leader transferee");
  EXPECT_EQ(Move(leader(), to), "");
  EXPECT_EQ(leader().member().id(), to);
  EXPECT_EQ(Move(leader(), to), "");
}

TEST_F(MembershipTest, AMoveThatDoesNotEndTimesOut) {
  World& follower = group_.Follower();
  group_.CutOff(follower);
  EXPECT_EQ(Move(leader(), follower.member().id()),
            "etcdserver: request timed out, leader transfer took too long");
}

TEST_F(MembershipTest, AJointChangeOfALogIsApplied) {
  raft::ConfChangeV2 change;
  change.transition = raft::ConfChangeTransition::kJointImplicit;
  change.changes = {{.type = raft::ConfChangeType::kRemoveNode, .node_id = raft::NodeId(3)}};
  World& one = leader();
  // As another program's leader might have it in its log: through the wire, from a follower.
  raft::Message message{.type = raft::MessageType::kProp,
                        .to = raft::NodeId(one.member().id().value()),
                        .from = raft::NodeId(group_.Follower().member().id().value())};
  message.entries.push_back(
      {.type = raft::EntryType::kConfChangeV2, .data = Bytes::Copy(raft::Encode(change))});
  one.member().Receive(std::move(message));
  ASSERT_TRUE(group_.PassUntil([&] { return group_.at(3).removed(); }));
  group_.at(3).Crash();
  ASSERT_TRUE(group_.PassUntil([&] { return group_.Leader() != nullptr; }));
  EXPECT_TRUE(group_.Put(leader(), "a", seconds(5))->status.ok());
  EXPECT_EQ(leader().member().cluster().members().size(), 2u);
  // Also after a restart the configuration is the one that was left.
  World& again = leader();
  again.backend().CommitNow();
  again.Crash(10);
  ASSERT_TRUE(again.Begin().ok());
  ASSERT_TRUE(group_.PassUntil([&] { return group_.Leader() != nullptr; }));
  EXPECT_TRUE(group_.Put(leader(), "b", seconds(5))->status.ok());
}

}  // namespace
}  // namespace kvorum::member
