#include "proxy/http/reverse_proxy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <thread>

#include "absl/synchronization/blocking_counter.h"
#include "base/testing/temp_directory.h"
#include "http/client.h"
#include "http/server.h"
#include "http/session_driver.h"

namespace kvorum::proxy_http {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

constexpr auto kLong = std::chrono::seconds(20);

/// A member as a proxy sees it: says who the members are, echoes what it is asked, and can hold an answer
/// back or break it off.
class FakeMember final : public http::Handler {
 public:
  FakeMember() {
    server_ = std::make_unique<http::Server>(&loops_, http::ServerOptions{.handler = this});
    url = "http://" + server_->Listen({"http://127.0.0.1:0"}).value();
    members = MembersOf({url});
    server_->Start();
  }
  ~FakeMember() override { Die(); }

  static std::string MembersOf(const std::vector<std::string>& urls) {
    std::string text;
    for (const std::string& url : urls) {
      text += fmt::format(R"({}{{"id":1,"peerURLs":["{}"],"clientURLs":["{}"]}})", text.empty() ? "" : ",",
                          url, url);
    }
    return "[" + text + "]";
  }

  void Die() { server_.reset(); }
  template <typename Action>
  void OnLoop(Action action) {
    http::RunOn(loops_.at(0), action);
  }
  /// The writer of a request to /hold.
  http::ResponseWriter* Held() {
    http::ResponseWriter* writer = nullptr;
    while (writer == nullptr) OnLoop([&] { writer = held; });
    return writer;
  }

  std::unique_ptr<http::RequestSink> Start(const http::Request& request,
                                           http::ResponseWriter& writer) override {
    if (request.path == "/members") {
      writer.Reply(200, {{"x-etcd-cluster-id", "ac5aa2af9d61fc5a"}}, members);
      return http::CollectBody(writer, 0, [](std::string) {});
    }
    if (request.path == "/version") {
      writer.Reply(200, {}, "{}");
      return http::CollectBody(writer, 0, [](std::string) {});
    }
    ++requests;
    if (request.protocol == http::Protocol::kHttp2) ++shared;
    ++by_connection[std::string(request.remote)];
    if (request.path == "/hold") {
      held = &writer;
      return std::make_unique<Holding>(this);
    }
    std::string head =
        fmt::format("{} {} {} host={}", request.method, request.path, request.query, request.authority);
    for (const auto& [name, value] : request.headers) {
      if (name.starts_with("x-")) head += fmt::format(" {}={}", name, value);
    }
    const int status = request.path == "/teapot" ? 418 : 200;
    return http::CollectBody(writer, 64 << 20, [&writer, head, status](std::string body) {
      writer.Reply(status, {{"x-member", "1"}, {"access-control-allow-origin", "member"}},
                   fmt::format("{} [{}]", head, body.size() > 99 ? fmt::format("{}", body.size()) : body));
    });
  }

  std::string url;
  std::string members;  // set before the proxy starts
  std::atomic<int> requests = 0;
  std::atomic<int> shared = 0;  // of them, those of an HTTP/2 connection
  std::atomic<int> aborted = 0;
  http::ResponseWriter* held = nullptr;      // of the loop
  std::map<std::string, int> by_connection;  // requests; of the loop

 private:
  class Holding final : public http::RequestSink {
   public:
    explicit Holding(FakeMember* member) : member_(*member) {}
    ~Holding() override { member_.held = nullptr; }
    void OnData(std::string_view) override {}
    void OnEnd() override {}
    void OnAbort() override { ++member_.aborted; }

   private:
    FakeMember& member_;
  };

  http::LoopGroup loops_{1};
  std::unique_ptr<http::Server> server_;
};

class ReverseProxyTest : public ::testing::Test {
 protected:
  ~ReverseProxyTest() override {
    client_.Stop();
    if (server_ != nullptr) server_->Shutdown(std::chrono::seconds(0));
    if (proxy_ != nullptr) proxy_->Stop();
  }

