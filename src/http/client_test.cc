#include "http/client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "http/raw_server.h"
#include "http/session_driver.h"

namespace kvorum::http {
namespace {

using ::testing::HasSubstr;

constexpr auto kLong = std::chrono::seconds(20);

/// Each connection in its turn is answered by `script`, which gets its socket.
class RawServer {
 public:
  explicit RawServer(std::function<void(int fd)> script)
      : listener_([this, script = std::move(script)](int fd) {
          ++connections;
          script(fd);
          ::close(fd);
        }) {}

  std::string Url(std::string_view path = "/") const { return fmt::format("http://{}{}", address(), path); }
  const std::string& address() const { return listener_.address(); }

  /// Waits until the client is gone.
  static void AwaitClose(int fd) { ReadUntil(fd, "never"); }

  std::atomic<int> connections = 0;

 private:
  RawListener listener_;
};

/// A script that answers one request with these bytes and closes.
std::function<void(int)> Answer(std::string bytes) {
  return [bytes = std::move(bytes)](int fd) {
    ReadRequest(fd);
    Send(fd, bytes);
  };
}

class ClientTest : public ::testing::Test {
 protected:
  ClientTest() {
    options_.handler = &handler_;
    server_ = std::make_unique<Server>(&loops_, options_);
    address_ = server_->Listen({"http://127.0.0.1:0"}).value();
    server_->Start();
  }
  ~ClientTest() override { client_.Stop(); }

  std::string Url(std::string_view path) const { return fmt::format("http://{}{}", address_, path); }

  absl::StatusOr<ClientResponse> Call(ClientRequest request, std::chrono::nanoseconds limit = kLong) {
    absl::StatusOr<ClientResponse> result;
    absl::Notification done;
    client_.Call(std::move(request), SystemClock().Now() + limit, [&](absl::StatusOr<ClientResponse> got) {
      EXPECT_TRUE(loop_.InThread());
      result = std::move(got);
      done.Notify();
    });
    done.WaitForNotification();
    return result;
  }
  absl::StatusOr<ClientResponse> Get(std::string url) { return Call({.url = std::move(url)}); }

