#include "peer/transport.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "absl/synchronization/notification.h"
#include "http/client.h"
#include "peer/identity.h"
#include "peer/prober.h"
#include "peer/testing/transport_node.h"
#include "raft/codec.h"

namespace kvorum::peer {
namespace {

using raft::Index;
using raft::Message;
using raft::MessageType;
using raft::NodeId;
using raft::Term;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

Message Vote(uint64_t from, uint64_t to, uint64_t term = 1) {
  return {.type = MessageType::kVote, .to = NodeId(to), .from = NodeId(from), .term = Term(term)};
}

Message App(uint64_t from, uint64_t to, uint64_t index, size_t bytes = 1) {
  return {
      .type = MessageType::kApp,
      .to = NodeId(to),
      .from = NodeId(from),
      .term = Term(1),
      .log_term = Term(1),
      .index = Index(index),
      .entries = {{.term = Term(1), .index = Index(index + 1), .data = Bytes::Copy(std::string(bytes, 'e'))}},
      .commit = Index(index)};
}

Message AppResp(uint64_t from, uint64_t to, uint64_t index) {
  return {.type = MessageType::kAppResp, .to = NodeId(to), .from = NodeId(from), .index = Index(index)};
}

std::vector<uint64_t> Indexes(const std::vector<Message>& messages) {
  std::vector<uint64_t> indexes;
  for (const Message& message : messages) indexes.push_back(message.index.value());
  return indexes;
}

class TransportTest : public ::testing::Test {
 protected:
  void StartBoth() {
    one_.Meet(two_);
    one_.Start();
    two_.Start();
    ASSERT_TRUE(one_.AwaitStreams() && two_.AwaitStreams());
  }

  /// A request to node one that is right, unless `change` makes it wrong.
  http::ClientResponse Ask(std::string method, std::string path, std::string body = "",
                           const http::Headers& change = {}) {
    http::Headers headers = Identity(MemberId(2), kTestCluster, {two_.url()}).request_headers();
    headers.emplace_back("x-raft-to", "1");
    for (const auto& [name, value] : change) {
      for (auto& header : headers) {
        if (header.first == name) header.second = value;
      }
    }
    absl::StatusOr<http::ClientResponse> result;
    absl::Notification done;
    client_.Call({.method = method, .url = one_.url() + path, .headers = headers, .body = body},
                 SystemClock().Now() + std::chrono::seconds(20), [&](auto got) {
                   result = std::move(got);
                   done.Notify();
                 });
    done.WaitForNotification();
    return result.value_or(http::ClientResponse{.body = std::string(result.status().message())});
  }
  std::string Answer(const http::ClientResponse& response) {
    return fmt::format("{} {}", response.status, response.body);
  }
  http::ClientResponse Post(const Message& message) {
    std::string body;
    raft::AppendEncoded(body, message, raft::WireVersion::kV3_6);
    return Ask("POST", "/raft", body);
  }