  /// The proxy of `urls`, which are peer URLs.
  void Start(std::vector<std::string> urls) {
    options_.peer_urls = std::move(urls);
    options_.cluster_file = directory_.path() + "/proxy/cluster";
    options_.env = &PosixEnv();
    options_.loops = &loops_;
    options_.metrics = &metrics_;
    auto proxy = ReverseProxy::Create(options_);
    ASSERT_TRUE(proxy.ok()) << proxy.status();
    proxy_ = *std::move(proxy);
    ASSERT_TRUE(proxy_->Start().ok());
    server_ = std::make_unique<http::Server>(&loops_, http::ServerOptions{.handler = &proxy_->handler()});
    url_ = "http://" + server_->Listen({"http://127.0.0.1:0"}).value();
    server_->Start();
  }
  /// In front of members that are `count`.
  void StartWith(size_t count) {
    std::vector<std::string> urls;
    for (size_t i = 0; i < count; ++i) urls.push_back(fakes_.emplace_back(new FakeMember)->url);
    for (const auto& fake : fakes_) fake->members = FakeMember::MembersOf(urls);
    Start(urls);
  }

  http::ClientResponse Call(http::ClientRequest request) {
    request.url = url_ + request.url;
    absl::StatusOr<http::ClientResponse> result;
    absl::Notification done;
    client_.Call(std::move(request), SystemClock().Now() + kLong,
                 [&](absl::StatusOr<http::ClientResponse> got) {
                   result = std::move(got);
                   done.Notify();
                 });
    done.WaitForNotification();
    if (!result.ok()) return {.status = 0, .body = std::string(result.status().message())};
    return *std::move(result);
  }
  http::ClientResponse Get(std::string path) { return Call({.url = std::move(path)}); }
  /// Asks for `count` keys at once, and waits for `meanwhile` before the answers. Each must get its own.
  template <typename Action>
  void GetKeys(int count, std::string_view query, Action meanwhile) {
    absl::BlockingCounter left(count);
    for (int i = 0; i < count; ++i) {
      const std::string key = fmt::format("/v2/keys/{}", i);
      client_.Call({.url = url_ + key + std::string(query)}, SystemClock().Now() + kLong,
                   [&left, key](const absl::StatusOr<http::ClientResponse>& got) {
                     EXPECT_TRUE(got.ok() && got->body.starts_with(fmt::format("GET {} ", key)))
                         << got.status();
                     left.DecrementCount();
                   });
    }
    meanwhile();
    left.Wait();
  }
  bool HasBegun(int requests) {
    return metrics_.Text().find(fmt::format("etcd_proxy_requests_total{{method=\"GET\"}} {}\n", requests)) !=
           std::string::npos;
  }

