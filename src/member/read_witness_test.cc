#include "member/read_witness.h"

#include <gtest/gtest.h>

#include "member/testing/group.h"

namespace kvorum::member {
namespace {

using raft::Index;
using raft::MessageType;
using raft::NodeId;
using raft::Term;
using std::chrono::milliseconds;

constexpr NodeId kSelf(1);

raft::Message Question(NodeId from, uint64_t term) {
  raft::Message question{.type = MessageType::kReadIndex, .to = kSelf, .from = from};
  question.entries.push_back({.data = Bytes::Copy("round 7")});
  ReadWitness::Stamp(question, Term(term));
  return question;
}

class ReadWitnessTest : public ::testing::Test {
 protected:
  ReadWitnessTest() {
    state_.applied_leader_term = 5;
    state_.committed = 42;
    witness_.Show(5, {.voters = {kSelf, NodeId(2), NodeId(3)}, .learners = {NodeId(4)}});
  }
  bool Answers(const raft::Message& question) { return witness_.Answer(question, state_).has_value(); }

  SharedState state_;
  ReadWitness witness_{kSelf};
};

TEST_F(ReadWitnessTest, AVoterOfThreeIsAnsweredWithTheCommitIndexAndItsOwnContext) {
  const std::optional<raft::Message> answer = witness_.Answer(Question(NodeId(2), 5), state_);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->type, MessageType::kReadIndexResp);
  EXPECT_EQ(answer->to, NodeId(2));
  EXPECT_EQ(answer->from, kSelf);
  EXPECT_EQ(answer->term, Term(5));
  EXPECT_EQ(answer->index, Index(42));
  ASSERT_EQ(answer->entries.size(), 1u);
  EXPECT_EQ(answer->entries[0].data.view(), "round 7");
}

TEST_F(ReadWitnessTest, OnlyAStampOfTheTermThatIsLedCounts) {
  EXPECT_FALSE(Answers(Question(NodeId(2), 0)));
  EXPECT_FALSE(Answers(Question(NodeId(2), 4)));
  EXPECT_FALSE(Answers(Question(NodeId(2), 6)));
}

TEST_F(ReadWitnessTest, LearnersAndStrangersAreNoQuorum) {
  EXPECT_FALSE(Answers(Question(NodeId(4), 5)));
  EXPECT_FALSE(Answers(Question(NodeId(9), 5)));
  EXPECT_FALSE(Answers(Question(kSelf, 5)));
}

TEST_F(ReadWitnessTest, NothingIsAnsweredBeforeAnEntryOfTheTermIsCommitted) {
  state_.applied_leader_term = 4;
  EXPECT_FALSE(Answers(Question(NodeId(2), 5)));
}

TEST_F(ReadWitnessTest, OtherQuestionsAreNone) {
  raft::Message message = Question(NodeId(2), 5);
  message.type = MessageType::kHeartbeatResp;
  EXPECT_FALSE(Answers(message));
}

TEST_F(ReadWitnessTest, WhoLeadsNoMoreAnswersNobody) {
  witness_.Show(0, {.voters = {kSelf, NodeId(2), NodeId(3)}});
  EXPECT_FALSE(Answers(Question(NodeId(2), 5)));
  EXPECT_FALSE(Answers(Question(NodeId(2), 0)));
}

TEST_F(ReadWitnessTest, LargerAndJointConfigurationsAreAskedAround) {
  witness_.Show(5, {.voters = {kSelf, NodeId(2), NodeId(3), NodeId(4)}});
  EXPECT_FALSE(Answers(Question(NodeId(2), 5)));
  witness_.Show(5, {.voters = {kSelf, NodeId(2)}, .voters_outgoing = {kSelf, NodeId(2), NodeId(3)}});
  EXPECT_FALSE(Answers(Question(NodeId(2), 5)));
  witness_.Show(5, {.voters = {NodeId(2), NodeId(3)}});  // its own removal is applied
  EXPECT_FALSE(Answers(Question(NodeId(2), 5)));
  witness_.Show(5, {.voters = {kSelf, NodeId(2)}});
  EXPECT_TRUE(Answers(Question(NodeId(2), 5)));
}

/// How often the members asked around for a read on a follower.
size_t RoundsOfARead(uint64_t members) {
  Group group;
  group.Begin(members);
  size_t rounds = 0;
  group.Watch([&rounds](const raft::Message& message) {
    rounds += message.type == MessageType::kHeartbeat && !message.context.empty();
  });
  EXPECT_EQ(group.Read(group.Follower(), milliseconds(50)), absl::OkStatus());
  return rounds;
}

TEST(ReadWitnessInAGroup, AFollowersReadAsksNobodyButTheLeader) { EXPECT_EQ(RoundsOfARead(3), 0u); }

TEST(ReadWitnessInAGroup, FiveMembersAreAskedAround) { EXPECT_EQ(RoundsOfARead(5), 4u); }

TEST(ReadWitnessInAGroup, AQuestionOfALaterTermGetsNoAnswerOfTheOldLeader) {
  Group group;
  group.Begin(3);
  World& old = *group.Leader();
  World& follower = group.Follower();
  group.CutOff(old);
  ASSERT_TRUE(group.PassUntil([&] { return group.Leader() != nullptr; }));
  // As if it had got through to the old leader, which knows of nothing yet.
  size_t answers = 0;
  group.Watch(
      [&answers](const raft::Message& message) { answers += message.type == MessageType::kReadIndexResp; });
  raft::Message question = Question(NodeId(Group::IdOf(follower)), follower.member().status().term);
  question.to = NodeId(Group::IdOf(old));
  old.member().Receive(std::move(question));
  group.Heal();
  group.Exchange();
  EXPECT_EQ(answers, 0u);
}

}  // namespace
}  // namespace kvorum::member
