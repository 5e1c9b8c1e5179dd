#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nghttp2/nghttp2.h>
#include <unistd.h>

#include <map>
#include <set>

#include "http/nghttp2_text.h"
#include "http/scripted_server.h"
#include "http/server.h"
#include "http/session_driver.h"
#include "http/test_certificates.h"

// Requests that share an HTTP/2 connection, to our server and to scripted ones.

namespace kvorum::http {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr auto kLong = std::chrono::seconds(20);
constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

class Http2ClientTest : public ::testing::Test {
 protected:
  ~Http2ClientTest() override {
    if (client_) client_->Stop();
  }

  static constexpr ExchangeOptions kShared = {.multiplexed = true};
  static constexpr ExchangeOptions kSharedTwice = {.repeat = true, .multiplexed = true};

  void StartClient(const ClientOptions& options = {}) { client_.emplace(&loop_, options); }

  std::shared_ptr<Seen> Open(std::string target, const ExchangeOptions& options = kShared,
                             std::string body = "", std::shared_ptr<Seen> seen = std::make_shared<Seen>()) {
    RunOn(loop_, [&] {
      seen->exchange = client_->Open(
          {.method = "PUT", .url = url_ + target, .headers = {{"x-mine", "1"}}, .body = std::move(body)},
          options, seen);
    });
    return seen;
  }
  std::string Ask(std::string target, const ExchangeOptions& options = kShared) {
    return Open(std::move(target), options)->Wait();
  }
  /// Until what may share a connection does.
  void AwaitHttp2() {
    while (Ask("/first") != "2 /first") {
    }
  }

  Loop loop_{"client"};
  std::string url_;
  std::optional<Client> client_;
};

// ---- our own server ----

/// Answers with the version of HTTP, the path and the body; holds what is asked for "/hold…" back.
class EchoHandler final : public Handler {
 public:
  std::unique_ptr<RequestSink> Start(const Request& request, ResponseWriter& writer) override {
    if (request.path == "/version") {
      writer.Reply(200, {}, "{}");
      return CollectBody(writer, 0, [](std::string) {});
    }
    remotes.insert(std::string(request.remote));
    const std::string path(request.path);
    if (path.starts_with("/hold")) {
      held[path] = &writer;
      return std::make_unique<Holding>(this, path);
    }
    const bool shared = request.protocol == Protocol::kHttp2;
    return CollectBody(writer, 1 << 20, [&writer, path, shared](std::string body) {
      if (path == "/large") body.assign(1 << 20, 'x');
      const std::string begin = fmt::format("{} {}", shared ? 2 : 1, path);
      writer.Reply(200, {{"x-path", path}}, body.empty() ? begin : fmt::format("{} {}", begin, body));
    });
  }

  // Of the server's loop.
  std::map<std::string, ResponseWriter*> held;
  std::set<std::string> remotes;
  int aborted = 0;

 private:
  class Holding final : public RequestSink {
   public:
    Holding(EchoHandler* handler, std::string path) : handler_(*handler), path_(std::move(path)) {}
    ~Holding() override { handler_.held.erase(path_); }
    void OnData(std::string_view) override {}
    void OnEnd() override {}
    void OnAbort() override { ++handler_.aborted; }

   private:
    EchoHandler& handler_;
    const std::string path_;
  };
};

class Http2ClientAndServerTest : public Http2ClientTest {
 protected:
  void Serve(std::string_view url = "http://127.0.0.1:0", const ClientOptions& client = {}) {
    options_.handler = &handler_;
    server_ = std::make_unique<Server>(&loops_, options_);
    url_ = std::string(url.substr(0, url.find(':'))) + "://" + server_->Listen({std::string(url)}).value();
    server_->Start();
    StartClient(client);
  }
  template <typename Action>
  void OnServer(Action action) {
    RunOn(loops_.at(0), action);
  }
  void AwaitHeld(size_t count) {
    for (size_t held = count + 1; held != count;) OnServer([&] { held = handler_.held.size(); });
  }