  const testing::TempDirectory directory_;
  std::vector<std::unique_ptr<FakeMember>> fakes_;
  http::LoopGroup loops_{2};
  metrics::Registry metrics_;
  ReverseProxyOptions options_;
  std::unique_ptr<ReverseProxy> proxy_;
  std::unique_ptr<http::Server> server_;
  std::string url_;
  http::Loop loop_{"client"};
  http::Client client_{&loop_, {}};
};

TEST_F(ReverseProxyTest, PassesRequestsAndAnswersOn) {
  StartWith(1);
  const http::ClientResponse answer =
      Call({.method = "PUT",
            .url = "/v2/keys/a%20b?prevExist=true",
            .headers = {{"x-mine", "1"}, {"connection", "x-hop"}, {"x-hop", "2"}},
            .body = "value=1",
            .host = "etcd.example"});
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(
      answer.body,
      "PUT /v2/keys/a%20b prevExist=true host=etcd.example x-mine=1 x-forwarded-for=127.0.0.1 [value=1]");
  EXPECT_EQ(*answer.Find("x-member"), "1");
  EXPECT_EQ(*answer.Find("access-control-allow-origin"), "*");
  EXPECT_EQ(Get("/teapot").status, 418);
  EXPECT_EQ(Call({.method = "HEAD", .url = "/a"}).status, 200);
  EXPECT_THAT(metrics_.Text(), HasSubstr("etcd_proxy_handled_total{code=\"418\",method=\"GET\"} 1"));
}

TEST_F(ReverseProxyTest, ListsItsEndpoints) {
  StartWith(1);
  const http::ClientResponse answer = Get("/v2/config/local/proxy");
  EXPECT_EQ(answer.body, fmt::format("{{\"endpoints\":[\"{}\"]}}\n", fakes_[0]->url));
  EXPECT_EQ(*answer.Find("content-type"), "text/plain; charset=utf-8");
  const http::ClientResponse refused = Call({.method = "POST", .url = "/v2/config/local/proxy"});
  EXPECT_EQ(refused.status, 405);
  EXPECT_EQ(*refused.Find("allow"), "GET");
  EXPECT_EQ(fakes_[0]->requests, 0);
}

TEST_F(ReverseProxyTest, AnswersSomePathsItself) {
  StartWith(1);
  const http::ClientResponse moved = Get("//v2/./keys?a=b");
  EXPECT_EQ(moved.status, 301);
  EXPECT_EQ(*moved.Find("location"), "/v2/keys?a=b");
  EXPECT_THAT(Get("/metrics").body, HasSubstr("promhttp_metric_handler_requests_total"));
  EXPECT_EQ(Call({.method = "OPTIONS", .url = "/v2/keys"}).status, 200);
  EXPECT_EQ(fakes_[0]->requests, 0);
}

TEST_F(ReverseProxyTest, WritesNothingWhereItIsReadOnly) {
  options_.readonly = true;
  StartWith(1);
  for (const std::string method : {"PUT", "POST", "DELETE", "HEAD", "OPTIONS", "get"}) {
    const http::ClientResponse refused = Call({.method = method, .url = "/v2/keys/a"});
    EXPECT_EQ(refused.status, 501) << method;
    EXPECT_EQ(refused.body, "");
    EXPECT_EQ(refused.Find("access-control-allow-origin"), nullptr);
  }
  EXPECT_EQ(fakes_[0]->requests, 0);
  EXPECT_EQ(Get("/v2/keys/a").status, 200);
}

TEST_F(ReverseProxyTest, GoesToAnotherMemberWhereOneIsDead) {
  StartWith(3);
  fakes_[0]->Die();
  fakes_[2]->Die();
  for (int i = 0; i < 9; ++i) EXPECT_EQ(Call({.method = "POST", .url = "/a", .body = "b"}).status, 200);
  EXPECT_EQ(fakes_[1]->requests, 9);
}

TEST_F(ReverseProxyTest, SendsPlainReadsTogether) {
  StartWith(1);
  FakeMember& member = *fakes_[0];
  int begun = 0;
  for (const std::string_view query : {"", "?sorted=true", "?wait=true", "?recursive=true", "?w%61it=true"}) {
    GetKeys(8, query, [] {});  // both loops know the member
    member.OnLoop([&] { member.by_connection.clear(); });
    absl::Notification held_up;
    absl::Notification sent;
    std::thread answering([&] {
      member.OnLoop([&] {
        held_up.Notify();
        sent.WaitForNotification();
      });
    });
    held_up.WaitForNotification();
    begun += 8 + 20;
    GetKeys(20, query, [&] {
      while (!HasBegun(begun)) std::this_thread::yield();
      sent.Notify();
    });
    answering.join();
    int most = 0;
    member.OnLoop([&] {
      for (const auto& [_, requests] : member.by_connection) most = std::max(most, requests);
    });
    const bool plain = query.empty() || query == "?sorted=true";
    EXPECT_EQ(most >= 5, plain) << query << ": " << most;
  }
}

TEST_F(ReverseProxyTest, WritesShareAConnection) {
  StartWith(1);
  FakeMember& member = *fakes_[0];
  const auto shares = [&](std::string method, std::string target, size_t body_bytes) {
    const int before = member.shared;
    const std::string body(body_bytes, 'b');
    const http::ClientResponse answer = Call({.method = method, .url = target, .body = body});
    EXPECT_EQ(answer.status, 200) << answer.body;
    return member.shared > before;
  };
  // The client of our test keeps one connection, and so stays on one loop of the proxy.
  while (!shares("PUT", "/v2/keys/a", 7)) {
  }
  EXPECT_TRUE(shares("POST", "/v2/keys/a", 64 << 10));
  EXPECT_TRUE(shares("DELETE", "/v2/keys/a?recursive=true", 0));
  EXPECT_TRUE(shares("GET", "/v2/keys/a?quorum=true", 0));
  EXPECT_FALSE(shares("PUT", "/v2/keys/a", (64 << 10) + 1));
  EXPECT_FALSE(shares("GET", "/v2/keys/a?quorum=true&wait=true", 0));
  EXPECT_FALSE(shares("GET", "/v2/keys/a?quorum=true&recursive=true", 0));
  EXPECT_FALSE(shares("GET", "/v2/keys/a", 0));
  EXPECT_FALSE(shares("POST", "/v2/members", 2));
  const http::ClientResponse answer =
      Call({.method = "PUT", .url = "/v2/keys/a?b=c", .headers = {{"x-mine", "1"}}, .host = "etcd.example"});
  EXPECT_EQ(answer.body, "PUT /v2/keys/a b=c host=etcd.example x-mine=1 x-forwarded-for=127.0.0.1 []");
  EXPECT_EQ(*answer.Find("x-member"), "1");
  EXPECT_NE(answer.Find("date"), nullptr);
}

TEST_F(ReverseProxyTest, WritesOutliveAMemberThatTheyShareAConnectionTo) {
  StartWith(2);
  while (fakes_[0]->shared + fakes_[1]->shared == 0) {
    EXPECT_EQ(Call({.method = "PUT", .url = "/v2/keys/a"}).status, 200);
  }
  FakeMember& used = *fakes_[fakes_[0]->shared > 0 ? 0 : 1];
  used.Die();
  for (int i = 0; i < 10; ++i) EXPECT_EQ(Call({.method = "PUT", .url = "/v2/keys/a"}).status, 200);
}

TEST_F(ReverseProxyTest, SaysThatNobodyAnswers) {
  StartWith(2);
  for (const auto& fake : fakes_) fake->Die();
  const http::ClientResponse failed = Get("/a");
  EXPECT_EQ(failed.status, 502);
  EXPECT_EQ(failed.body, R"x({"message":"httpproxy: unable to get response from 2 endpoint(s)"})x");
  const http::ClientResponse none = Get("/a");
  EXPECT_EQ(none.status, 503);
  EXPECT_EQ(none.body, R"({"message":"httpproxy: zero endpoints currently available"})");
  EXPECT_EQ(*none.Find("content-type"), "application/json");
  const std::string text = metrics_.Text();
  for (const std::string_view line :
       {"failed_sending_request\"} 2", "failed_getting_response\"} 1", "zero_endpoints\"} 1"}) {
    EXPECT_THAT(text, HasSubstr(std::string(line)));
  }
}

TEST_F(ReverseProxyTest, RefusesBodiesThatAreTooLong) {
  options_.max_body_bytes = 1 << 20;
  StartWith(1);
  EXPECT_EQ(Call({.method = "PUT", .url = "/a", .body = std::string(1 << 20, 'x')}).status, 200);
  const http::ClientResponse refused =
      Call({.method = "PUT", .url = "/a", .body = std::string((1 << 20) + 1, 'x')});
  EXPECT_EQ(refused.status, 413);
  EXPECT_EQ(refused.body, R"({"message":"httpproxy: request body too large"})");
  EXPECT_EQ(fakes_[0]->requests, 1);
}

TEST_F(ReverseProxyTest, RefusesMoreThanItCanCarry) {
  options_.max_exchanges = 1;
  StartWith(1);
  std::thread waiting([this] { EXPECT_EQ(Get("/hold").status, 204); });
  http::ResponseWriter* held = fakes_[0]->Held();
  EXPECT_EQ(Get("/a").status, 503);
  fakes_[0]->OnLoop([&] { held->SendOnlyHead(204, {}); });
  waiting.join();
  while (Get("/a").status == 503) std::this_thread::yield();  // once the exchange is over
}

/// What came of an answer so far.
class Received final : public http::ResponseSink {
 public:
  void OnHead(http::ClientResponse head) override {
    absl::MutexLock lock(&mutex_);
    status_ = head.status;
  }
  void OnData(std::string_view data) override {
    absl::MutexLock lock(&mutex_);
    body_.append(data);
  }
  void OnEnd(absl::Status status) override {
    absl::MutexLock lock(&mutex_);
    end_ = std::move(status);
  }
  void AwaitHead() {
    absl::MutexLock lock(&mutex_);
    const auto there = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return status_ != 0; };
    mutex_.Await(absl::Condition(&there));
  }
  void AwaitBody(std::string_view wanted) {
    absl::MutexLock lock(&mutex_);
    const auto there = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return body_ == wanted; };
    mutex_.Await(absl::Condition(&there));
  }
  absl::Status AwaitEnd() {
    absl::MutexLock lock(&mutex_);
    const auto there = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return end_.has_value(); };
    mutex_.Await(absl::Condition(&there));
    return *end_;
  }
  size_t size() {
    absl::MutexLock lock(&mutex_);
    return body_.size();
  }

 private:
  absl::Mutex mutex_;
  int status_ ABSL_GUARDED_BY(mutex_) = 0;
  std::string body_ ABSL_GUARDED_BY(mutex_);
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mutex_);
};

