#include "raft/raw_node.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "raft/codec.h"
#include "raft/errors.h"
#include "raft/raft.h"
#include "raft/testing/test_member.h"

namespace kvorum::raft {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

std::string_view Text(const absl::Status& status) {
  return {status.message().data(), status.message().size()};
}

TEST(ConfigTest, RefusesWhatCannotWork) {
  MemoryStorage storage;
  Random random(1);
  const auto text = [&](auto change) {
    Config config{.id = NodeId(1), .storage = &storage, .random = &random};
    change(config);
    return std::string(config.Validate().message());
  };
  EXPECT_EQ(text([](Config&) {}), "");
  EXPECT_EQ(text([](Config& c) { c.id = kNoNode; }), "cannot use none as id");
  EXPECT_EQ(text([](Config& c) { c.id = kApplyThread; }), "cannot use local target as id");
  EXPECT_EQ(text([](Config& c) { c.heartbeat_ticks = 0; }), "heartbeat tick must be greater than 0");
  EXPECT_EQ(text([](Config& c) { c.election_ticks = 1; }),
            "election tick must be greater than heartbeat tick");
  EXPECT_EQ(text([](Config& c) { c.storage = nullptr; }), "storage cannot be nil");
  EXPECT_EQ(text([](Config& c) { c.max_inflight_messages = 0; }),
            "max inflight messages must be greater than 0");
  EXPECT_EQ(text([](Config& c) { c.max_inflight_bytes = 5; }),
            "max inflight bytes must be >= max message size");
  EXPECT_EQ(text([](Config& c) { c.read_only = ReadOnlyOption::kLeaseBased; }),
            "CheckQuorum must be enabled when ReadOnlyOption is ReadOnlyLeaseBased");
}

TEST(RawNodeTest, BootstrapsAsIfThePeersHadBeenAgreedOn) {
  MemoryStorage storage;
  Random random(1);
  auto node = *RawNode::Create({.id = NodeId(1), .storage = &storage, .random = &random});
  EXPECT_EQ(Text(node->Bootstrap({})), "must provide at least one peer to Bootstrap");
  const std::vector<RawNode::Peer> peers = {{NodeId(1), Bytes::Copy("one")}, {NodeId(2), Bytes()}};
  ASSERT_TRUE(node->Bootstrap(peers).ok());
  Ready ready = node->GetReady();
  EXPECT_EQ(ready.hard_state, (HardState{.term = Term(1), .commit = Index(2)}));
  ASSERT_THAT(ready.entries, SizeIs(2));
  EXPECT_THAT(ready.committed_entries, SizeIs(2));
  const ConfChange change = DecodeConfChange(ready.entries[0].data.view()).value();
  EXPECT_EQ(change, (ConfChange{.node_id = NodeId(1), .context = Bytes::Copy("one")}));
  node->ApplyConfChange(change);
  EXPECT_EQ(node->raft().membership().voters.All(), (IdSet{NodeId(1), NodeId(2)}));
  storage.Append(std::move(ready.entries));
  node->Advance();
  EXPECT_EQ(Text(node->Bootstrap(peers)), "can't bootstrap a nonempty Storage");
}

TEST(RawNodeTest, RefusesLocalMessagesAndAnswersOfStrangers) {
  TestMember member(1, TestMember::Voters(3));
  const auto step = [&](MessageType type, uint64_t from) {
    return ErrorCode(member.node().Step({.type = type, .from = NodeId(from), .term = Term(1)}));
  };
  EXPECT_EQ(step(MessageType::kHup, 2), Error::kStepLocalMessage);
  EXPECT_EQ(step(MessageType::kStorageAppendResp, 2), Error::kStepLocalMessage);
  EXPECT_EQ(step(MessageType::kAppResp, 9), Error::kStepPeerNotFound);
  EXPECT_EQ(step(MessageType::kAppResp, 2), Error::kNone);
  EXPECT_EQ(step(MessageType::kHeartbeat, 9), Error::kNone) << "the configuration here may be old";
}

TEST(RawNodeTest, RefusesRequestsThatNoMemberSends) {
  TestMember member(1, TestMember::Voters(1));
  member.Lead();
  Message empty{.type = MessageType::kProp, .from = NodeId(1)};
  EXPECT_EQ(member.node().Step(Message(empty)).code(), absl::StatusCode::kInvalidArgument);
  Message garbled = empty;
  garbled.entries.push_back({.type = EntryType::kConfChange, .data = Bytes::Copy("\xff")});
  EXPECT_EQ(member.node().Step(Message(garbled)).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(member.node().Step({.type = MessageType::kReadIndex, .from = NodeId(1)}).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(RawNodeTest, RefusesEntriesOutOfPlaceAndSnapshotsOfNoGroup) {
  TestMember member(1, TestMember::Voters(2));
  Message append{
      .type = MessageType::kApp, .from = NodeId(2), .term = Term(2), .log_term = Term(1), .index = Index(1)};
  append.entries.push_back({.term = Term(2), .index = Index(3)});
  EXPECT_EQ(member.node().Step(Message(append)).code(), absl::StatusCode::kInvalidArgument);
  const Snapshot of_nobody{
      .metadata = {.conf_state = {.learners = {NodeId(1)}}, .index = Index(9), .term = Term(2)}};
  const auto sent =
      member.Receive({.type = MessageType::kSnap, .from = NodeId(2), .term = Term(2), .snapshot = of_nobody});
  ASSERT_THAT(sent, SizeIs(1));
  EXPECT_EQ(sent[0].index, Index(1)) << "what it had before";
}

TEST(RawNodeTest, LimitsUncommittedPayloadButTakesOneProposalOfAnySize) {
  Config config;
  config.max_uncommitted_entries_size = 10;
  TestMember member(1, TestMember::Voters(3), config);
  member.Lead();
  EXPECT_TRUE(member.node().Propose(Bytes::Copy(std::string(100, 'x'))).ok());
  EXPECT_EQ(ErrorCode(member.node().Propose(Bytes::Copy("x"))), Error::kProposalDropped);
  EXPECT_TRUE(member.node().Propose(Bytes::Copy("")).ok()) << "empty ones always get in";
  member.Run();
  member.Receive({.type = MessageType::kAppResp, .from = NodeId(2), .term = Term(1), .index = Index(4)});
  EXPECT_TRUE(member.node().Propose(Bytes::Copy("x")).ok()) << "what is applied does not count any more";
}

TEST(RawNodeTest, HandsCommittedEntriesOutByThePage) {
  Config config;
  config.max_committed_size_per_ready = 40;
  TestMember member(1, TestMember::Voters(1), config);
  member.Lead();
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(member.node().Propose(Bytes::Copy(std::string(20, 'x'))).ok());
  size_t most = 0;
  size_t all = 0;
  while (member.node().HasReady()) {
    Ready ready = member.node().GetReady();
    member.storage().Append(std::move(ready.entries));
    most = std::max(most, ready.committed_entries.size());
    all += ready.committed_entries.size();
    member.node().Advance();
  }
  EXPECT_EQ(most, 1u);
  EXPECT_EQ(all, 5u);
}

TEST(RawNodeTest, WindowCountsBytesToo) {
  Config config;
  config.max_size_per_message = 50;
  config.max_inflight_bytes = 60;
  TestMember member(1, TestMember::Voters(2), config);
  member.Lead();
  member.Receive({.type = MessageType::kAppResp, .from = NodeId(2), .term = Term(1), .index = Index(2)});
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(member.node().Propose(Bytes::Copy(std::string(30, 'x'))).ok());
  EXPECT_THAT(OfType(member.Run(), MessageType::kApp), SizeIs(2)) << "60 bytes are under way";
}

TEST(RawNodeTest, DoesNotForwardProposalsWhereToldNotTo) {
  Config config;
  config.disable_proposal_forwarding = true;
  TestMember member(1, TestMember::Voters(2), config);
  member.Receive({.type = MessageType::kHeartbeat, .from = NodeId(2), .term = Term(1)});
  EXPECT_EQ(ErrorCode(member.node().Propose(Bytes::Copy("x"))), Error::kProposalDropped);
}

TEST(RawNodeTest, ASnapshotThatFailedIsSentAgainFromWhereTheFollowerWas) {
  TestMember member(1, TestMember::Voters(2));
  member.RestartWithLog({2, 2, 2}, {.term = Term(2), .commit = Index(4)});
  member.Lead();
  ASSERT_TRUE(member.storage().CreateSnapshot(Index(4), nullptr, Bytes::Copy("s")).ok());
  ASSERT_TRUE(member.storage().Compact(Index(4)).ok());
  const Message rejected{.type = MessageType::kAppResp,
                         .from = NodeId(2),
                         .term = Term(3),
                         .index = Index(4),
                         .reject = true,
                         .reject_hint = Index(1)};
  ASSERT_THAT(OfType(member.Receive(rejected), MessageType::kSnap), SizeIs(1));
  member.node().ReportSnapshot(NodeId(2), RawNode::SnapshotResult::kFailed);
  EXPECT_EQ(member.node().GetStatus().progress.at(NodeId(2)).next, Index(1));
  EXPECT_THAT(member.Run(), IsEmpty()) << "not at once";
  const Message alive{.type = MessageType::kHeartbeatResp, .from = NodeId(2), .term = Term(3)};
  EXPECT_THAT(OfType(member.Receive(alive), MessageType::kSnap), SizeIs(1));
}

TEST(RawNodeTest, NothingIsAppliedAndNobodyCampaignsBeforeASnapshotIsDurable) {
  TestMember member(1, TestMember::Voters(3));
  Snapshot snapshot{.data = Bytes::Copy("s"),
                    .metadata = {.conf_state = TestMember::Voters(2), .index = Index(9), .term = Term(2)}};
  ASSERT_TRUE(
      member.node()
          .Step({.type = MessageType::kSnap, .from = NodeId(2), .term = Term(2), .snapshot = snapshot})
          .ok());
  // A change that was handed out before is in the snapshot already.
  const ConfChange old{.type = ConfChangeType::kAddNode, .node_id = NodeId(7)};
  EXPECT_EQ(member.node().ApplyConfChange(old), snapshot.metadata.conf_state);
  ASSERT_TRUE(member.node().Campaign().ok());
  EXPECT_EQ(member.raft().role(), Role::kFollower);
  const auto sent = member.Run();
  ASSERT_THAT(OfType(sent, MessageType::kAppResp), SizeIs(1));
  EXPECT_EQ(sent.back().index, Index(9));
  EXPECT_EQ(member.raft().log().applied(), Index(9));
  EXPECT_EQ(member.storage().FirstIndex(), Index(10));
}

TEST(RawNodeTest, OneReadyAtATime) {
  TestMember member(1, TestMember::Voters(1));
  ASSERT_TRUE(member.node().Campaign().ok());
  member.node().GetReady();
  EXPECT_DEATH(member.node().GetReady(), "two accepted Ready structs without call to Advance");
}

}  // namespace
}  // namespace kvorum::raft