  LoopGroup loops_{1};
  EchoHandler handler_;
  ServerOptions options_;
  std::unique_ptr<Server> server_;
};

TEST_F(Http2ClientAndServerTest, AnswersManyOverOneConnectionInAnyOrder) {
  Serve();
  AwaitHttp2();
  OnServer([&] { handler_.remotes.clear(); });
  std::map<std::string, std::shared_ptr<Seen>> all;
  for (int i = 0; i < 200; ++i) {
    const std::string target = fmt::format("/hold/{}", i);
    all[target] = Open(target, kShared, std::string(static_cast<size_t>(i) * 100, 'b'));
  }
  AwaitHeld(200);
  EXPECT_EQ(Ask("/another"), "2 /another");
  OnServer([&] {
    EXPECT_EQ(handler_.remotes.size(), 1u);
    const auto held = handler_.held;
    for (auto it = held.rbegin(); it != held.rend(); ++it) it->second->Reply(200, {}, it->first);
  });
  for (const auto& [target, seen] : all) EXPECT_EQ(seen->Wait(), target);
}

TEST_F(Http2ClientAndServerTest, SendsHeadersAndBodiesAsTheyAre) {
  Serve();
  AwaitHttp2();
  const std::string body(64 << 10, 'y');
  std::vector<std::shared_ptr<Seen>> all;
  for (int i = 0; i < 100; ++i) all.push_back(Open("/a?b=c", kShared, body));  // more than the windows take
  for (const auto& seen : all) EXPECT_EQ(seen->Wait(), "2 /a " + body);
  EXPECT_EQ(all[0]->status, 200);
}

TEST_F(Http2ClientAndServerTest, WhoTakesNothingHoldsNobody) {
  Serve();
  AwaitHttp2();
  const auto paused = std::make_shared<Seen>();
  paused->on_head = [&] { paused->exchange->Pause(); };
  Open("/large", kShared, "", paused);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(Open("/large")->Wait().size(), (1u << 20) + 9);
  RunOn(loop_, [&] {
    EXPECT_LE(paused->body.size(), 64u << 10);
    paused->exchange->Resume();
  });
  EXPECT_EQ(paused->Wait().size(), (1u << 20) + 9);
}

TEST_F(Http2ClientAndServerTest, WhoLeavesTakesNothingFromTheOthers) {
  Serve();
  AwaitHttp2();
  const auto stays = Open("/hold/stays");
  const auto leaves = Open("/hold/leaves");
  AwaitHeld(2);
  RunOn(loop_, [&] { leaves->exchange->Cancel(); });
  AwaitHeld(1);
  const auto at_once = std::make_shared<Seen>();
  RunOn(loop_, [&] { client_->Open({.url = url_ + "/hold/at-once"}, kShared, at_once)->Cancel(); });
  OnServer([&] {
    EXPECT_EQ(handler_.aborted, 1);
    handler_.held["/hold/stays"]->Reply(200, {}, "there");
  });
  EXPECT_EQ(stays->Wait(), "there");
  EXPECT_FALSE(leaves->ended.HasBeenNotified() || at_once->ended.HasBeenNotified());
}

TEST_F(Http2ClientAndServerTest, ASilentAnswerEndsAlone) {
  Serve();
  AwaitHttp2();
  const auto silent =
      Open("/hold", {.response_timeout = std::chrono::milliseconds(100), .multiplexed = true});
  EXPECT_EQ(silent->Wait(), "i/o timeout");
  EXPECT_EQ(Ask("/next"), "2 /next");
  AwaitHeld(0);
}

TEST_F(Http2ClientAndServerTest, GoesElsewhereWhereTheServerTakesNoMore) {
  options_.max_concurrent_streams = 2;
  Serve();
  AwaitHttp2();
  const auto first = Open("/hold/1");
  const auto second = Open("/hold/2");
  AwaitHeld(2);
  EXPECT_EQ(Ask("/third"), "1 /third");
  OnServer([&] { handler_.held["/hold/2"]->Reply(200, {}, ""); });
  second->Wait();
  EXPECT_EQ(Ask("/fourth"), "2 /fourth");
}

TEST_F(Http2ClientAndServerTest, FollowsAServerThatComesBack) {
  Serve();
  AwaitHttp2();
  const std::string address = url_;
  const auto held = Open("/hold");
  AwaitHeld(1);
  server_->Shutdown(std::chrono::seconds(0));
  EXPECT_NE(held->Wait(), "");
  EXPECT_FALSE(held->end.ok());
  server_ = std::make_unique<Server>(&loops_, options_);
  ASSERT_TRUE(server_->Listen({address}).ok());
  server_->Start();
  AwaitHttp2();
}

TEST_F(Http2ClientAndServerTest, EndsAllWhenItStops) {
  Serve();
  AwaitHttp2();
  const std::vector<std::shared_ptr<Seen>> all = {Open("/hold/1"), Open("/hold/2")};
  client_->Stop();
  for (const auto& seen : all) EXPECT_EQ(seen->Wait(), "the HTTP client was stopped");
}

TEST_F(Http2ClientAndServerTest, SharesOnlyWhatMayBeShared) {
  Serve();
  AwaitHttp2();
  EXPECT_EQ(Ask("/a", {}), "1 /a");
}

TEST_F(Http2ClientAndServerTest, AsksWithAlpnUnderTls) {
  TestCertificates certificates;
  certificates.Make("server", "IP:127.0.0.1");
  TlsOptions tls = {.cert_file = certificates / "server.pem", .key_file = certificates / "server.key"};
  options_.tls = TlsContext::ForServer(tls).value();
  const ClientOptions client = {
      .tls = TlsContext::ForClient({.trusted_ca_file = certificates / "ca.pem"}).value()};
  Serve("https://127.0.0.1:0", client);
  AwaitHttp2();
  std::vector<std::shared_ptr<Seen>> all;
  for (int i = 0; i < 50; ++i) all.push_back(Open("/a", kShared, "body"));
  for (const auto& seen : all) EXPECT_EQ(seen->Wait(), "2 /a body");
}

TEST_F(Http2ClientAndServerTest, TakesWhatAlpnSays) {
  TestCertificates certificates;
  certificates.Make("server", "IP:127.0.0.1");
  TlsOptions tls = {.cert_file = certificates / "server.pem",
                    .key_file = certificates / "server.key",
                    .protocols = {"http/1.1"}};
  options_.tls = TlsContext::ForServer(tls).value();
  const ClientOptions client = {
      .http2_retry = std::chrono::nanoseconds(1),
      .tls = TlsContext::ForClient({.trusted_ca_file = certificates / "ca.pem"}).value()};
  Serve("https://127.0.0.1:0", client);
  for (int i = 0; i < 50; ++i) EXPECT_EQ(Ask("/a"), "1 /a");
}

// ---- servers made of frames ----

std::string Number(uint64_t value, int bytes) {
  std::string text;
  while (bytes-- > 0) text += static_cast<char>(value >> (8 * bytes));
  return text;
}

std::string Frame(uint8_t type, uint8_t flags, int32_t id, std::string_view payload) {
  return Number(payload.size(), 3) + Number(type, 1) + Number(flags, 1) +
         Number(static_cast<uint32_t>(id), 4) + std::string(payload);
}

const std::string kOk = "\x88";  // ":status: 200" in HPACK
const std::string kInterim =
    "\x08\x03"
    "100";  // ":status: 100"

std::string Head(int32_t id, std::string_view block = kOk, uint8_t flags = NGHTTP2_FLAG_END_HEADERS) {
  return Frame(NGHTTP2_HEADERS, flags, id, block);
}
std::string End(int32_t id, std::string_view data = "") {
  return Frame(NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, id, data);
}
std::string GoAway(int32_t last) {
  return Frame(NGHTTP2_GOAWAY, 0, 0, Number(static_cast<uint32_t>(last), 4) + Number(0, 4));
}
std::string Refusal(int32_t id) {
  return Frame(NGHTTP2_RST_STREAM, 0, id, Number(NGHTTP2_REFUSED_STREAM, 4));
}

/// The server's end of a connection of either kind.
class FramePeer {
 public:
  FramePeer(int fd, int) : fd_(fd) {
    nghttp2_hd_inflate_new(&inflater_);
    std::string begin(3, ' ');
    if (::recv(fd_, begin.data(), begin.size(), MSG_PEEK | MSG_WAITALL) != 3) return;
    http2 = begin == "PRI";
    if (!http2) return;
    ReadUntil(fd_, kPreface);
    Send(Frame(NGHTTP2_SETTINGS, 0, 0, ""));
  }
  ~FramePeer() { nghttp2_hd_inflate_del(inflater_); }