class ReverseProxyStreamTest : public ReverseProxyTest {
 protected:
  /// A request to /hold, and the member's side of it.
  http::ResponseWriter* Hold(std::string_view query = "?wait=true") {
    const std::string url = url_ + "/hold" + std::string(query);
    http::RunOn(loop_, [&] { exchange_ = client_.Open({.url = url}, {}, received_); });
    return fakes_[0]->Held();
  }
  const std::shared_ptr<Received> received_ = std::make_shared<Received>();
  std::shared_ptr<http::Exchange> exchange_;
};

TEST_F(ReverseProxyStreamTest, PassesPiecesOnAsTheyCome) {
  StartWith(1);
  http::ResponseWriter* held = Hold();
  fakes_[0]->OnLoop([&] { held->SendHead(200, {}); });
  received_->AwaitHead();
  fakes_[0]->OnLoop([&] { held->Send("one"); });
  received_->AwaitBody("one");
  fakes_[0]->OnLoop([&] { held->Send("two"); });
  received_->AwaitBody("onetwo");
  fakes_[0]->OnLoop([&] { held->End(); });
  EXPECT_TRUE(received_->AwaitEnd().ok());
}

TEST_F(ReverseProxyStreamTest, EndsAWatchWhoseMemberDiesBetweenEvents) {
  StartWith(1);
  http::ResponseWriter* held = Hold();
  fakes_[0]->OnLoop([&] { held->SendHead(200, {}); });
  fakes_[0]->OnLoop([&] { held->Send("event\n"); });
  received_->AwaitBody("event\n");
  fakes_[0]->OnLoop([&] { held->Abort(0); });
  EXPECT_TRUE(received_->AwaitEnd().ok());
}