  TestNode one_{1};
  TestNode two_{2};
  http::Client client_{&one_.loop, {}};
};

TEST_F(TransportTest, CarriesEveryKindOfMessage) {
  StartBoth();
  const Message heartbeat{.type = MessageType::kHeartbeat,
                          .to = NodeId(2),
                          .from = NodeId(1),
                          .term = Term(4),
                          .commit = Index(3),
                          .context = Bytes::Copy("ctx")};
  for (const Message& message : {Vote(1, 2), heartbeat, AppResp(1, 2, 9), App(1, 2, 5)}) one_.Send(message);
  ASSERT_TRUE(two_.receiver.AwaitMessages(4));
  EXPECT_THAT(two_.receiver.messages(),
              ::testing::UnorderedElementsAre(Vote(1, 2), heartbeat, AppResp(1, 2, 9), App(1, 2, 5)));
  two_.Send(Vote(2, 1));
  ASSERT_TRUE(one_.receiver.AwaitMessages(1));
}

TEST_F(TransportTest, CountsAppends) {
  StartBoth();
  for (uint64_t i = 0; i < 5; ++i) one_.Send(App(1, 2, i));
  one_.Send(Vote(1, 2));
  ASSERT_TRUE(two_.receiver.AwaitMessages(6));
  EXPECT_EQ(two_.transport->stats().received().count, 5u);
  EXPECT_EQ(one_.transport->stats().received().count, 0u);
  EXPECT_EQ(one_.transport->stats().sent().count, 5u);
  EXPECT_TRUE(
      TestNode::AwaitTrue([&] { return one_.transport->stats().followers().at(MemberId(2)).success == 5; }));
  EXPECT_EQ(two_.transport->stats().followers().at(MemberId(1)).success, 0u);
  one_.transport->RemovePeer(NodeId(2));
  EXPECT_TRUE(one_.transport->stats().followers().empty());
}

TEST_F(TransportTest, KeepsTheOrderOfAppends) {
  StartBoth();
  std::vector<uint64_t> expected;
  for (uint64_t i = 0; i < 3000; ++i) {
    one_.Send(App(1, 2, i, i % 100 == 0 ? 100000 : 10));
    expected.push_back(i);
  }
  ASSERT_TRUE(two_.receiver.AwaitMessages(3000));
  EXPECT_EQ(Indexes(two_.receiver.messages()), expected);
}

TEST_F(TransportTest, SendsTheLastAcknowledgementOfABatch) {
  StartBoth();
  one_.transport->Send({AppResp(1, 2, 1), AppResp(1, 2, 2), Vote(1, 2, 7), AppResp(1, 2, 3)});
  ASSERT_TRUE(two_.receiver.AwaitMessages(2));
  EXPECT_THAT(Indexes(two_.receiver.messages()), ElementsAre(0, 3));
}

TEST_F(TransportTest, PostsWhileThereIsNoStream) {
  two_.Start();
  one_.transport->AddPeer(NodeId(2), {two_.url()});
  one_.Start();  // two does not know one, and dials nothing
  one_.Send(Vote(1, 2));
  one_.Send(App(1, 2, 5));
  ASSERT_TRUE(two_.receiver.AwaitMessages(2));
  EXPECT_TRUE(one_.AwaitActive(2));
}

TEST_F(TransportTest, AnswersAMemberThatIsNoPeer) {
  two_.Start();
  one_.transport->AddPeer(NodeId(2), {two_.url()});
  one_.Start();
  one_.Send(Vote(1, 2));
  ASSERT_TRUE(two_.receiver.AwaitMessages(1));
  two_.Send(AppResp(2, 1, 4));
  ASSERT_TRUE(one_.receiver.AwaitMessages(1));
  EXPECT_EQ(one_.receiver.messages()[0], AppResp(2, 1, 4));
}

TEST_F(TransportTest, ConnectsAgainAfterARestart) {
  StartBoth();
  two_.StopListening();
  ASSERT_TRUE(TestNode::AwaitTrue([&] { return !one_.transport->ActiveSince(NodeId(2)).has_value(); }));
  ASSERT_TRUE(TestNode::AwaitTrue(
      [&] { return one_.logger.count("peer became inactive (message send to peer failed)") >= 1; }));
  two_.ListenAgain();
  ASSERT_TRUE(one_.AwaitActive(2));
  size_t sent = 0;
  while (two_.receiver.messages().empty() && sent < 100000) {
    one_.Send(Vote(1, 2, ++sent));
    std::this_thread::yield();
  }
  EXPECT_FALSE(two_.receiver.messages().empty());
}

TEST_F(TransportTest, TriesTheNextUrl) {
  std::string dead;
  {
    TestNode gone(9);
    dead = gone.url();
  }
  two_.Start();
  two_.transport->AddPeer(NodeId(1), {one_.url()});
  one_.transport->AddPeer(NodeId(2), {dead, two_.url()});
  one_.Start();
  EXPECT_TRUE(one_.AwaitActive(2));
}

TEST_F(TransportTest, ReportsWhatCannotBeSent) {
  one_.transport->AddPeer(NodeId(2), {two_.url()});
  two_.StopListening();
  one_.Start();
  one_.Send(Vote(1, 2));
  EXPECT_TRUE(one_.receiver.AwaitUnreachable());
}

TEST_F(TransportTest, SaysOnceWhyAPeerWillNotTalk) {
  TestNode other(3, ClusterId(0xc2));
  other.Start();
  one_.transport->AddPeer(NodeId(3), {other.url()});
  one_.Start();
  const std::string message = "request sent was ignored by remote peer due to cluster ID mismatch";
  EXPECT_TRUE(TestNode::AwaitTrue([&] { return one_.logger.count(message) == 2; }));  // one for each stream
  EXPECT_EQ(other.logger.count("request cluster ID mismatch"), 1);
}

/// Dials a stream of node one as member two, and reads nothing.
class DeafPeer {
 public:
  explicit DeafPeer(const TestNode& node, std::string_view stream) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons(static_cast<uint16_t>(std::stoi(node.url().substr(node.url().rfind(':') + 1))));
    fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(::connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
    std::string request =
        fmt::format("GET /raft/stream/{}/2 HTTP/1.1\r\nhost: a\r\nx-raft-to: 1\r\n", stream);
    const Identity identity(MemberId(2), kTestCluster, {});
    for (const auto& [name, value] : identity.request_headers()) {
      request += fmt::format("{}: {}\r\n", name, value);
    }
    request += "\r\n";
    EXPECT_EQ(::send(fd_, request.data(), request.size(), 0), static_cast<ssize_t>(request.size()));
  }
  ~DeafPeer() { ::close(fd_); }

