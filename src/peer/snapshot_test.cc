#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/synchronization/notification.h"
#include "bbolt/bbolt.h"
#include "http/client.h"
#include "peer/identity.h"
#include "peer/snapshot_file.h"
#include "peer/stream_codec.h"
#include "peer/testing/transport_node.h"

namespace kvorum::peer {
namespace {

using raft::Index;
using raft::Message;
using raft::MessageType;
using raft::NodeId;
using raft::Term;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::StartsWith;

Message Snap(uint64_t from, uint64_t to, uint64_t index = 7) {
  Message message{.type = MessageType::kSnap, .to = NodeId(to), .from = NodeId(from), .term = Term(2)};
  message.snapshot.emplace();
  message.snapshot->data = Bytes::Copy("{}");
  message.snapshot->metadata.index = Index(index);
  message.snapshot->metadata.term = Term(2);
  message.snapshot->metadata.conf_state.voters = {NodeId(1), NodeId(2)};
  return message;
}

class SnapshotTest : public ::testing::Test {
 protected:
  void StartBoth() {
    one_.Meet(two_);
    one_.Start();
    two_.Start();
    ASSERT_TRUE(one_.AwaitStreams() && two_.AwaitStreams());
  }
  void Fill(size_t records, size_t value_bytes) {
    for (size_t i = 0; i < records; ++i) {
      one_.backend->Put(backend::Bucket::kKey, fmt::format("{:017}", i),
                        Bytes::Copy(std::string(value_bytes, static_cast<char>('a' + i % 26))));
    }
  }
  void SendSnapshot() {
    one_.transport->SendSnapshot({.message = Snap(1, 2), .database = one_.backend->NewReadView()});
  }
  std::vector<std::string> Files() { return PosixEnv().ListDirectory(two_.directory.path()).value(); }

  static bool AwaitMetric(TestNode& node, std::string_view line) {
    return TestNode::AwaitTrue([&] { return node.metrics.Text().find(line) != std::string::npos; });
  }

  /// Posts these bytes to node two as a snapshot of node one.
  std::string Post(std::string body, const http::Headers& more = {}) {
    http::Headers headers = Identity(MemberId(1), kTestCluster, {one_.url()}).request_headers();
    headers.insert(headers.end(), more.begin(), more.end());
    absl::StatusOr<http::ClientResponse> result;
    absl::Notification done;
    client_.Call({.method = "POST", .url = two_.url() + "/raft/snapshot", .headers = headers, .body = body},
                 SystemClock().Now() + std::chrono::seconds(20), [&](auto got) {
                   result = std::move(got);
                   done.Notify();
                 });
    done.WaitForNotification();
    return result.ok() ? fmt::format("{} {}", result->status, result->body)
                       : std::string(result.status().message());
  }