TEST_F(ReverseProxyStreamTest, BreaksAnAnswerOffThatIsNotWhole) {
  StartWith(1);
  http::ResponseWriter* held = Hold();
  fakes_[0]->OnLoop([&] { held->SendHead(200, {}); });
  fakes_[0]->OnLoop([&] { held->Send("half"); });
  received_->AwaitBody("half");
  fakes_[0]->OnLoop([&] { held->Abort(0); });
  EXPECT_FALSE(received_->AwaitEnd().ok());
}

TEST_F(ReverseProxyStreamTest, BreaksAnAnswerOffThatOnlyLooksWhole) {
  StartWith(1);
  http::ResponseWriter* held = Hold("?recursive=true&wait=false&await=true");
  fakes_[0]->OnLoop([&] { held->SendHead(200, {}); });
  received_->AwaitHead();
  fakes_[0]->OnLoop([&] { held->Abort(0); });
  EXPECT_FALSE(received_->AwaitEnd().ok());
}

TEST_F(ReverseProxyStreamTest, TellsTheMemberThatTheClientWent) {
  StartWith(1);
  http::ResponseWriter* held = Hold();
  fakes_[0]->OnLoop([&] { held->SendHead(200, {}); });
  received_->AwaitHead();
  http::RunOn(loop_, [&] { exchange_->Cancel(); });
  while (fakes_[0]->aborted == 0) std::this_thread::yield();
}

