#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/random.h"
#include "http/client.h"
#include "http/scripted_server.h"
#include "http/session_driver.h"

namespace kvorum::http {
namespace {

constexpr auto kLong = std::chrono::seconds(20);
constexpr auto kShort = std::chrono::milliseconds(20);

/// The server's end of a connection, and its number, from 1.
class Peer {
 public:
  Peer(int fd, int number) : number(number), fd_(fd) {}

  /// The target of the next request ("/a"), or an empty one where the client is gone.
  std::string Next() {
    const std::string head = ReadRequest(fd_);
    if (!head.ends_with("\r\n\r\n")) return "";
    const size_t begin = head.find(' ') + 1;
    return head.substr(begin, head.find(' ', begin) - begin);
  }
  void Send(std::string_view data) { http::Send(fd_, data); }
  void Answer(std::string_view body, std::string_view headers = "") {
    Send(fmt::format("HTTP/1.1 200 OK\r\n{}content-length: {}\r\n\r\n{}", headers, body.size(), body));
  }
  /// Answers every request with its own target.
  void Echo() {
    for (std::string target; !(target = Next()).empty();) Answer(target);
  }

  const int number;

 private:
  const int fd_;
};

using ScriptedServer = ThreadedServer<Peer>;

class ClientPipelineTest : public ::testing::Test {
 protected:
  ~ClientPipelineTest() override { client_->Stop(); }

  static constexpr ExchangeOptions kPipelined = {.pipelined = true};

  /// Nothing is too slow for the client unless it is told so.
  void Serve(ScriptedServer::Script script, std::chrono::nanoseconds patience = kLong) {
    server_.emplace(std::move(script));
    client_.emplace(&loop_, ClientOptions{.max_idle_connections = 8, .pipeline_patience = patience});
  }
  /// From the loop, or before it has anything to do with the sink.
  std::shared_ptr<Seen> Start(std::string target, const ExchangeOptions& options = kPipelined) {
    auto seen = std::make_shared<Seen>();
    Start(std::move(target), seen, options);
    return seen;
  }
  void Start(std::string target, const std::shared_ptr<Seen>& seen,
             const ExchangeOptions& options = kPipelined) {
    seen->exchange = client_->Open({.url = server_->url + target}, options, seen);
  }
  /// A connection that has answered: what may be pipelined goes over it.
  void WarmUp() {
    std::shared_ptr<Seen> seen;
    RunOn(loop_, [&] { seen = Start("/first"); });
    ASSERT_EQ(seen->Wait(), "/first");
  }
  std::vector<std::shared_ptr<Seen>> StartAll(const std::vector<std::string>& targets) {
    std::vector<std::shared_ptr<Seen>> all;
    RunOn(loop_, [&] {
      for (const std::string& target : targets) all.push_back(Start(target));
    });
    return all;
  }