  void Send(std::string_view data) { http::Send(fd_, data); }
  void Answer(int32_t id, std::string_view body) { Send(Head(id) + End(id, body)); }

  struct Asked {
    int32_t id = 0;
    std::string path;
  };
  /// The next request, but for those that AwaitHttp2 makes, which are answered. Empty where the client is
  /// gone.
  Asked Next() {
    for (std::string head; (head = Read(9)).size() == 9;) {
      const auto byte = [&](size_t i) { return static_cast<uint8_t>(head[i]); };
      const std::string payload = Read(size_t{byte(0)} << 16 | size_t{byte(1)} << 8 | byte(2));
      const bool ack = (byte(4) & NGHTTP2_FLAG_ACK) != 0;
      if (byte(3) == NGHTTP2_SETTINGS && !ack) Send(Frame(NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, ""));
      if (byte(3) == NGHTTP2_PING && ++pings > 0 && answers_pings) {
        Send(Frame(NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, payload));
        if (pings == 3) return {};
      }
      if (byte(3) != NGHTTP2_HEADERS) continue;
      Asked asked = {.id = byte(5) << 24 | byte(6) << 16 | byte(7) << 8 | byte(8), .path = PathIn(payload)};
      if (asked.path != "/version" && asked.path != "/first") return asked;
      Answer(asked.id, "2 " + asked.path);
    }
    return {};
  }
  /// Answers every request with its target and the version of HTTP.
  void Echo() {
    if (http2) {
      for (Asked asked; (asked = Next()).id != 0;) Answer(asked.id, "2 " + asked.path);
      return;
    }
    for (std::string head; (head = ReadRequest(fd_)).ends_with("\r\n\r\n");) {
      const size_t begin = head.find(' ') + 1;
      const std::string body = "1 " + head.substr(begin, head.find(' ', begin) - begin);
      Send(fmt::format("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{}", body.size(), body));
    }
  }