 private:
  int fd_;
};

TEST_F(TransportTest, CutsOffAPeerThatReadsNothing) {
  one_.transport->AddPeer(NodeId(2), {two_.url()});
  one_.Start();
  DeafPeer deaf(one_, "msgapp");
  ASSERT_TRUE(TestNode::AwaitTrue(
      [&] { return one_.logger.count("established TCP streaming connection with remote peer") == 1; }));
  // More than may wait: the rest is reported.
  const Message large = App(1, 2, 5, 1 << 20);
  for (int i = 0; i < 200; ++i) one_.Send(large);
  EXPECT_TRUE(one_.receiver.AwaitUnreachable());
  EXPECT_TRUE(TestNode::AwaitTrue(
      [&] { return one_.logger.count("lost TCP streaming connection with remote peer") == 1; }));
}

TEST_F(TransportTest, TellsAMemberThatItWasRemoved) {
  two_.cluster.AddMember({.id = MemberId(1)}, cluster::Cluster::Persist::kNo);
  two_.cluster.RemoveMember(MemberId(1), cluster::Cluster::Persist::kNo);
  two_.Start();
  one_.transport->AddPeer(NodeId(2), {two_.url()});
  one_.Start();
  EXPECT_TRUE(one_.receiver.AwaitRemoved());
}

TEST_F(TransportTest, SendsNothingToARemovedMember) {
  StartBoth();
  one_.cluster.AddMember({.id = MemberId(2)}, cluster::Cluster::Persist::kNo);
  one_.cluster.RemoveMember(MemberId(2), cluster::Cluster::Persist::kNo);
  one_.transport->RemovePeer(NodeId(2));
  EXPECT_FALSE(one_.transport->ActiveSince(NodeId(2)).has_value());
  one_.Send(Vote(1, 2));
  EXPECT_TRUE(TestNode::AwaitTrue(
      [&] { return one_.logger.count("ignored message send request; unknown remote peer target") == 1; }));
  EXPECT_TRUE(two_.receiver.AwaitRemoved());
  EXPECT_TRUE(two_.receiver.messages().empty());
}

TEST_F(TransportTest, SaysNothingAfterStop) {
  StartBoth();
  one_.transport->Stop();
  two_.Send(Vote(2, 1));
  EXPECT_TRUE(two_.receiver.AwaitUnreachable());
  EXPECT_TRUE(one_.receiver.messages().empty());
  EXPECT_EQ(Ask("GET", "/raft/probing").status, 503);
}

TEST_F(TransportTest, RefusesOtherClustersAndVersions) {
  one_.Start();
  for (const char* path : {"/raft/stream/message/2", "/raft"}) {
    const std::string method = path == std::string("/raft") ? "POST" : "GET";
    const auto mismatch = Ask(method, path, "", {{"x-etcd-cluster-id", "bad"}});
    EXPECT_EQ(Answer(mismatch), "412 cluster ID mismatch\n");
    EXPECT_EQ(*mismatch.Find("x-etcd-cluster-id"), "c1");
    EXPECT_EQ(Answer(Ask(method, path, "", {{"x-server-version", "2.3.0"}})), "412 incompatible version\n");
    EXPECT_EQ(Answer(Ask(method, path, "", {{"x-min-cluster-version", "4.0.0"}})),
              "412 incompatible version\n");
    EXPECT_EQ(Ask(method, path, "", {{"x-server-version", "new"}}).status, 0);
  }
}

TEST_F(TransportTest, RefusesStreamsInTheOrderOfTheChecks) {
  one_.Start();
  const http::ClientResponse wrong_method = Ask("POST", "/raft/stream/message/2");
  EXPECT_EQ(Answer(wrong_method), "405 Method Not Allowed\n");
  EXPECT_EQ(*wrong_method.Find("allow"), "GET");
  EXPECT_EQ(Answer(Ask("GET", "/raft/stream/other/2")), "404 invalid path\n");
  EXPECT_EQ(Answer(Ask("GET", "/raft/stream/msgapp/zz")), "404 invalid from\n");
  const http::ClientResponse unknown = Ask("GET", "/raft/stream/msgapp/2");
  EXPECT_EQ(Answer(unknown), "404 error sender not found\n");
  EXPECT_EQ(*unknown.Find("x-server-version"), "3.7.1");
  one_.transport->AddPeer(NodeId(2), {two_.url()});
  EXPECT_EQ(Answer(Ask("GET", "/raft/stream/msgapp/2", "", {{"x-raft-to", "7"}})), "412 to field mismatch\n");
  one_.cluster.AddMember({.id = MemberId(2)}, cluster::Cluster::Persist::kNo);
  one_.cluster.RemoveMember(MemberId(2), cluster::Cluster::Persist::kNo);
  EXPECT_EQ(Answer(Ask("GET", "/raft/stream/msgapp/2")), "410 removed member\n");
}

TEST_F(TransportTest, AnswersPosts) {
  one_.Start();
  EXPECT_EQ(Answer(Post(Vote(2, 1))), "204 ");
  EXPECT_EQ(Answer(Ask("POST", "/raft", "\xff")), "400 error unmarshalling raft message\n");
  EXPECT_EQ(Answer(Post(Vote(2, 7))), "403 {\"message\":\"cannot process message to mismatch member\"}");
  EXPECT_EQ(Answer(Post({.type = MessageType::kHup, .to = NodeId(1), .from = NodeId(2)})),
            "500 error processing raft message\n");
  EXPECT_EQ(Answer(Post({.type = MessageType::kSnap, .to = NodeId(1), .from = NodeId(2)})),
            "500 error processing raft message\n");
  one_.cluster.AddMember({.id = MemberId(2)}, cluster::Cluster::Persist::kNo);
  one_.cluster.RemoveMember(MemberId(2), cluster::Cluster::Persist::kNo);
  EXPECT_EQ(Answer(Post(Vote(2, 1))), "403 {\"message\":\"cannot process message from removed member\"}");
  EXPECT_EQ(one_.receiver.messages().size(), 1u);
}

TEST_F(TransportTest, AnswersProbes) {
  one_.Start();
  const http::ClientResponse response = Ask("GET", "/raft/probing");
  EXPECT_EQ(response.status, 200);
  EXPECT_THAT(response.body, ::testing::MatchesRegex("\\{\"OK\":true,\"Now\":\"[-0-9T:.]+Z\"\\}\n"));
  EXPECT_EQ(Answer(Ask("GET", "/raft/other")), "404 404 page not found\n");
}

TEST_F(TransportTest, CountsWhatGoesBetweenMembers) {
  StartBoth();
  one_.Send(App(1, 2, 5, 1000));
  ASSERT_TRUE(two_.receiver.AwaitMessages(1));
  EXPECT_THAT(one_.metrics.Text(), HasSubstr("etcd_network_active_peers{Local=\"1\",Remote=\"2\"} 1"));
  EXPECT_THAT(one_.metrics.Text(), HasSubstr("etcd_network_known_peers{Local=\"1\",Remote=\"1\"} 1"));
  EXPECT_THAT(one_.metrics.Text(), HasSubstr("etcd_network_peer_sent_bytes_total{To=\"2\"} 1"));
  EXPECT_THAT(two_.metrics.Text(), HasSubstr("etcd_network_peer_received_bytes_total{From=\"1\"} 1"));
}

TEST(ProbeBodyTest, IsReadBackWithAnyZone) {
  const WallTime now(std::chrono::nanoseconds(1790000000123456789));
  EXPECT_EQ(ParseProbeBody(ProbeBody(now)), now);
  EXPECT_EQ(ParseProbeBody(R"({"OK":true,"Now":"2026-09-21T15:33:20.123456789+02:00"})"),
            ParseProbeBody(R"({"OK":true,"Now":"2026-09-21T13:33:20.123456789Z"})"));
  EXPECT_FALSE(ParseProbeBody("{}").has_value());
  EXPECT_FALSE(ParseProbeBody("\"Now\":\"yesterday").has_value());
}

}  // namespace
}  // namespace kvorum::peer