  TestNode one_{1};
  TestNode two_{2};
  http::Client client_{&one_.loop, {}};
};

TEST_F(SnapshotTest, ArrivesAsAFileThatHoldsTheDatabase) {
  StartBoth();
  Fill(50000, 1000);
  SendSnapshot();
  ASSERT_TRUE(two_.receiver.AwaitSnapshots(1));
  EXPECT_EQ(two_.receiver.snapshots()[0], Snap(1, 2));
  EXPECT_THAT(one_.receiver.AwaitReports(1), ElementsAre(Pair(NodeId(2), true)));
  EXPECT_THAT(Files(), ElementsAre("0000000000000007.snap.db"));
  auto file = bbolt::OpenFile(two_.directory.path() + "/0000000000000007.snap.db", &NullLogger());
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ((*file)->Get(backend::Bucket::kKey, fmt::format("{:017}", 49999)).value()->size(), 1000u);
  EXPECT_EQ(bbolt::PositionOf(**file)->index, 7u);
  EXPECT_THAT(one_.metrics.Text(), HasSubstr("etcd_network_snapshot_send_success{To=\"2\"} 1"));
  EXPECT_THAT(two_.metrics.Text(), HasSubstr("etcd_network_snapshot_receive_success{From=\"1\"} 1"));
  EXPECT_TRUE(AwaitMetric(two_, "etcd_network_snapshot_receive_inflights_total{From=\"1\"} 0"));
}

TEST_F(SnapshotTest, MessagesPassASnapshot) {
  StartBoth();
  Fill(50000, 1000);
  SendSnapshot();
  one_.Send({.type = MessageType::kHeartbeat, .to = NodeId(2), .from = NodeId(1)});
  ASSERT_TRUE(two_.receiver.AwaitMessages(1));
  EXPECT_THAT(two_.receiver.snapshots(), IsEmpty());
  ASSERT_TRUE(two_.receiver.AwaitSnapshots(1));
}

TEST_F(SnapshotTest, IsSentOneAtATime) {
  StartBoth();
  Fill(20000, 1000);
  SendSnapshot();
  SendSnapshot();
  EXPECT_THAT(one_.receiver.AwaitReports(2), ElementsAre(Pair(NodeId(2), false), Pair(NodeId(2), true)));
}

TEST_F(SnapshotTest, IsReportedWhereThereIsNoPeer) {
  one_.Start();
  SendSnapshot();
  EXPECT_THAT(one_.receiver.AwaitReports(1), ElementsAre(Pair(NodeId(2), false)));
}

TEST_F(SnapshotTest, IsReportedWhenThePeerCannotBeReached) {
  StartBoth();
  two_.StopListening();
  Fill(10, 10);
  SendSnapshot();
  EXPECT_THAT(one_.receiver.AwaitReports(1), ElementsAre(Pair(NodeId(2), false)));
  EXPECT_TRUE(one_.receiver.AwaitUnreachable());
  EXPECT_THAT(one_.metrics.Text(), HasSubstr("etcd_network_snapshot_send_failures{To=\"2\"} 1"));
}

TEST_F(SnapshotTest, LeavesNothingBehindWhenTheSenderBreaksOff) {
  StartBoth();
  Fill(100000, 1000);
  SendSnapshot();
  ASSERT_TRUE(TestNode::AwaitTrue([&] { return !Files().empty(); }));
  one_.transport->RemovePeer(NodeId(2));
  EXPECT_THAT(one_.receiver.AwaitReports(1), ElementsAre(Pair(NodeId(2), false)));
  EXPECT_TRUE(TestNode::AwaitTrue([&] { return Files().empty(); }));
  EXPECT_THAT(two_.receiver.snapshots(), IsEmpty());
  EXPECT_TRUE(AwaitMetric(two_, "etcd_network_snapshot_receive_failures{From=\"1\"} 1"));
}

TEST_F(SnapshotTest, LeavesNothingBehindWhenTheReceiverStops) {
  StartBoth();
  Fill(100000, 1000);
  SendSnapshot();
  ASSERT_TRUE(TestNode::AwaitTrue([&] { return !Files().empty(); }));
  two_.transport->Stop();
  two_.StopListening();
  EXPECT_THAT(one_.receiver.AwaitReports(1), ElementsAre(Pair(NodeId(2), false)));
  EXPECT_TRUE(TestNode::AwaitTrue([&] { return Files().empty(); }));
}

TEST_F(SnapshotTest, IsRefusedWhereItIsNone) {
  two_.Start();
  EXPECT_EQ(Post("short"), "400 failed to decode raft message (unexpected EOF)\n");
  EXPECT_EQ(Post(std::string("\xff\0\0\0\0\0\0\0", 8)),
            "400 failed to decode raft message (rafthttp: error limit exceeded)\n");
  EXPECT_EQ(Post(EncodeFrame({.type = MessageType::kVote, .to = NodeId(2), .from = NodeId(1)})),
            "400 wrong raft message type\n");
  EXPECT_THAT(Post(EncodeFrame(Snap(1, 2))), StartsWith("500 failed to save KV snapshot ("));
  EXPECT_EQ(Post(EncodeFrame(Snap(1, 9)) + "db"),
            "403 {\"message\":\"cannot process message to mismatch member\"}");
  EXPECT_EQ(Post(EncodeFrame(Snap(1, 2)) + "db"), "204 ");
  EXPECT_EQ(two_.receiver.snapshots().size(), 1u);
}

TEST_F(SnapshotTest, OfARemovedMemberIsRefused) {
  two_.cluster.AddMember({.id = MemberId(1)}, cluster::Cluster::Persist::kNo);
  two_.cluster.RemoveMember(MemberId(1), cluster::Cluster::Persist::kNo);
  two_.Start();
  EXPECT_EQ(Post(EncodeFrame(Snap(1, 2)) + "db"),
            "403 {\"message\":\"cannot process message from removed member\"}");
}

class SnapshotFileTest : public ::testing::Test {
 protected:
  std::vector<std::string> Files() { return PosixEnv().ListDirectory(directory_.path()).value(); }
  kvorum::testing::TempDirectory directory_;
};

TEST_F(SnapshotFileTest, HasItsNameWhenItIsWhole) {
  SnapshotFile file(&PosixEnv(), directory_.path(), Index(0x1a), 3);
  ASSERT_TRUE(file.Append("some").ok());
  EXPECT_THAT(Files(), ElementsAre("db.tmp000000000000001a-3"));
  ASSERT_TRUE(file.Append("thing").ok());
  ASSERT_TRUE(file.Finish().ok());
  EXPECT_THAT(Files(), ElementsAre("000000000000001a.snap.db"));
  EXPECT_EQ(PosixEnv().ReadFile(directory_.path() + "/" + Files()[0]).value(), "something");
}

TEST_F(SnapshotFileTest, GoesWhenItIsNot) {
  {
    SnapshotFile file(&PosixEnv(), directory_.path(), Index(1), 1);
    ASSERT_TRUE(file.Append("some").ok());
  }
  EXPECT_THAT(Files(), IsEmpty());
}

}  // namespace
}  // namespace kvorum::peer