TEST_F(ReverseProxyStreamTest, HoldsTheMemberBackWhileTheClientDoesNotRead) {
  StartWith(1);
  http::ResponseWriter* held = Hold();
  fakes_[0]->OnLoop([&] { held->SendHead(200, {}); });
  received_->AwaitHead();
  http::RunOn(loop_, [&] { exchange_->Pause(); });
  // As much as the sockets take, and the proxy; more than that stays with the member.
  constexpr size_t kAll = 64 << 20;
  size_t waiting = 0;
  fakes_[0]->OnLoop([&] {
    held->Send(Bytes::Copy(std::string(kAll, 'x')));
    waiting = held->buffered();
  });
  for (size_t before = 0; before != waiting;) {
    before = waiting;
    for (int i = 0; i < 100; ++i) EXPECT_EQ(Get("/a").status, 200);  // time enough for more to leave
    fakes_[0]->OnLoop([&] { waiting = held->buffered(); });
  }
  EXPECT_GT(waiting, kAll / 2);
  http::RunOn(loop_, [&] { exchange_->Resume(); });
  fakes_[0]->OnLoop([&] { held->End(); });
  EXPECT_TRUE(received_->AwaitEnd().ok());
  EXPECT_EQ(received_->size(), kAll);
}

TEST_F(ReverseProxyTest, KeepsItsMembersOnDisk) {
  StartWith(2);
  const auto text = PosixEnv().ReadFile(options_.cluster_file).value();
  for (const auto& fake : fakes_) EXPECT_THAT(text, HasSubstr(fake->url));
}

TEST_F(ReverseProxyTest, TrustsItsFileMoreThanItsFlags) {
  FakeMember member;
  ASSERT_TRUE(PosixEnv().CreateDirectories(directory_.path() + "/proxy").ok());
  ASSERT_TRUE(PosixEnv()
                  .OpenForWriting(directory_.path() + "/proxy/cluster", Env::Create::kMustBeNew)
                  .value()
                  ->Append(fmt::format(R"({{"PeerURLs":["{}"]}})", member.url))
                  .ok());
  Start({"http://127.0.0.1:1"});
  EXPECT_EQ(Get("/a").status, 200);
}

TEST_F(ReverseProxyTest, FollowsTheMembersThatComeAndGo) {
  options_.refresh_interval = std::chrono::milliseconds(10);
  FakeMember second;
  StartWith(1);
  fakes_[0]->OnLoop([&] { fakes_[0]->members = FakeMember::MembersOf({second.url}); });
  while (Get("/v2/config/local/proxy").body.find(second.url) == std::string::npos) std::this_thread::yield();
  fakes_[0]->Die();  // it is asked no more
  EXPECT_EQ(Get("/a").status, 200);
  EXPECT_GT(second.requests, 0);
}

TEST_F(ReverseProxyTest, KeepsThoseItKnowsWhileNobodyTells) {
  options_.refresh_interval = std::chrono::milliseconds(10);
  options_.failure_wait = std::chrono::milliseconds(10);
  StartWith(1);
  FakeMember client_side;  // the client URL lives on where the peer URL does not
  fakes_[0]->OnLoop([&] {
    fakes_[0]->members =
        fmt::format(R"([{{"peerURLs":["http://127.0.0.1:1"],"clientURLs":["{}"]}}])", client_side.url);
  });
  while (Get("/v2/config/local/proxy").body.find(client_side.url) == std::string::npos) {
    std::this_thread::yield();
  }
  for (int i = 0; i < 20; ++i) EXPECT_EQ(Get("/a").status, 200);
}

}  // namespace
}  // namespace kvorum::proxy_http