  Loop loop_{"client"};
  std::optional<Client> client_;
  std::optional<ScriptedServer> server_;
};

TEST_F(ClientPipelineTest, SharesAConnectionInOrder) {
  absl::Notification all_sent;
  Serve([&](Peer& peer) {
    if (peer.Next() == "/first") peer.Answer("/first");
    std::vector<std::string> targets;
    for (int i = 0; i < 20; ++i) targets.push_back(peer.Next());
    all_sent.WaitForNotification();
    std::string answers;  // leave as one
    for (const std::string& target : targets) {
      answers += fmt::format("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{}", target.size(), target);
    }
    peer.Send(answers);
    peer.Echo();
  });
  WarmUp();
  std::vector<std::string> targets;
  for (int i = 0; i < 20; ++i) targets.push_back(fmt::format("/{}", i));
  const auto all = StartAll(targets);
  all_sent.Notify();
  for (int i = 0; i < 20; ++i)
    EXPECT_EQ(all[static_cast<size_t>(i)]->Wait(), targets[static_cast<size_t>(i)]);
  EXPECT_EQ(StartAll({"/again"})[0]->Wait(), "/again");
  EXPECT_EQ(server_->connections, 1);
}

TEST_F(ClientPipelineTest, SharesNothingBeforeItKnowsTheServerAndOnlyWhatMayBeShared) {
  Serve([](Peer& peer) { peer.Echo(); });
  for (const auto& seen : StartAll({"/a", "/b"})) EXPECT_NE(seen->Wait(), "");
  EXPECT_EQ(server_->connections, 2);
  std::vector<std::shared_ptr<Seen>> all;
  constexpr ExchangeOptions kAlone;
  RunOn(loop_, [&] { all = {Start("/c"), Start("/d", kAlone), Start("/e"), Start("/f", kAlone)}; });
  const std::vector<std::string> bodies = {all[0]->Wait(), all[1]->Wait(), all[2]->Wait(), all[3]->Wait()};
  EXPECT_THAT(bodies, ::testing::ElementsAre("/c", "/d", "/e", "/f"));
  EXPECT_EQ(server_->connections, 3);  // c and e share one; d and f have each one
}

TEST_F(ClientPipelineTest, SendsAgainWhatABrokenConnectionLeftUnanswered) {
  Serve([](Peer& peer) {
    if (peer.number > 1) return peer.Echo();
    peer.Answer(peer.Next());
    const std::string a = peer.Next();
    peer.Next();
    peer.Next();
    peer.Answer(a);
  });
  WarmUp();
  const auto all = StartAll({"/a", "/b", "/c"});
  EXPECT_EQ(all[0]->Wait(), "/a");
  EXPECT_EQ(all[1]->Wait(), "/b");
  EXPECT_EQ(all[2]->Wait(), "/c");
  EXPECT_EQ(server_->connections, 3);
}

TEST_F(ClientPipelineTest, OnlyTheAnswerInTheMiddleOfWhichItBreaksFails) {
  Serve([](Peer& peer) {
    if (peer.number > 1) return peer.Echo();
    peer.Answer(peer.Next());
    peer.Next();
    peer.Next();
    peer.Send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhal");
  });
  WarmUp();
  const auto all = StartAll({"/a", "/b"});
  EXPECT_EQ(all[0]->Wait(), "unexpected EOF");
  EXPECT_EQ(all[1]->Wait(), "/b");
}

TEST_F(ClientPipelineTest, FollowsAServerThatClosesAfterAnAnswer) {
  Serve([](Peer& peer) {
    if (peer.number > 1) return peer.Echo();
    peer.Answer(peer.Next());
    peer.Answer(peer.Next(), "connection: close\r\n");
    peer.Next();
  });
  WarmUp();
  const auto all = StartAll({"/a", "/b"});
  EXPECT_EQ(all[0]->Wait(), "/a");
  EXPECT_EQ(all[1]->Wait(), "/b");
}

TEST_F(ClientPipelineTest, SendsAgainWhereAnAnswerIsNoHttp) {
  Serve([](Peer& peer) {
    if (peer.number > 1) return peer.Echo();
    peer.Answer(peer.Next());
    peer.Next();
    peer.Next();
    peer.Send("nonsense\r\n\r\n");
    peer.Next();
  });
  WarmUp();
  const auto all = StartAll({"/a", "/b"});
  EXPECT_THAT(all[0]->Wait(), ::testing::HasSubstr("malformed HTTP response"));
  EXPECT_EQ(all[1]->Wait(), "/b");
}

/// Whether the long answer says how long it is.
class ClientLongAnswerTest : public ClientPipelineTest, public ::testing::WithParamInterface<bool> {};

TEST_P(ClientLongAnswerTest, NothingWaitsBehindIt) {
  const bool chunked = GetParam();
  const std::string body(200 << 10, 'x');
  absl::Notification others_done;
  Serve([&, chunked](Peer& peer) {
    if (peer.number > 1) return peer.Echo();
    peer.Answer(peer.Next());
    peer.Next();
    peer.Send("HTTP/1.1 200 OK\r\n");
    peer.Send(chunked ? fmt::format("transfer-encoding: chunked\r\n\r\n{:x}\r\n", body.size())
                      : fmt::format("content-length: {}\r\n\r\n", body.size()));
    peer.Send(std::string_view(body).substr(0, 100 << 10));
    others_done.WaitForNotification();
    peer.Send(std::string_view(body).substr(100 << 10));
    if (chunked) peer.Send("\r\n0\r\n\r\n");
    peer.Answer("of those that went elsewhere");
    while (!peer.Next().empty()) {
    }
  });
  WarmUp();
  const auto all = StartAll({"/long", "/b", "/c"});
  EXPECT_EQ(all[1]->Wait(), "/b");
  EXPECT_EQ(all[2]->Wait(), "/c");
  EXPECT_FALSE(all[0]->ended.HasBeenNotified());
  others_done.Notify();
  EXPECT_EQ(all[0]->Wait(), body);
  EXPECT_EQ(StartAll({"/d"})[0]->Wait(), "/d");
}

INSTANTIATE_TEST_SUITE_P(WithAndWithoutItsLength, ClientLongAnswerTest, ::testing::Bool());

TEST_F(ClientPipelineTest, NothingWaitsLongBehindASlowAnswer) {
  absl::Notification others_done;
  Serve(
      [&](Peer& peer) {
        if (peer.number > 1) return peer.Echo();
        peer.Answer(peer.Next());
        const std::string slow = peer.Next();
        others_done.WaitForNotification();
        peer.Answer(slow);
        peer.Echo();
      },
      kShort);
  WarmUp();
  const auto all = StartAll({"/slow", "/b", "/c"});
  EXPECT_EQ(all[1]->Wait(), "/b");
  EXPECT_EQ(all[2]->Wait(), "/c");
  others_done.Notify();
  EXPECT_EQ(all[0]->Wait(), "/slow");
}

TEST_F(ClientPipelineTest, ASilentServerHoldsNobodyWhoCanGoElsewhere) {
  Serve(
      [](Peer& peer) {
        if (peer.number > 1) return peer.Echo();
        peer.Answer(peer.Next());
        while (!peer.Next().empty()) {
        }
      },
      kShort);
  WarmUp();
  std::shared_ptr<Seen> stuck;
  RunOn(loop_, [&] {
    stuck = Start("/stuck", {.response_timeout = std::chrono::milliseconds(200), .pipelined = true});
  });
  const auto all = StartAll({"/b", "/c"});
  EXPECT_EQ(all[0]->Wait(), "/b");
  EXPECT_EQ(all[1]->Wait(), "/c");
  EXPECT_EQ(stuck->Wait(), "i/o timeout");
}

TEST_F(ClientPipelineTest, WhoLeavesTakesNothingFromTheOthers) {
  absl::Notification cancelled;
  Serve([&](Peer& peer) {
    peer.Answer(peer.Next());
    std::vector<std::string> targets;
    for (int i = 0; i < 4; ++i) targets.push_back(peer.Next());
    cancelled.WaitForNotification();
    for (const std::string& target : targets) peer.Answer(target);
    peer.Echo();
  });
  WarmUp();
  const auto all = StartAll({"/a", "/b", "/c", "/d"});
  RunOn(loop_, [&] {
    all[0]->exchange->Cancel();
    all[2]->exchange->Cancel();
  });
  cancelled.Notify();
  EXPECT_EQ(all[1]->Wait(), "/b");
  EXPECT_EQ(all[3]->Wait(), "/d");
  EXPECT_EQ(StartAll({"/e"})[0]->Wait(), "/e");
  EXPECT_EQ(all[0]->status + all[2]->status, 0);
  EXPECT_FALSE(all[0]->ended.HasBeenNotified() || all[2]->ended.HasBeenNotified());
}

TEST_F(ClientPipelineTest, ASlowOneThatNobodyWaitsForGoesWithItsConnection) {
  Serve(
      [](Peer& peer) {
        if (peer.number > 1) return peer.Echo();
        peer.Answer(peer.Next());
        while (!peer.Next().empty()) {
        }
      },
      kShort);
  WarmUp();
  const auto all = StartAll({"/slow", "/b"});
  RunOn(loop_, [&] { all[0]->exchange->Cancel(); });
  EXPECT_EQ(all[1]->Wait(), "/b");
}

TEST_F(ClientPipelineTest, NobodyWaitsBehindWhoTakesNothing) {
  Serve([](Peer& peer) {
    if (peer.number > 1) return peer.Echo();
    peer.Answer(peer.Next());
    const std::string paused = peer.Next();
    peer.Next();
    peer.Send("HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n");
    peer.Send(paused);
    peer.Answer("of one that went elsewhere");
    peer.Next();
  });
  WarmUp();
  const auto paused = std::make_shared<Seen>();
  paused->on_head = [&] { paused->exchange->Pause(); };
  std::shared_ptr<Seen> other;
  RunOn(loop_, [&] {
    Start("/paused", paused);
    other = Start("/b");
  });
  EXPECT_EQ(other->Wait(), "/b");
  RunOn(loop_, [&] { paused->exchange->Resume(); });
  EXPECT_EQ(paused->Wait(), "/paused");
}

TEST_F(ClientPipelineTest, EndsAllWhenItStops) {
  Serve([](Peer& peer) {
    peer.Answer(peer.Next());
    while (!peer.Next().empty()) {
    }
  });
  WarmUp();
  const auto all = StartAll({"/a", "/b", "/c"});
  client_->Stop();
  for (const auto& seen : all) EXPECT_EQ(seen->Wait(), "the HTTP client was stopped");
}

/// A server that answers with the request's target, now and then late, long, by breaking off, or as its last.
void AnswerByChance(Peer& peer) {
  Random random(static_cast<uint64_t>(peer.number));
  for (std::string target; !(target = peer.Next()).empty();) {
    const uint64_t chance = random.Below(1000);
    if (chance == 0) return;
    if (chance == 1) return peer.Answer(target, "connection: close\r\n");
    if (chance < 10) target.append(100 << 10, '.');
    if (chance < 20) {
      peer.Send(fmt::format("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{}\r\n0\r\n\r\n",
                            target.size(), target));
    } else {
      peer.Answer(target);
    }
  }
}

/// Asks for 10,000 targets, a hundred at a time, some of them alone, and leaves before some answers. On the
/// loop.
class Load {
 public:
  Load(Client& client, Loop& loop, std::string url) : client_(client), loop_(loop), url_(std::move(url)) {}

