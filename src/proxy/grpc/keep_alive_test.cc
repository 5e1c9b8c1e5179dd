#include "proxy/grpc/keep_alive.h"

#include "gtest/gtest.h"
#include "proxy/grpc/testing/fake_client.h"
#include "proxy/grpc/testing/fake_cluster.h"

namespace kvorum::proxy_grpc {
namespace {

using etcdserverpb::LeaseKeepAliveRequest;
using etcdserverpb::LeaseKeepAliveResponse;
using testing::FakeCluster;

class ProxyKeepAlive : public ::testing::Test {
 protected:
  using Client = testing::FakeClient<LeaseKeepAliveResponse>;

  static void Ask(Client& client, int64_t lease) {
    LeaseKeepAliveRequest request;
    request.set_id(lease);
    client.Ask(request);
  }
  /// The answers that came, as "id:ttl".
  static std::string Answers(Client& client) {
    std::string text;
    for (; !client.received.empty(); client.received.pop_front()) {
      if (!text.empty()) text += ' ';
      text +=
          std::to_string(client.received.front().id()) + ":" + std::to_string(client.received.front().ttl());
    }
    return text;
  }

  ProxyKeepAlive() { cluster_.leases = {{1, 10}, {2, 20}, {3, 30}}; }

  FakeCluster cluster_;
  KeepAliveCoalescer coalescer_{&cluster_, &NullLogger()};
};

TEST_F(ProxyKeepAlive, AsksOnceForAllWhoWait) {
  Client a(&coalescer_);
  Client b(&coalescer_);
  Ask(a, 1);
  for (int i = 0; i < 3; ++i) Ask(b, 1);
  Ask(a, 1);
  cluster_.Run();
  EXPECT_EQ(cluster_.keep_alives, (std::vector<int64_t>{1, 1}))
      << "one under way, one for who came meanwhile";
  EXPECT_EQ(Answers(a), "1:10 1:10");
  EXPECT_EQ(Answers(b), "1:10 1:10 1:10");
  EXPECT_EQ(cluster_.streams(), 1);
}

TEST_F(ProxyKeepAlive, SaysThatALeaseIsGone) {
  Client a(&coalescer_);
  Ask(a, 77);
  cluster_.Run();
  EXPECT_EQ(Answers(a), "77:0");
}

TEST_F(ProxyKeepAlive, AsksForNothingThatNobodyWaitsFor) {
  Client a(&coalescer_);
  Client b(&coalescer_);
  Ask(a, 1);
  Ask(b, 1);
  b.Close();
  cluster_.Run();
  EXPECT_EQ(cluster_.keep_alives, (std::vector<int64_t>{1}));
  EXPECT_EQ(Answers(a), "1:10");
}

TEST_F(ProxyKeepAlive, AsksAgainOnTheNextStream) {
  Client a(&coalescer_);
  cluster_.keep_alives_answered = false;
  Ask(a, 1);
  Ask(a, 2);
  while (cluster_.Step(0)) {
  }
  cluster_.keep_alives_answered = true;
  cluster_.BreakStreams(absl::UnavailableError("gone"));
  cluster_.Run();
  EXPECT_EQ(Answers(a), "1:10 2:20");
  EXPECT_FALSE(a.ended.has_value());
}

TEST_F(ProxyKeepAlive, TurnsToAnotherMemberWhenNoAnswerComes) {
  Client a(&coalescer_);
  cluster_.keep_alives_answered = false;
  Ask(a, 1);
  while (cluster_.Step(0)) {
  }
  cluster_.RunTimers();
  EXPECT_EQ(cluster_.tried_another, 1);
  cluster_.keep_alives_answered = true;
  cluster_.Run();
  EXPECT_EQ(Answers(a), "1:10");
}

TEST_F(ProxyKeepAlive, EndsOnlyTheStreamsWhoseLeaseIsRefused) {
  const absl::Status denied = absl::PermissionDeniedError("etcdserver: permission denied");
  cluster_.refused[2] = denied;
  Client a(&coalescer_);
  Client b(&coalescer_);
  Ask(a, 1);
  Ask(b, 2);
  Ask(a, 3);
  cluster_.Run();
  EXPECT_EQ(Answers(a), "1:10 3:30");
  EXPECT_FALSE(a.ended.has_value());
  EXPECT_EQ(b.ended, denied);
}

TEST_F(ProxyKeepAlive, AnswersWhatWasAskedBeforeItEnds) {
  Client a(&coalescer_);
  Ask(a, 1);
  a.HalfClose();
  EXPECT_FALSE(a.ended.has_value());
  cluster_.Run();
  EXPECT_EQ(Answers(a), "1:10");
  EXPECT_EQ(a.ended, absl::OkStatus());
}

TEST_F(ProxyKeepAlive, SharesNothingBetweenTokens) {
  Client alice(&coalescer_, {{"token", "alice"}});
  Client bob(&coalescer_, {{"token", "bob"}});
  Ask(alice, 1);
  Ask(bob, 1);
  cluster_.Run();
  EXPECT_EQ(cluster_.streams(), 2);
  EXPECT_EQ(Answers(bob), "1:10");
}

}  // namespace
}  // namespace kvorum::proxy_grpc