  LoopGroup loops_{1};
  TestHandler handler_;
  ServerOptions options_;
  std::unique_ptr<Server> server_;
  std::string address_;
  Loop loop_{"client"};
  Client client_{&loop_, {.max_response_bytes = 2 << 20}};
};

TEST_F(ClientTest, ExchangesARequest) {
  const ClientResponse response = Get(Url("/hello?a=b")).value();
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, "hello");
  EXPECT_EQ(*response.Find("content-type"), "text/plain");
  EXPECT_EQ(response.Find("none"), nullptr);
  RunOn(loops_.at(0), [&] { EXPECT_EQ(handler_.last_query, "a=b"); });
}

TEST_F(ClientTest, SendsABody) {
  const std::string body(1 << 20, 'x');
  EXPECT_EQ(Call({.method = "POST", .url = Url("/echo"), .body = body}).value().body, body);
}

TEST_F(ClientTest, ReadsChunksAndStatus) {
  EXPECT_EQ(Get(Url("/chunks")).value().body, "onetwo");
  EXPECT_EQ(Get(Url("/head")).value().status, 204);
  EXPECT_EQ(Get(Url("/none")).value().status, 404);
}

TEST_F(ClientTest, KeepsAConnection) {
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(Get(Url("/hello")).ok());
  EXPECT_EQ(server_->connection_count(), 1u);
}

TEST_F(ClientTest, KeepsNoMoreIdleConnectionsThanItMay) {
  std::atomic<int> left = 16;
  absl::Notification done;
  for (int i = 0; i < 16; ++i) {
    client_.Call({.url = Url("/hello")}, SystemClock().Now() + kLong,
                 [&](absl::StatusOr<ClientResponse> got) {
                   EXPECT_TRUE(got.ok());
                   if (--left == 0) done.Notify();
                 });
  }
  done.WaitForNotification();
  while (server_->connection_count() > 4) std::this_thread::yield();
}

TEST_F(ClientTest, SaysWhyItCannotConnect) {
  std::string address;
  {
    RawServer gone([](int) {});
    address = gone.address();
  }
  const absl::Status status = Get("http://" + address + "/").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(status.message(), fmt::format("dial tcp {}: connect: connection refused", address));
}

TEST_F(ClientTest, AsksAProxyForTheWholeUrl) {
  RawServer proxy([](int fd) {
    for (int i = 0; i < 2; ++i) {
      const std::string head = ReadRequest(fd);
      Send(fd, fmt::format("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", head.size(), head));
    }
  });
  const std::string proxy_url = "http://" + proxy.address();
  for (const char* host : {"a.test", "b.test:81"}) {
    const ClientResponse response =
        Call({.url = fmt::format("http://{}/x?y=z", host), .proxy = proxy_url}).value();
    EXPECT_EQ(response.body, fmt::format("GET http://{0}/x?y=z HTTP/1.1\r\nhost: {0}\r\n\r\n", host));
  }
  EXPECT_EQ(proxy.connections, 1);  // kept for both
  EXPECT_EQ(Call({.url = Url("/hello"), .proxy = "http://127.0.0.1:1"}).status().message(),
            "proxyconnect tcp: dial tcp 127.0.0.1:1: connect: connection refused");
  client_.Stop();  // or the kept connection holds the proxy
}

TEST_F(ClientTest, SaysWhyAProxyOpensNoTunnel) {
  const auto refusal = [this](std::string answer) {
    RawServer proxy([&](int fd) {
      const std::string head = ReadRequest(fd);
      EXPECT_EQ(head, "CONNECT a.test:443 HTTP/1.1\r\nhost: a.test:443\r\n\r\n");
      Send(fd, answer);
    });
    const absl::Status status =
        Call({.url = "https://a.test/x", .proxy = "http://" + proxy.address()}).status();
    EXPECT_TRUE(absl::IsUnavailable(status));
    return std::string(status.message());
  };
  EXPECT_EQ(refusal("HTTP/1.1 403 Forbidden\r\nA: b\r\n\r\n"),
            "proxyconnect tcp: the proxy answers 403 Forbidden");
  EXPECT_EQ(refusal(""), "proxyconnect tcp: EOF");
  EXPECT_EQ(refusal("SSH-2.0\r\n\r\n"), "proxyconnect tcp: malformed HTTP response");
  EXPECT_EQ(refusal("HTTP/1.1 200 OK\r\n\r\nx"), "proxyconnect tcp: unexpected data behind the answer");
  EXPECT_EQ(refusal("HTTP/1.1 200 OK\r\n" + std::string(70 << 10, 'x')), "proxyconnect tcp: header too long");
}

TEST_F(ClientTest, RefusesWhatIsNoRequest) {
  EXPECT_EQ(Get("ftp://127.0.0.1:1/").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Call({.url = Url("/"), .headers = {{"a", "b\r\nc: d"}}}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(ClientTest, EndsAtTheDeadline) {
  const absl::Status status = Call({.url = Url("/hold")}, /*limit=*/std::chrono::milliseconds(50)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(ClientTest, FailsWhatIsUnderWayWhenStopped) {
  absl::Notification done;
  client_.Call({.url = Url("/hold")}, MonotonicTime::max(), [&](absl::StatusOr<ClientResponse> got) {
    EXPECT_EQ(got.status().code(), absl::StatusCode::kCancelled);
    done.Notify();
  });
  client_.Stop();
  EXPECT_TRUE(done.HasBeenNotified());
  EXPECT_EQ(Get(Url("/hello")).status().code(), absl::StatusCode::kCancelled);
}

TEST_F(ClientTest, RefusesAResponseThatIsTooLong) {
  RawServer server([](int fd) {
    ReadRequest(fd);
    Send(fd, "HTTP/1.1 200 OK\r\n\r\n");
    while (Send(fd, std::string(64 << 10, 'x'))) {
    }
  });
  EXPECT_EQ(Get(server.Url()).status().code(), absl::StatusCode::kResourceExhausted);
}

TEST_F(ClientTest, RepeatsAGetThatMetAClosingConnection) {
  std::atomic<int> n = 0;
  RawServer server([&](int fd) {
    ReadRequest(fd);
    Send(fd, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    if (++n == 1) ReadRequest(fd);  // takes the second and closes without a word
  });
  EXPECT_EQ(Get(server.Url()).value().body, "ok");
  EXPECT_EQ(Get(server.Url()).value().body, "ok");
  EXPECT_EQ(server.connections, 2);
}

TEST_F(ClientTest, DoesNotRepeatAPost) {
  RawServer server([&](int fd) {
    ReadRequest(fd);
    Send(fd, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    ReadRequest(fd);
  });
  EXPECT_EQ(Get(server.Url()).value().body, "ok");
  EXPECT_EQ(Call({.method = "POST", .url = server.Url()}).status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(ClientTest, ReadsABodyThatEndsWithTheConnection) {
  RawServer server(Answer("HTTP/1.0 200 OK\r\n\r\nall of it"));
  EXPECT_EQ(Get(server.Url()).value().body, "all of it");
}

TEST_F(ClientTest, SkipsInterimResponses) {
  RawServer server(
      Answer("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"
             "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"));
  EXPECT_EQ(Get(server.Url()).value().body, "ok");
}

TEST_F(ClientTest, ReadsWhatComesByteByByte) {
  RawServer server([](int fd) {
    ReadRequest(fd);
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, 1 /* TCP_NODELAY */, &on, sizeof on);
    for (const char c : std::string_view("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
                                         "1\r\na\r\n3;x=y\r\nbcd\r\n0\r\nt: u\r\n\r\n")) {
      Send(fd, std::string_view(&c, 1));
      std::this_thread::yield();
    }
  });
  EXPECT_EQ(Get(server.Url()).value().body, "abcd");
}

TEST_F(ClientTest, TakesNothingButHttp) {
  for (const char* bad : {"", "SSH-2.0-OpenSSH_9.2\r\n", "HTTP/1.1 004 Low\r\n\r\n",
                          "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabc",
                          "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
                          "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\na",
                          "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
                          "HTTP/1.1 101 Switching Protocols\r\n\r\n"}) {
    RawServer server(Answer(bad));
    EXPECT_EQ(Get(server.Url()).status().code(), absl::StatusCode::kUnavailable) << bad;
  }
}

TEST_F(ClientTest, BoundsWhatAServerMaySend) {
  for (const char* endless : {"x-a: b\r\n", "HTTP/1.1 100 Continue\r\n\r\n", "x"}) {
    RawServer server([endless](int fd) {
      ReadRequest(fd);
      Send(fd, endless[0] == 'H' ? "" : "HTTP/1.1 200 OK\r\n");
      while (Send(fd, endless)) {
      }
    });
    EXPECT_EQ(Get(server.Url()).status().code(), absl::StatusCode::kUnavailable) << endless;
  }
  RawServer extension([](int fd) {
    ReadRequest(fd);
    Send(fd, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;");
    while (Send(fd, "eeeeeeee")) {
    }
  });
  EXPECT_EQ(Get(extension.Url()).status().code(), absl::StatusCode::kUnavailable);
}

/// Records a response, and can be waited for.
class Recorder final : public ResponseSink {
 public:
  void OnHead(ClientResponse head) override {
    status = head.status;
    headed.Notify();
    if (on_head) on_head();
  }
  void OnData(std::string_view data) override {
    absl::MutexLock lock(&mutex);
    body.append(data);
  }
  void OnEnd(absl::Status status) override {
    end = std::move(status);
    ended.Notify();
  }
  size_t Size() {
    absl::MutexLock lock(&mutex);
    return body.size();
  }
  void AwaitBody(std::string_view wanted) {
    absl::MutexLock lock(&mutex);
    const auto there = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) { return body == wanted; };
    mutex.Await(absl::Condition(&there));
  }

  int status = 0;
  absl::Status end;
  absl::Notification headed;
  absl::Notification ended;
  std::function<void()> on_head;
  absl::Mutex mutex;
  std::string body;
};

/// `pieces` pieces of `size` bytes, each made on a thread of its own.
class Pieces final : public BodySource {
 public:
  Pieces(int pieces, size_t size) : left_(pieces), size_(size) {}
  void Pull(Piece piece) override {
    ++pulled;
    executor_.Post([this, piece = std::move(piece)]() mutable {
      if (left_-- == 0) return piece(fail ? absl::StatusOr<Bytes>(absl::DataLossError("bad page")) : Bytes());
      piece(Bytes::Copy(std::string(size_, 'p')));
    });
  }
  std::atomic<int> pulled = 0;
  bool fail = false;

 private:
  int left_;
  const size_t size_;
  Loop executor_{"pieces"};
};

class ClientStreamTest : public ClientTest {
 protected:
  void Open(ClientRequest request, const ExchangeOptions& options = {},
            std::shared_ptr<BodySource> source = nullptr) {
    RunOn(loop_, [&] { exchange_ = client_.Open(std::move(request), options, sink_, std::move(source)); });
  }
  const std::shared_ptr<Recorder> sink_ = std::make_shared<Recorder>();
  std::shared_ptr<Exchange> exchange_;
};

TEST_F(ClientStreamTest, GetsABodyAsItComes) {
  Open({.url = Url("/hold")});
  ResponseWriter* writer = nullptr;
  while (writer == nullptr) RunOn(loops_.at(0), [&] { writer = handler_.held; });
  RunOn(loops_.at(0), [&] { writer->SendHead(200, {}); });
  sink_->headed.WaitForNotification();
  RunOn(loops_.at(0), [&] { writer->Send("one"); });
  sink_->AwaitBody("one");
  RunOn(loops_.at(0), [&] { writer->Send("two"); });
  sink_->AwaitBody("onetwo");
  RunOn(loops_.at(0), [&] { writer->End(); });
  sink_->ended.WaitForNotification();
  EXPECT_TRUE(sink_->end.ok());
}

TEST_F(ClientStreamTest, ACancelledOneIsSilentAndCloses) {
  Open({.url = Url("/hold")});
  bool held = false;
  while (!held) RunOn(loops_.at(0), [&] { held = handler_.held != nullptr; });
  RunOn(loops_.at(0), [&] { handler_.held->SendHead(200, {}); });
  sink_->headed.WaitForNotification();
  RunOn(loop_, [&] { exchange_->Cancel(); });
  int aborted = 0;
  while (aborted == 0) {
    RunOn(loops_.at(0), [&] {
      if (handler_.held != nullptr) handler_.held->Send("more");
      aborted = handler_.aborted;
    });
  }
  EXPECT_FALSE(sink_->ended.HasBeenNotified());
}

TEST_F(ClientStreamTest, EndsWhenNothingComes) {
  RawServer server([](int fd) {
    ReadRequest(fd);
    Send(fd, "HTTP/1.1 200 OK\r\n\r\nsome");
    RawServer::AwaitClose(fd);
  });
  Open({.url = server.Url()}, {.read_timeout = std::chrono::milliseconds(50)});
  sink_->ended.WaitForNotification();
  EXPECT_EQ(sink_->end.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(sink_->body, "some");
}

TEST_F(ClientStreamTest, EndsWhenNoHeadComes) {
  Open({.url = Url("/hold")}, {.response_timeout = std::chrono::milliseconds(50)});
  sink_->ended.WaitForNotification();
  EXPECT_EQ(sink_->end.code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(ClientStreamTest, ReadsNothingWhileItIsPaused) {
  std::atomic<size_t> sent = 0;
  absl::Notification stalled;
  RawServer server([&](int fd) {
    ReadRequest(fd);
    Send(fd, "HTTP/1.1 200 OK\r\n\r\n");
    const int patience_ms = 1000;  // longer than the read timeout, which does not run
    const std::string piece(64 << 10, 'x');
    for (pollfd writable = {.fd = fd, .events = POLLOUT}; ::poll(&writable, 1, patience_ms) == 1;) {
      const ssize_t n = ::send(fd, piece.data(), piece.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n > 0) sent += static_cast<size_t>(n);
    }
    stalled.Notify();
  });
  sink_->on_head = [this] { exchange_->Pause(); };
  Open({.url = server.Url()}, {.read_timeout = std::chrono::milliseconds(400)});
  stalled.WaitForNotification();  // what the system holds is all that could be sent
  EXPECT_LE(sink_->Size(), 64u << 10);
  EXPECT_FALSE(sink_->ended.HasBeenNotified());
  RunOn(loop_, [&] { exchange_->Resume(); });
  sink_->ended.WaitForNotification();
  EXPECT_TRUE(sink_->end.ok()) << sink_->end;
  EXPECT_EQ(sink_->Size(), sent);
}

TEST_F(ClientStreamTest, RepeatsAnyRequestThatMetAClosingConnection) {
  std::atomic<int> n = 0;
  RawServer server([&](int fd) {
    ReadUntil(fd, "body");
    Send(fd, fmt::format("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{}", ++n));
    if (n == 1) ReadUntil(fd, "body");  // and closes, with a second request unanswered
  });
  const ClientRequest request = {.method = "PUT", .url = server.Url(), .body = "body"};
  EXPECT_EQ(Call(request).value().body, "1");
  Open(request, {.repeat = true});
  sink_->ended.WaitForNotification();
  EXPECT_TRUE(sink_->end.ok()) << sink_->end;
  EXPECT_EQ(sink_->body, "2");
}

TEST_F(ClientStreamTest, NamesTheHostThatItIsTold) {
  Open({.url = Url("/hello"), .host = "etcd.example:2379"});
  sink_->ended.WaitForNotification();
  RunOn(loops_.at(0), [&] { EXPECT_EQ(handler_.last_authority, "etcd.example:2379"); });
}

TEST_F(ClientStreamTest, UploadsFromASource) {
  RawServer server([](int fd) {
    ReadRequest(fd);
    const std::string body = ReadUntil(fd, "0\r\n\r\n");
    Send(fd, fmt::format("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n{:08}", body.size()));
  });
  Open({.method = "POST", .url = server.Url()}, {}, std::make_shared<Pieces>(10, 4096));
  sink_->ended.WaitForNotification();
  EXPECT_TRUE(sink_->end.ok()) << sink_->end;
  EXPECT_EQ(sink_->body, fmt::format("{:08}", 10 * (4096 + 8) + 5));
}

TEST_F(ClientStreamTest, PullsNoMoreThanTheServerTakes) {
  absl::Notification done;
  RawServer server([&](int fd) {
    ReadRequest(fd);
    done.WaitForNotification();
  });
  const auto source = std::make_shared<Pieces>(1 << 20, 64 << 10);
  Open({.method = "POST", .url = server.Url()}, {.write_timeout = std::chrono::milliseconds(100)}, source);
  sink_->ended.WaitForNotification();
  EXPECT_EQ(sink_->end.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_LT(source->pulled, 1000);
  done.Notify();
}

TEST_F(ClientStreamTest, BreaksOffWhenTheSourceFails) {
  const auto source = std::make_shared<Pieces>(2, 100);
  source->fail = true;
  Open({.method = "POST", .url = Url("/echo")}, {}, source);
  sink_->ended.WaitForNotification();
  EXPECT_EQ(sink_->end.code(), absl::StatusCode::kDataLoss);
}

TEST_F(ClientStreamTest, TellsAnAnswerThatCameBeforeTheBodyEnded) {
  RawServer server([](int fd) {
    ReadRequest(fd);
    Send(fd, "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno");
  });
  Open({.method = "POST", .url = server.Url()}, {}, std::make_shared<Pieces>(1 << 20, 1024));
  sink_->ended.WaitForNotification();
  EXPECT_TRUE(sink_->end.ok()) << sink_->end;
  EXPECT_EQ(sink_->status, 403);
}

}  // namespace
}  // namespace kvorum::http