  void AwaitClose() { ReadUntil(fd_, "never"); }

  bool http2 = false;
  int pings = 0;
  bool answers_pings = false;  // the third one ends Next

 private:
  std::string Read(size_t size) {
    std::string got(size, ' ');
    const ssize_t n = size == 0 ? 0 : ::recv(fd_, got.data(), size, MSG_WAITALL);
    got.resize(n < 0 ? 0 : static_cast<size_t>(n));
    return got;
  }
  std::string PathIn(const std::string& block) {
    std::string path;
    const auto* at = reinterpret_cast<const uint8_t*>(block.data());
    size_t left = block.size();
    for (int flags = 0; (flags & NGHTTP2_HD_INFLATE_FINAL) == 0;) {
      nghttp2_nv header;
      const ssize_t n = nghttp2_hd_inflate_hd2(inflater_, &header, &flags, at, left, /*in_final=*/1);
      if (n < 0) break;
      at += n;
      left -= static_cast<size_t>(n);
      if ((flags & NGHTTP2_HD_INFLATE_EMIT) == 0) continue;
      if (TextOf(header.name, header.namelen) == ":path") path = TextOf(header.value, header.valuelen);
    }
    nghttp2_hd_inflate_end_headers(inflater_);
    return path;
  }

  const int fd_;
  nghttp2_hd_inflater* inflater_ = nullptr;
};

class Http2ClientScriptTest : public Http2ClientTest {
 protected:
  ~Http2ClientScriptTest() override { client_->Stop(); }