  void Go() {
    while (under_way_ < 100 && started_ < kRequests) {
      ++under_way_;
      auto one = std::make_shared<One>(this, fmt::format("/{}", started_++));
      const ExchangeOptions options = {.repeat = true, .pipelined = random_.Below(10) > 0};
      const auto exchange = client_.Open({.url = url_ + one->target}, options, one);
      if (random_.Below(50) > 0) continue;
      loop_.PostAfter(std::chrono::microseconds(random_.Below(500)), [this, one, exchange] {
        if (one->over) return;
        exchange->Cancel();
        Over(*one);
      });
    }
  }

  static constexpr int kRequests = 10'000;
  int right = 0;
  int wrong = 0;
  absl::Notification done;

 private:
  struct One final : ResponseSink {
    One(Load* the_load, std::string the_target) : load(the_load), target(std::move(the_target)) {}
    void OnHead(ClientResponse) override {}
    void OnData(std::string_view data) override { body.append(data); }
    void OnEnd(absl::Status status) override {
      if (status.ok()) ++(body.substr(0, body.find('.')) == target ? load->right : load->wrong);
      load->Over(*this);
    }
    Load* const load;
    const std::string target;
    std::string body;
    bool over = false;
  };

  void Over(One& one) {
    EXPECT_FALSE(std::exchange(one.over, true));
    --under_way_;
    Go();
    if (under_way_ == 0) done.Notify();
  }

  Client& client_;
  Loop& loop_;
  const std::string url_;
  Random random_{7};
  int started_ = 0;
  int under_way_ = 0;
};

TEST_F(ClientPipelineTest, EverybodyGetsHisOwnAnswer) {
  Serve(AnswerByChance, kShort);
  Load load(*client_, loop_, server_->url);
  RunOn(loop_, [&] { load.Go(); });
  ASSERT_TRUE(load.done.WaitForNotificationWithTimeout(absl::Seconds(60)));
  EXPECT_EQ(load.wrong, 0);
  EXPECT_GT(load.right, Load::kRequests * 9 / 10);
}

}  // namespace
}  // namespace kvorum::http
