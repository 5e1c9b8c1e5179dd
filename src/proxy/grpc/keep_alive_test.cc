#include "proxy/grpc/keep_alive.h"

#include <set>

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

  static std::multiset<int64_t> IdsOf(const Client& client) {
    std::multiset<int64_t> ids;
    for (const LeaseKeepAliveResponse& answer : client.received) ids.insert(answer.id());
    return ids;
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

TEST_F(ProxyKeepAlive, AnswersEachOfManyClientsAsOftenAsItAsked) {
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 100; ++i) clients.push_back(std::make_unique<Client>(&coalescer_));
  for (size_t i = 0; i < clients.size(); ++i) {
    for (size_t n = 0; n <= i % 3; ++n) Ask(*clients[i], 1);
  }
  Ask(*clients[50], 2);
  cluster_.Run();
  EXPECT_EQ(cluster_.keep_alives, (std::vector<int64_t>{1, 2, 1}));
  EXPECT_EQ(cluster_.streams(), 1);
  for (size_t i = 0; i < clients.size(); ++i) {
    const std::multiset<int64_t> ids = IdsOf(*clients[i]);
    EXPECT_EQ(ids.count(1), i % 3 + 1) << i;
    EXPECT_EQ(ids.count(2), i == 50 ? 1 : 0) << i;
  }
}

TEST_F(ProxyKeepAlive, AnswersTheOthersWhenOneIsGoneWithItsRequestUnderWay) {
  Client b(&coalescer_);
  Client c(&coalescer_);
  {
    Client a(&coalescer_);
    Ask(a, 1);  // under way, for a alone
    Ask(b, 1);
    Ask(c, 1);
  }
  cluster_.Run();
  EXPECT_EQ(Answers(b), "1:10");
  EXPECT_EQ(Answers(c), "1:10");
  EXPECT_FALSE(b.ended.has_value());
  EXPECT_EQ(cluster_.keep_alives, (std::vector<int64_t>{1, 1}));
}

TEST_F(ProxyKeepAlive, TellsAllWhenALeaseIsRevoked) {
  Client a(&coalescer_);
  Client b(&coalescer_);
  Ask(a, 1);
  cluster_.Run();
  cluster_.leases.erase(1);
  Ask(a, 1);
  Ask(b, 1);
  Ask(b, 2);
  cluster_.Run();
  EXPECT_EQ(Answers(a), "1:10 1:0");
  EXPECT_EQ(IdsOf(b), (std::multiset<int64_t>{1, 2}));
  EXPECT_FALSE(a.ended.has_value());
  EXPECT_FALSE(b.ended.has_value());
}

TEST_F(ProxyKeepAlive, PassesOnNoAnswerThatNobodyAskedFor) {
  LeaseKeepAliveResponse stranger;
  stranger.set_id(77);
  stranger.set_ttl(5);
  for (const std::string& nonsense :
       {stranger.SerializeAsString(), std::string("\x0a\xff"), std::string(100'000, '\xff'), std::string()}) {
    Client a(&coalescer_);
    Client b(&coalescer_);
    cluster_.keep_alives_answered = false;
    Ask(a, 1);
    Ask(b, 2);
    cluster_.Say(nonsense);
    while (cluster_.Step(0)) {
    }
    EXPECT_EQ(Answers(a), "");
    cluster_.keep_alives_answered = true;
    cluster_.Run();
    EXPECT_EQ(Answers(a), "1:10");
    EXPECT_EQ(Answers(b), "2:20");
    // Nor where nothing is under way.
    cluster_.Say(nonsense);
    cluster_.Run();
    EXPECT_EQ(Answers(a), "");
    EXPECT_FALSE(a.ended.has_value());
  }
}

}  // namespace
}  // namespace kvorum::proxy_grpc
