#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "raft/errors.h"
#include "raft/raft.h"
#include "raft/testing/test_member.h"

// One test a clause of figure 2 of the Raft paper ("fig. 2"), and of the chapters of the thesis on leadership
// transfer (3.10), membership (4), reads (6.4), pre-vote (9.6) and the leader's own disk (10.2.1).

namespace kvorum::raft {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

using Type = MessageType;

TestMember Follower(uint64_t voters = 3, Config config = {}) {
  return TestMember(1, TestMember::Voters(voters), config);
}
Message From(uint64_t id, Type type, uint64_t term) {
  return {.type = type, .from = NodeId(id), .term = Term(term)};
}
/// An append of entries of `terms` behind the entry `index` of `log_term`.
Message Append(uint64_t term, uint64_t index, uint64_t log_term, std::vector<uint64_t> terms = {},
               uint64_t commit = 0) {
  Message message = From(2, Type::kApp, term);
  message.log_term = Term(log_term);
  message.index = Index(index);
  message.commit = Index(commit);
  for (const uint64_t each : terms) message.entries.push_back({.term = Term(each), .index = Index(++index)});
  return message;
}
Message VoteRequest(uint64_t from, uint64_t term, uint64_t index, uint64_t log_term) {
  Message message = From(from, Type::kVote, term);
  message.index = Index(index);
  message.log_term = Term(log_term);
  return message;
}
Message Accepted(uint64_t from, uint64_t term, uint64_t index) {
  Message message = From(from, Type::kAppResp, term);
  message.index = Index(index);
  return message;
}

// ---- fig. 2, state ----

TEST(RaftPaperTest, Fig2PersistentStateVotesWaitForTheDisk) {
  TestMember member = Follower();
  ASSERT_TRUE(member.node().Step(VoteRequest(2, 5, 1, 1)).ok());
  const Ready ready = member.node().GetReady();
  EXPECT_THAT(ready.messages, IsEmpty());
  ASSERT_THAT(ready.messages_after_persist, SizeIs(1));
  EXPECT_EQ(ready.messages_after_persist[0].type, Type::kVoteResp);
  EXPECT_EQ(ready.hard_state, (HardState{.term = Term(5), .vote = NodeId(2), .commit = Index(1)}));
  EXPECT_TRUE(ready.must_sync);
}

TEST(RaftPaperTest, Fig2PersistentStateAppendAcknowledgementsWaitForTheDisk) {
  TestMember member = Follower();
  ASSERT_TRUE(member.node().Step(Append(2, 1, 1, {2})).ok());
  Message heartbeat = From(2, Type::kHeartbeat, 2);
  ASSERT_TRUE(member.node().Step(Message(heartbeat)).ok());
  const Ready ready = member.node().GetReady();
  ASSERT_THAT(ready.messages, SizeIs(1));
  EXPECT_EQ(ready.messages[0].type, Type::kHeartbeatResp);
  ASSERT_THAT(ready.messages_after_persist, SizeIs(1));
  EXPECT_EQ(ready.messages_after_persist[0].type, Type::kAppResp);
}

TEST(RaftPaperTest, Fig2PersistentStateSurvivesARestart) {
  TestMember member = Follower();
  member.RestartWithLog({2, 3}, {.term = Term(7), .vote = NodeId(3), .commit = Index(2)});
  EXPECT_EQ(member.node().hard_state(), (HardState{.term = Term(7), .vote = NodeId(3), .commit = Index(2)}));
  EXPECT_TRUE(member.Receive(VoteRequest(2, 7, 9, 9))[0].reject) << "it has voted for 3 in this term";
}

// ---- fig. 2, AppendEntries RPC, receiver ----

TEST(RaftPaperTest, Fig2AppendEntries1RepliesFalseToAnEarlierTerm) {
  Config config;
  config.check_quorum = true;
  TestMember member = Follower(3, config);
  member.RestartWithLog({2}, {.term = Term(4)});
  const auto sent = member.Receive(Append(3, 2, 2, {3}));
  ASSERT_THAT(sent, SizeIs(1));
  EXPECT_EQ(sent[0].term, Term(4)) << "so that the sender steps down";
  EXPECT_EQ(sent[0].index, Index(0));
  EXPECT_THAT(member.LogTerms(), ElementsAre(2));
}

TEST(RaftPaperTest, Fig2AppendEntries2RepliesFalseWhereThePreviousEntryDoesNotMatch) {
  TestMember member = Follower();
  member.RestartWithLog({2, 2}, {.term = Term(3)});
  const auto mismatched = member.Receive(Append(3, 3, 3, {3}));
  ASSERT_THAT(mismatched, SizeIs(1));
  EXPECT_TRUE(mismatched[0].reject);
  const auto missing = member.Receive(Append(3, 9, 3, {3}));
  EXPECT_TRUE(missing[0].reject);
  EXPECT_EQ(missing[0].reject_hint, Index(3)) << "its log ends there";
  EXPECT_EQ(missing[0].log_term, Term(2));
}

TEST(RaftPaperTest, Fig2AppendEntries3DeletesAConflictingEntryAndAllBehindIt) {
  TestMember member = Follower();
  member.RestartWithLog({2, 2, 2}, {.term = Term(3)});
  member.Receive(Append(3, 2, 2, {3}));
  EXPECT_THAT(member.LogTerms(), ElementsAre(2, 3));
}

TEST(RaftPaperTest, Fig2AppendEntries4AppendsOnlyWhatIsNotThere) {
  TestMember member = Follower();
  member.RestartWithLog({2, 2, 2}, {.term = Term(3)});
  const auto late = member.Receive(Append(3, 1, 1, {2}));
  EXPECT_EQ(late[0].index, Index(2));
  EXPECT_THAT(member.LogTerms(), ElementsAre(2, 2, 2)) << "a late append must not shorten the log";
  member.Receive(Append(3, 3, 2, {2, 3}));
  EXPECT_THAT(member.LogTerms(), ElementsAre(2, 2, 2, 3));
}

TEST(RaftPaperTest, Fig2AppendEntries5CommitsNoFurtherThanTheLastNewEntry) {
  TestMember member = Follower();
  member.RestartWithLog({2, 2, 2}, {.term = Term(3)});
  member.Receive(Append(3, 1, 1, {2}, 4));
  EXPECT_EQ(member.raft().log().committed(), Index(2)) << "what is behind it may differ from the leader's";
}

// ---- fig. 2, RequestVote RPC, receiver ----

TEST(RaftPaperTest, Fig2RequestVote1IgnoresAnEarlierTerm) {
  TestMember member = Follower();
  member.RestartWithLog({}, {.term = Term(4)});
  EXPECT_THAT(member.Receive(VoteRequest(2, 3, 9, 9)), IsEmpty());
}

TEST(RaftPaperTest, Fig2RequestVote2GrantsOneVoteATerm) {
  TestMember member = Follower();
  EXPECT_FALSE(member.Receive(VoteRequest(2, 5, 1, 1))[0].reject);
  EXPECT_TRUE(member.Receive(VoteRequest(3, 5, 1, 1))[0].reject);
  EXPECT_FALSE(member.Receive(VoteRequest(2, 5, 1, 1))[0].reject) << "the answer may have been lost";
  EXPECT_FALSE(member.Receive(VoteRequest(3, 6, 1, 1))[0].reject) << "a new term";
}

TEST(RaftPaperTest, Fig2RequestVote2GrantsOnlyToALogThatIsUpToDate) {
  const auto granted = [](uint64_t index, uint64_t log_term) {
    TestMember member = Follower();
    member.RestartWithLog({2, 3}, {.term = Term(3)});
    return !member.Receive(VoteRequest(2, 9, index, log_term))[0].reject;
  };
  EXPECT_TRUE(granted(3, 3));
  EXPECT_TRUE(granted(4, 3));
  EXPECT_FALSE(granted(2, 3));
  EXPECT_FALSE(granted(9, 2)) << "the term of the last entry comes before the length";
  EXPECT_TRUE(granted(1, 4));
}

// ---- fig. 2, rules for servers ----

TEST(RaftPaperTest, Fig2AllServersApplyWhatIsCommittedInOrder) {
  TestMember member = Follower();
  member.Receive(Append(2, 1, 1, {2, 2, 2}, 3));
  ASSERT_THAT(member.applied(), SizeIs(2));
  EXPECT_EQ(member.applied()[0].index, Index(2));
  EXPECT_EQ(member.applied()[1].index, Index(3));
}

TEST(RaftPaperTest, Fig2AllServersFollowAHigherTermInEveryRole) {
  TestMember leader = Follower();
  leader.Lead();
  leader.Receive(Accepted(2, 9, 1));
  EXPECT_EQ(leader.raft().role(), Role::kFollower);
  EXPECT_EQ(leader.node().term(), Term(9));
  TestMember candidate = Follower();
  candidate.TimeOut();
  candidate.Receive(From(2, Type::kHeartbeat, 9));
  EXPECT_EQ(candidate.raft().role(), Role::kFollower);
  EXPECT_EQ(candidate.raft().lead(), NodeId(2));
}

TEST(RaftPaperTest, Fig2FollowersCampaignWhenTheyHearNothing) {
  TestMember member = Follower();
  const auto sent = member.TimeOut();
  EXPECT_EQ(member.raft().role(), Role::kCandidate);
  EXPECT_EQ(member.node().hard_state().vote, NodeId(1));
  EXPECT_EQ(member.node().term(), Term(1));
  EXPECT_THAT(OfType(sent, Type::kVote), SizeIs(2));
}

TEST(RaftPaperTest, Fig2FollowersStayWhileTheyHearFromALeaderOrGrantVotes) {
  TestMember member = Follower();
  for (int i = 0; i < 20; ++i) {
    for (int tick = 0; tick < 9; ++tick) member.node().Tick();
    member.Receive(i % 2 == 0 ? From(2, Type::kHeartbeat, 2 + i) : VoteRequest(3, 2 + i, 5, 2));
    ASSERT_EQ(member.raft().role(), Role::kFollower);
  }
}

TEST(RaftPaperTest, Fig2CandidatesLeadByAMajorityAndCountEachVoterOnce) {
  TestMember member = Follower(5);
  member.TimeOut();
  member.Receive(From(2, Type::kVoteResp, 1));
  member.Receive(From(2, Type::kVoteResp, 1));
  EXPECT_EQ(member.raft().role(), Role::kCandidate);
  member.Receive(From(3, Type::kVoteResp, 1));
  EXPECT_EQ(member.raft().role(), Role::kLeader);
}

TEST(RaftPaperTest, Fig2CandidatesFollowALeaderOfTheirTerm) {
  TestMember member = Follower();
  member.TimeOut();
  member.Receive(Append(1, 1, 1));
  EXPECT_EQ(member.raft().role(), Role::kFollower);
  EXPECT_EQ(member.raft().lead(), NodeId(2));
}

TEST(RaftPaperTest, Fig2CandidatesStartAnewWhenTheElectionTimesOut) {
  TestMember member = Follower();
  member.TimeOut();
  member.TimeOut();
  EXPECT_EQ(member.node().term(), Term(2));
  EXPECT_EQ(member.raft().role(), Role::kCandidate);
}

TEST(RaftPaperTest, Fig2LeadersSayThatTheyLeadAtOnceAndWhileIdle) {
  TestMember member = Follower();
  EXPECT_THAT(OfType(member.Lead(), Type::kApp), SizeIs(2));
  member.node().Tick();
  EXPECT_THAT(OfType(member.Run(), Type::kHeartbeat), SizeIs(2));
}

TEST(RaftPaperTest, Fig2LeadersAppendCommandsAndAnswerOnceTheyAreApplied) {
  TestMember member = Follower();
  member.Lead();
  member.Receive(Accepted(2, 1, 2));
  std::vector<Bytes> batch = {Bytes::Copy("a"), Bytes::Copy("b")};
  ASSERT_TRUE(member.node().ProposeBatch(batch).ok());
  const auto sent = OfType(member.Run(), Type::kApp);
  EXPECT_THAT(sent[0].entries, SizeIs(2)) << "a batch is one message";
  EXPECT_EQ(sent[0].entries[0].data.data(), batch[0].data()) << "the data is not copied";
  EXPECT_THAT(member.applied(), SizeIs(1));
  member.Receive(Accepted(2, 1, 4));
  ASSERT_THAT(member.applied(), SizeIs(3));
  EXPECT_EQ(member.applied()[2].data.view(), "b");
}

TEST(RaftPaperTest, Fig2LeadersRetryFromEarlierWhereAFollowersLogDiffers) {
  TestMember member = Follower();
  member.RestartWithLog({2, 3, 3}, {.term = Term(3)});
  member.Lead();
  Message rejected = From(2, Type::kAppResp, 4);
  rejected.index = Index(4);
  rejected.reject = true;
  rejected.reject_hint = Index(3);
  rejected.log_term = Term(2);
  const auto retry = member.Receive(rejected);
  ASSERT_THAT(retry, SizeIs(1));
  EXPECT_EQ(retry[0].index, Index(2)) << "no entry of term 3 can match there";
  EXPECT_THAT(retry[0].entries, SizeIs(3));
  member.Receive(Accepted(2, 4, 5));
  EXPECT_EQ(member.node().GetStatus().progress.at(NodeId(2)).match, Index(5));
}

TEST(RaftPaperTest, Fig2LeadersCommitOnlyEntriesOfTheirTermByCounting) {
  TestMember member = Follower();
  member.RestartWithLog({2, 2}, {.term = Term(2)});
  member.Lead();
  member.Receive(Accepted(2, 3, 3));
  EXPECT_EQ(member.raft().log().committed(), Index(1)) << "on a majority, but of an earlier term (fig. 8)";
  member.Receive(Accepted(2, 3, 4));
  EXPECT_EQ(member.raft().log().committed(), Index(4)) << "with an entry of its own term, all before it";
}

// ---- thesis 10.2.1: the leader writes its own log in parallel ----

TEST(RaftPaperTest, Thesis10TheLeadersOwnCopyCountsWhenItIsOnDisk) {
  TestMember member = Follower(1);
  member.Lead();
  ASSERT_TRUE(member.node().Propose(Bytes::Copy("x")).ok());
  Ready ready = member.node().GetReady();
  EXPECT_EQ(member.raft().log().committed(), Index(2));
  member.storage().Append(std::move(ready.entries));
  member.node().Advance();
  EXPECT_EQ(member.raft().log().committed(), Index(3));
}

TEST(RaftPaperTest, ACandidateLeadsOnlyOnceItsOwnVoteIsDurable) {
  Config config;
  config.async_storage_writes = true;
  TestMember member = Follower(3, config);
  ASSERT_TRUE(member.node().Campaign().ok());
  Ready ready = member.node().GetReady();
  Message write = std::move(ready.messages.back());
  ASSERT_EQ(write.to, kAppendThread);
  for (const uint64_t voter : {2, 3}) {
    ASSERT_TRUE(member.node().Step(From(voter, Type::kVoteResp, 1)).ok());
  }
  EXPECT_EQ(member.raft().role(), Role::kCandidate);
  ASSERT_TRUE(member.node().Step(std::move(write.responses[0])).ok());
  EXPECT_EQ(member.raft().role(), Role::kLeader);
}

// ---- thesis 3.10: leadership transfer ----

TEST(RaftPaperTest, Thesis3TransferStopsProposalsAndCatchesTheTargetUpFirst) {
  TestMember member = Follower();
  member.Lead();
  member.node().TransferLeader(NodeId(2));
  EXPECT_THAT(OfType(member.Run(), Type::kTimeoutNow), IsEmpty());
  EXPECT_EQ(ErrorCode(member.node().Propose(Bytes::Copy("x"))), Error::kProposalDropped);
  EXPECT_THAT(OfType(member.Receive(Accepted(2, 1, 2)), Type::kTimeoutNow), SizeIs(1));
}

TEST(RaftPaperTest, Thesis3TransferEndsAfterAnElectionTimeout) {
  TestMember member = Follower();
  member.Lead();
  member.node().TransferLeader(NodeId(2));
  for (int i = 0; i < 10; ++i) member.node().Tick();
  EXPECT_TRUE(member.node().Propose(Bytes::Copy("x")).ok());
}

TEST(RaftPaperTest, Thesis3TheTargetCampaignsAtOnceAndSaysWhy) {
  Config config;
  config.pre_vote = true;
  TestMember member = Follower(3, config);
  member.Receive(From(2, Type::kHeartbeat, 2));
  const auto sent = OfType(member.Receive(From(2, Type::kTimeoutNow, 2)), Type::kVote);
  ASSERT_THAT(sent, SizeIs(2));
  EXPECT_EQ(sent[0].context.view(), kCampaignTransfer);
}

// ---- thesis 4: membership ----

ConfChangeV2 Change(ConfChangeType type, uint64_t id) { return {.changes = {{type, NodeId(id)}}}; }

TEST(RaftPaperTest, Thesis4OneChangeAtATime) {
  TestMember member = Follower();
  member.Lead();
  member.Receive(Accepted(2, 1, 2));
  ASSERT_TRUE(member.node().ProposeConfChange(Change(ConfChangeType::kAddNode, 4)).ok());
  ASSERT_TRUE(member.node().ProposeConfChange(Change(ConfChangeType::kAddNode, 5)).ok());
  member.Receive(Accepted(2, 1, 4));
  ASSERT_THAT(member.applied(), SizeIs(3));
  EXPECT_EQ(member.applied()[1].type, EntryType::kConfChangeV2);
  EXPECT_EQ(member.applied()[2].type, EntryType::kNormal) << "an empty entry in place of the second";
  EXPECT_EQ(member.raft().membership().voters.All(), (IdSet{NodeId(1), NodeId(2), NodeId(3), NodeId(4)}));
}

TEST(RaftPaperTest, Thesis421LearnersReceiveEntriesAndCountForNothing) {
  ConfState state = TestMember::Voters(3);
  state.learners = {NodeId(4)};
  TestMember member(1, state);
  EXPECT_THAT(OfType(member.Lead(), Type::kApp), SizeIs(3));
  member.Receive(Accepted(4, 1, 2));
  EXPECT_EQ(member.raft().log().committed(), Index(1));
  TestMember learner(4, state);
  learner.TimeOut();
  EXPECT_EQ(learner.raft().role(), Role::kFollower) << "it does not campaign";
}

TEST(RaftPaperTest, Thesis422ALeaderThatIsRemovedDoesNotCountItself) {
  TestMember member = Follower(2);
  member.Lead();
  member.Receive(Accepted(2, 1, 2));
  ASSERT_TRUE(member.node().ProposeConfChange(Change(ConfChangeType::kRemoveNode, 1)).ok());
  ASSERT_TRUE(member.node().Propose(Bytes::Copy("x")).ok());
  member.Receive(Accepted(2, 1, 3));
  EXPECT_EQ(member.raft().membership().voters.All(), IdSet{NodeId(2)});
  EXPECT_EQ(member.raft().log().committed(), Index(3));
  EXPECT_EQ(ErrorCode(member.node().Propose(Bytes::Copy("y"))), Error::kProposalDropped);
  member.Receive(Accepted(2, 1, 4));
  EXPECT_EQ(member.raft().log().committed(), Index(4)) << "it still commits what is in its log";
}

TEST(RaftPaperTest, Thesis422StepsDownOnRemovalWhereToldTo) {
  Config config;
  config.step_down_on_removal = true;
  TestMember member = Follower(2, config);
  member.Lead();
  member.Receive(Accepted(2, 1, 2));
  ASSERT_TRUE(member.node().ProposeConfChange(Change(ConfChangeType::kRemoveNode, 1)).ok());
  member.Receive(Accepted(2, 1, 3));
  EXPECT_EQ(member.raft().role(), Role::kFollower);
}

TEST(RaftPaperTest, Thesis423AServerThatHearsFromALeaderHelpsNobodyToDeposeIt) {
  Config config;
  config.check_quorum = true;
  TestMember member = Follower(3, config);
  member.Receive(From(2, Type::kHeartbeat, 2));
  EXPECT_THAT(member.Receive(VoteRequest(3, 9, 9, 9)), IsEmpty());
  EXPECT_EQ(member.node().term(), Term(2));
  Message transfer = VoteRequest(3, 9, 9, 9);
  transfer.context = Bytes::Copy(kCampaignTransfer);
  EXPECT_FALSE(member.Receive(transfer)[0].reject) << "the leader itself has asked for it";
}

TEST(RaftPaperTest, Thesis43JointConsensusNeedsBothMajorities) {
  ConfState state{.voters = {NodeId(1), NodeId(4), NodeId(5)},
                  .voters_outgoing = {NodeId(1), NodeId(2), NodeId(3)}};
  TestMember member(1, state);
  member.TimeOut();
  member.Receive(From(4, Type::kVoteResp, 1));
  EXPECT_EQ(member.raft().role(), Role::kCandidate);
  member.Receive(From(2, Type::kVoteResp, 1));
  EXPECT_EQ(member.raft().role(), Role::kLeader);
  member.Receive(Accepted(4, 1, 2));
  member.Receive(Accepted(5, 1, 2));
  EXPECT_EQ(member.raft().log().committed(), Index(1));
  member.Receive(Accepted(3, 1, 2));
  EXPECT_EQ(member.raft().log().committed(), Index(2));
}

TEST(RaftPaperTest, Thesis43TheGroupLeavesTheJointConfigurationByItself) {
  TestMember member = Follower(1);
  member.Lead();
  const ConfChangeV2 change{.changes = {{ConfChangeType::kAddLearnerNode, NodeId(2)},
                                        {ConfChangeType::kAddLearnerNode, NodeId(3)}}};
  ASSERT_TRUE(member.node().ProposeConfChange(change).ok());
  member.Run();
  EXPECT_FALSE(member.raft().membership().voters.joint());
  EXPECT_EQ(member.raft().membership().learners, (IdSet{NodeId(2), NodeId(3)}));
  EXPECT_THAT(member.applied(), SizeIs(3)) << "into it and out of it, behind the leader's own entry";
}

// ---- thesis 6.2, 6.4: leaders without a quorum, reads ----

Config CheckQuorum() {
  Config config;
  config.check_quorum = true;
  return config;
}

TEST(RaftPaperTest, Thesis62ALeaderThatNoMajorityAnswersStepsDown) {
  TestMember member = Follower(3, CheckQuorum());
  member.Lead();
  member.Receive(From(2, Type::kHeartbeatResp, 1));
  for (int i = 0; i < 10; ++i) member.node().Tick();
  EXPECT_EQ(member.raft().role(), Role::kLeader);
  for (int i = 0; i < 10; ++i) member.node().Tick();
  EXPECT_EQ(member.raft().role(), Role::kFollower);
}

TEST(RaftPaperTest, Thesis64Step1ReadsWaitForTheFirstCommitOfTheTerm) {
  TestMember member = Follower();
  member.RestartWithLog({}, {.term = Term(1)});
  member.Lead();
  member.node().ReadIndex(Bytes::Copy("r"));
  EXPECT_THAT(member.Run(), IsEmpty());
  const auto sent = OfType(member.Receive(Accepted(2, 2, 2)), Type::kHeartbeat);
  ASSERT_THAT(sent, SizeIs(2));
  EXPECT_FALSE(sent[0].context.empty());
}

TEST(RaftPaperTest, Thesis64Step1HoldsForAGroupOfOneToo) {
  TestMember member = Follower(1);
  member.RestartWithLog({}, {.term = Term(1)});
  ASSERT_TRUE(member.node().Campaign().ok());
  member.node().GetReady();
  member.node().Advance();
  ASSERT_EQ(member.raft().role(), Role::kLeader);
  member.node().ReadIndex(Bytes::Copy("r"));
  EXPECT_THAT(member.raft().outbox().read_states, IsEmpty());
  member.Run();
  ASSERT_THAT(member.reads(), SizeIs(1));
  EXPECT_EQ(member.reads()[0].index, Index(2));
}

Message HeartbeatAnswer(uint64_t from, const Bytes& context) {
  Message message = From(from, Type::kHeartbeatResp, 1);
  message.context = context;
  return message;
}

/// Asks for a read; gives the context of the heartbeats of its round.
Bytes BeginRead(TestMember& member, std::string_view context) {
  member.node().ReadIndex(Bytes::Copy(context));
  const auto sent = OfType(member.Run(), Type::kHeartbeat);
  return sent.empty() ? Bytes() : sent[0].context;
}

TEST(RaftPaperTest, Thesis64Step3ReadsWaitForARoundOfHeartbeatsBegunAfterThem) {
  TestMember member = Follower(5);
  member.Lead();
  member.Receive(Accepted(2, 1, 2));
  member.Receive(Accepted(3, 1, 2));
  const Bytes first = BeginRead(member, "first");
  const Bytes second = BeginRead(member, "second");
  member.Receive(HeartbeatAnswer(2, first));
  EXPECT_THAT(member.reads(), IsEmpty());
  member.Receive(HeartbeatAnswer(2, first));
  EXPECT_THAT(member.reads(), IsEmpty()) << "the same node twice";
  member.Receive(HeartbeatAnswer(2, second));
  member.Receive(HeartbeatAnswer(3, second));
  ASSERT_THAT(member.reads(), SizeIs(2)) << "a round confirms all before it";
  EXPECT_EQ(member.reads()[0].context.view(), "first");
  EXPECT_EQ(member.reads()[0].index, Index(2));
}

TEST(RaftPaperTest, Thesis64Step3ARequestThatComesAgainHasARoundOfItsOwn) {
  TestMember member = Follower(5);
  member.Lead();
  member.Receive(Accepted(2, 1, 2));
  member.Receive(Accepted(3, 1, 2));
  const Bytes context = BeginRead(member, "r");
  EXPECT_TRUE(BeginRead(member, "r").empty()) << "it waits already";
  member.Receive(HeartbeatAnswer(2, context));
  member.Receive(HeartbeatAnswer(3, context));
  ASSERT_THAT(member.reads(), SizeIs(1));
  BeginRead(member, "later");
  const Bytes again = BeginRead(member, "r");
  member.Receive(HeartbeatAnswer(4, context));
  member.Receive(HeartbeatAnswer(5, context));
  EXPECT_THAT(member.reads(), SizeIs(1)) << "these acknowledge what was before";
  member.Receive(HeartbeatAnswer(4, again));
  member.Receive(HeartbeatAnswer(5, again));
  EXPECT_THAT(member.reads(), SizeIs(3));
}

TEST(RaftPaperTest, Thesis64FollowersAskTheLeader) {
  TestMember member = Follower();
  member.Receive(From(2, Type::kHeartbeat, 1));
  member.node().ReadIndex(Bytes::Copy("r"));
  const auto sent = member.Run();
  ASSERT_THAT(sent, SizeIs(1));
  EXPECT_EQ(sent[0].to, NodeId(2));
  Message answer = From(2, Type::kReadIndexResp, 1);
  answer.index = Index(7);
  answer.entries = sent[0].entries;
  member.Receive(answer);
  EXPECT_EQ(member.reads().at(0), (ReadState{.index = Index(7), .context = Bytes::Copy("r")}));
}

TEST(RaftPaperTest, Thesis64ARemovedLeaderDoesNotDecideForTheOneThatIsLeft) {
  TestMember member = Follower(2);
  member.Lead();
  member.Receive(Accepted(2, 1, 2));
  ASSERT_TRUE(member.node().ProposeConfChange(Change(ConfChangeType::kRemoveNode, 1)).ok());
  member.Run();
  member.Receive(Accepted(2, 1, 3));
  const Bytes context = BeginRead(member, "r");
  EXPECT_THAT(member.reads(), IsEmpty());
  member.Receive(HeartbeatAnswer(2, context));
  EXPECT_THAT(member.reads(), SizeIs(1));
}

TEST(RaftPaperTest, Thesis641InsideALeaseReadsAreAnsweredAtOnce) {
  Config config = CheckQuorum();
  config.read_only = ReadOnlyOption::kLeaseBased;
  TestMember member = Follower(3, config);
  member.Lead();
  member.Receive(Accepted(2, 1, 2));
  member.node().ReadIndex(Bytes::Copy("r"));
  EXPECT_THAT(member.Run(), IsEmpty());
  EXPECT_THAT(member.reads(), SizeIs(1));
}

// ---- thesis 9.6: pre-vote ----

Config PreVote() {
  Config config;
  config.pre_vote = true;
  return config;
}

TEST(RaftPaperTest, Thesis96APreCandidateChangesNeitherItsTermNorOthers) {
  TestMember member = Follower(3, PreVote());
  const auto sent = OfType(member.TimeOut(), Type::kPreVote);
  ASSERT_THAT(sent, SizeIs(2));
  EXPECT_EQ(sent[0].term, Term(1)) << "the term it would campaign in";
  EXPECT_EQ(member.node().term(), Term(0));
  TestMember other = Follower(3, PreVote());
  Message request = VoteRequest(2, 7, 1, 1);
  request.type = Type::kPreVote;
  const auto answer = other.Receive(request);
  EXPECT_FALSE(answer[0].reject);
  EXPECT_EQ(answer[0].term, Term(7));
  EXPECT_EQ(other.node().term(), Term(0));
}

TEST(RaftPaperTest, Thesis96CampaignsOnlyOnceAMajorityWouldVoteForIt) {
  TestMember member = Follower(3, PreVote());
  member.TimeOut();
  const auto sent = OfType(member.Receive(From(2, Type::kPreVoteResp, 1)), Type::kVote);
  EXPECT_THAT(sent, SizeIs(2));
  EXPECT_EQ(member.node().term(), Term(1));
}

TEST(RaftPaperTest, Thesis96PreVotesAreRefusedToAShortLog) {
  TestMember member = Follower(3, PreVote());
  member.RestartWithLog({2, 2}, {.term = Term(2)});
  Message request = VoteRequest(2, 3, 2, 2);
  request.type = Type::kPreVote;
  EXPECT_TRUE(member.Receive(request)[0].reject);
}

}  // namespace
}  // namespace kvorum::raft