  /// `script` gets the connections that speak HTTP/2.
  void Serve(const std::function<void(FramePeer&)>& script, const ClientOptions& client = {}) {
    server_.emplace([script](FramePeer& peer) {
      if (!peer.http2) return peer.Echo();
      script(peer);
    });
    url_ = server_->url;
    StartClient(client);
  }

  std::optional<ThreadedServer<FramePeer>> server_;
};

TEST_F(Http2ClientScriptTest, TakesAnswersPieceByPieceBesideEachOther) {
  Serve([](FramePeer& peer) {
    const int32_t a = peer.Next().id;
    const int32_t b = peer.Next().id;
    const std::string trailers = Frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_STREAM | NGHTTP2_FLAG_END_HEADERS, a,
                                       std::string("\x00\x01x\x01y", 5));
    peer.Send(Head(b, kInterim) + Head(a) + Frame(NGHTTP2_DATA, 0, a, "one") + Head(b) + End(b, "other") +
              Frame(NGHTTP2_DATA, 0, a, "two") + trailers);
    peer.Echo();
  });
  AwaitHttp2();
  const auto a = Open("/a");
  const auto b = Open("/b");
  EXPECT_EQ(a->Wait(), "onetwo");
  EXPECT_EQ(b->Wait(), "other");
}

TEST_F(Http2ClientScriptTest, SendsAgainWhatTheServerDidNotProcess) {
  Serve([](FramePeer& peer) {
    const int32_t a = peer.Next().id;
    const int32_t b = peer.Next().id;
    peer.Next();
    peer.Send(Refusal(b) + GoAway(b));
    peer.Answer(a, "2 answer");
    EXPECT_EQ(peer.Next().id, 0);  // nothing follows, and it is closed
  });
  AwaitHttp2();
  const std::vector<std::shared_ptr<Seen>> all = {Open("/a"), Open("/b"), Open("/c")};
  EXPECT_EQ(all[0]->Wait(), "2 answer");
  EXPECT_EQ(all[1]->Wait(), "1 /b");
  EXPECT_EQ(all[2]->Wait(), "1 /c");
  EXPECT_EQ(Ask("/d"), "1 /d");
}

TEST_F(Http2ClientScriptTest, OnlyWhatMayBeRepeatedSurvivesABrokenConnection) {
  Serve([](FramePeer& peer) {
    const int32_t a = peer.Next().id;
    peer.Next();
    peer.Next();
    peer.Send(Head(a) + Frame(NGHTTP2_DATA, 0, a, "hal"));
  });
  AwaitHttp2();
  const std::vector<std::shared_ptr<Seen>> all = {Open("/a", kSharedTwice), Open("/b", kSharedTwice),
                                                  Open("/c")};
  EXPECT_FALSE((all[0]->Wait(), all[0]->end.ok()));
  EXPECT_EQ(all[0]->body, "hal");
  EXPECT_EQ(all[1]->Wait(), "1 /b");
  EXPECT_FALSE((all[2]->Wait(), all[2]->end.ok()));
}

TEST_F(Http2ClientScriptTest, LeavesAConnectionThatIsDead) {
  Serve(
      [](FramePeer& peer) {
        peer.Next();
        EXPECT_EQ(peer.Next().id, 0);
        EXPECT_EQ(peer.pings, 1);
      },
      {.http2_silence = std::chrono::milliseconds(100)});
  AwaitHttp2();
  EXPECT_EQ(Ask("/a"), "the server is silent");
}

TEST_F(Http2ClientScriptTest, WaitsForAServerThatLives) {
  Serve(
      [](FramePeer& peer) {
        peer.answers_pings = true;
        const int32_t id = peer.Next().id;
        peer.Next();
        EXPECT_EQ(peer.pings, 3);
        peer.Answer(id, "late");
        peer.Echo();
      },
      {.http2_silence = std::chrono::milliseconds(20)});
  AwaitHttp2();
  EXPECT_EQ(Ask("/a"), "late");
}

TEST_F(Http2ClientScriptTest, AsksAgainWhoDidNotTakeHttp2) {
  std::atomic<int> asked = 0;
  Serve([&](FramePeer&) { ++asked; }, {.http2_retry = std::chrono::milliseconds(1)});
  while (asked < 3) EXPECT_EQ(Ask("/a"), "1 /a");
}

TEST_F(Http2ClientScriptTest, LetsAServerBeThatDidNotTakeHttp2) {
  std::atomic<int> asked = 0;
  Serve([&](FramePeer& peer) {
    ++asked;
    peer.Send("HTTP/1.1 400 Bad Request\r\n\r\n");
  });
  while (asked == 0) EXPECT_EQ(Ask("/a"), "1 /a");
  for (int i = 0; i < 100; ++i) EXPECT_EQ(Ask("/a"), "1 /a");
  EXPECT_EQ(asked, 1);
}

TEST_F(Http2ClientScriptTest, NobodyWaitsForAServerThatSaysNothing) {
  Serve([](FramePeer& peer) { peer.AwaitClose(); });
  for (int i = 0; i < 10; ++i) EXPECT_EQ(Ask("/a"), "1 /a");
}

/// What a server sends in place of an answer on stream `id`.
class Http2HostileServerTest : public Http2ClientScriptTest,
                               public ::testing::WithParamInterface<std::string (*)(int32_t id)> {};

TEST_P(Http2HostileServerTest, BreaksItsOwnConnectionAlone) {
  Serve([](FramePeer& peer) {
    const int32_t id = peer.Next().id;
    if (id == 0) return;
    const std::string answer = GetParam()(id);
    peer.Send(answer);
    peer.Echo();
  });
  AwaitHttp2();
  const auto broken = Open("/a", {.deadline = SystemClock().Now() + kLong, .multiplexed = true});
  EXPECT_NE(broken->Wait(), "context deadline exceeded");
  EXPECT_FALSE(broken->end.ok());
  EXPECT_THAT(Ask("/b"), HasSubstr(" /b"));
}

std::string Repeated(int times, const std::string& text) {
  std::string all;
  while (times-- > 0) all += text;
  return all;
}

INSTANTIATE_TEST_SUITE_P(
    Answers, Http2HostileServerTest,
    ::testing::Values(
        [](int32_t) { return std::string("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"); },
        [](int32_t) { return std::string(1000, '\xff'); },
        [](int32_t id) { return Frame(NGHTTP2_DATA, 0, id, "a body without a head"); },
        [](int32_t id) { return Head(id, "\xff\xff\xff\xff"); },
        [](int32_t id) {
          return Head(id, std::string("\x00\x07:status\x03"
                                      "2x0",
                                      13));
        },
        [](int32_t id) { return Head(id, std::string("\x00\x01x\x01y", 5)) + End(id); },
        [](int32_t id) { return Repeated(20, Head(id, kInterim)); },
        // ":status: 099"
        [](int32_t id) {
          return Head(id,
                      "\x08\x03"
                      "099") +
                 End(id);
        },
        // Headers without an end.
        [](int32_t id) {
          const std::string field = std::string("\x00\x01x\x7f\x81\x7e", 6) + std::string(16384, 'v');
          return Head(id, kOk) + Repeated(20, Head(id, field));
        },
        [](int32_t id) {
          return Head(id, kOk, 0) + Repeated(100'000, Frame(NGHTTP2_CONTINUATION, 0, id, ""));
        },
        // A length that is not the body's: "content-length: 5".
        [](int32_t id) {
          return Head(id, kOk + std::string("\x0f\x0d\x01"
                                            "5",
                                            4)) +
                 End(id, "four");
        },
        [](int32_t id) { return Head(id) + Frame(NGHTTP2_DATA, 0, id, std::string(70'000, 'x')); },
        [](int32_t id) {
          return Frame(NGHTTP2_PUSH_PROMISE, NGHTTP2_FLAG_END_HEADERS, id, Number(2, 4) + kOk);
        },
        [](int32_t id) { return Frame(NGHTTP2_RST_STREAM, 0, id, Number(NGHTTP2_INTERNAL_ERROR, 4)); },
        [](int32_t id) { return Head(id, kOk) + Frame(NGHTTP2_RST_STREAM, 0, id, Number(0, 4)); }));

}  // namespace
}  // namespace kvorum::http
