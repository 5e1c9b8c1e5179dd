#include "http/server.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "http/session_driver.h"

namespace kvorum::http {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

/// A blocking client socket.
class Socket {
 public:
  explicit Socket(const std::string& address) {
    if (address.starts_with('/')) {
      sockaddr_un to{};
      to.sun_family = AF_UNIX;
      std::memcpy(to.sun_path, address.data(), address.size());
      fd_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
      connected_ = ::connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0;
    } else {
      sockaddr_in to{};
      to.sin_family = AF_INET;
      to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      to.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))));
      fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      connected_ = ::connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0;
    }
    timeval limit{.tv_sec = 20, .tv_usec = 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  }
  ~Socket() { ::close(fd_); }

  bool connected() const { return connected_; }
  void Send(std::string_view data) {
    while (!data.empty()) {
      const ssize_t n = ::send(fd_, data.data(), data.size(), MSG_NOSIGNAL);
      if (n <= 0) return;
      data.remove_prefix(static_cast<size_t>(n));
    }
  }
  /// Reads until `end` was received; everything up to the end of the stream where that never comes.
  std::string ReadUntil(std::string_view end) {
    std::string got;
    char byte[4096];
    while (!got.ends_with(end) || end.empty()) {
      const ssize_t n = ::recv(fd_, byte, end.empty() ? sizeof byte : 1, 0);
      if (n <= 0) break;
      got.append(byte, static_cast<size_t>(n));
    }
    return got;
  }
  /// True when the server closed the connection within the limit.
  bool IsClosed() {
    char bytes[4096];
    ssize_t n;
    while ((n = ::recv(fd_, bytes, sizeof bytes, 0)) > 0) {
    }
    return n == 0 || errno == ECONNRESET;
  }
  int fd() const { return fd_; }

 private:
  int fd_;
  bool connected_ = false;
};

class HttpServerTest : public ::testing::Test {
 protected:
  HttpServerTest() { options_.handler = &handler_; }
  ~HttpServerTest() override {
    server_.reset();
    if (!directory_.empty()) ::rmdir(directory_.c_str());
  }

  Server& server() {
    if (!server_) server_.emplace(&loops_, options_);
    return *server_;
  }
  std::string Serve(const std::string& url = "http://127.0.0.1:0") {
    auto address = server().Listen({url});
    EXPECT_TRUE(address.ok()) << address.status();
    server().Start();
    return address.value_or("");
  }
  std::string directory() {
    if (directory_.empty()) {
      directory_ = ::testing::TempDir() + "httpXXXXXX";
      EXPECT_NE(mkdtemp(directory_.data()), nullptr);
    }
    return directory_;
  }
  template <typename Condition>
  static bool Within(std::chrono::seconds limit, Condition condition) {
    const auto end = std::chrono::steady_clock::now() + limit;
    while (!condition()) {
      if (std::chrono::steady_clock::now() > end) return false;
      std::this_thread::yield();
    }
    return true;
  }
  static constexpr const char* kHello = "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";

  TestHandler handler_;
  ServerOptions options_;
  LoopGroup loops_{1, "test"};
  std::optional<Server> server_;
  std::string directory_;
};

std::string Shell(const std::string& command) {
  std::string out;
  FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  char buffer[4096];
  while (const size_t n = ::fread(buffer, 1, sizeof buffer, pipe)) out.append(buffer, n);
  const int status = ::pclose(pipe);
  return status == 0 ? out : out + "\nexit status " + std::to_string(status);
}

TEST_F(HttpServerTest, ServesHttp1AndHttp2OnOnePort) {
  const std::string url = "http://" + Serve() + "/echo -d body -w ' %{http_version}'";
  EXPECT_EQ(Shell("curl -s --http1.1 " + url), "body 1.1");
  EXPECT_EQ(Shell("curl -s --http1.0 " + url), "body 1");
  EXPECT_EQ(Shell("curl -s --http2-prior-knowledge " + url), "body 2");
  // An upgrade is not served: the answer comes in HTTP/1.1.
  EXPECT_EQ(Shell("curl -s --http2 " + url), "body 1.1");
}

TEST_F(HttpServerTest, TellsTheProtocolFromBytesThatComeOneByOne) {
  const std::string address = Serve();
  Socket http1(address);
  for (const char c : std::string_view(kHello)) http1.Send({&c, 1});
  EXPECT_THAT(http1.ReadUntil("hello"), StartsWith("HTTP/1.1 200 OK"));
  Socket http2(address);
  for (const char c : std::string_view("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")) http2.Send({&c, 1});
  http2.Send(std::string_view("\0\0\0\4\0\0\0\0\0", 9));
  EXPECT_THAT(http2.ReadUntil(std::string_view("\0\0\0\4\1\0\0\0\0", 9)),
              ::testing::SizeIs(::testing::Gt(9u)));
}

TEST_F(HttpServerTest, WorksWithNghttpAndH2load) {
  const std::string address = Serve();
  EXPECT_EQ(Shell("nghttp http://" + address + "/hello"), "hello");
  EXPECT_THAT(Shell("h2load -n 2000 -c 4 -m 10 http://" + address + "/hello"),
              HasSubstr("2000 done, 2000 succeeded, 0 failed"));
  EXPECT_THAT(Shell("h2load --h1 -n 2000 -c 4 -m 10 http://" + address + "/hello"),
              HasSubstr("2000 done, 2000 succeeded, 0 failed"));
}

TEST_F(HttpServerTest, ListensOnSeveralAddresses) {
  const auto tcp = server().Listen({"http://127.0.0.1:0"});
  const auto any = server().Listen({"http://:0"});
  const auto file = server().Listen({"unix://" + directory() + "/socket"});
  ASSERT_TRUE(tcp.ok() && any.ok() && file.ok());
  EXPECT_THAT(*any, ::testing::AnyOf(StartsWith("[::]:"), StartsWith("0.0.0.0:")));
  server().Start();
  for (const std::string& address : {*tcp, *any, *file}) {
    Socket socket(address);
    socket.Send(kHello);
    EXPECT_THAT(socket.ReadUntil("hello"), EndsWith("hello")) << address;
  }
  EXPECT_EQ(handler_.last_remote, "@");
}

TEST_F(HttpServerTest, SaysThatAPortIsBusyAsGoDoes) {
  const std::string address = Serve();
  Server second(&loops_, {});
  EXPECT_EQ(second.Listen({"http://" + address}).status().message(),
            "listen tcp " + address + ": bind: address already in use");
}

TEST_F(HttpServerTest, RefusesWhatItCannotListenOn) {
  EXPECT_EQ(server().Listen({"https://127.0.0.1:0"}).status().message(),
            "cannot listen on https://127.0.0.1:0: there is no certificate");
  EXPECT_EQ(server().Listen({"unix://" + directory() + "/no/such"}).status().message(),
            "listen unix " + directory() + "/no/such: bind: no such file or directory");
  EXPECT_EQ(server().Listen({"http://192.0.2.1:0"}).status().message(),
            "listen tcp 192.0.2.1:0: bind: cannot assign requested address");
  EXPECT_EQ(server().Listen({"http://127.0.0.1"}).status().message(),
            "listen tcp: address 127.0.0.1: missing port in address");
}

TEST_F(HttpServerTest, ReplacesAStaleSocketButNotALiveOne) {
  const std::string path = directory() + "/socket";
  {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
    ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ::close(fd);  // the file stays
  }
  Serve("unix://" + path);
  Server second(&loops_, {});
  EXPECT_EQ(second.Listen({"unix://" + path}).status().message(),
            "listen unix " + path + ": bind: address already in use");
  EXPECT_TRUE(Socket(path).connected());
}

TEST_F(HttpServerTest, LeavesAFileAloneThatIsNoSocket) {
  const std::string path = directory() + "/file";
  std::ofstream(path) << "precious";
  EXPECT_THAT(std::string(server().Listen({"unix://" + path}).status().message()),
              EndsWith("bind: address already in use"));
  EXPECT_EQ(::unlink(path.c_str()), 0);
}

TEST_F(HttpServerTest, ShutdownClosesIdleConnectionsAndRefusesNewOnes) {
  const std::string address = Serve();
  Socket idle(address);
  idle.Send(kHello);
  idle.ReadUntil("hello");
  Socket silent(address);
  ASSERT_TRUE(Within(std::chrono::seconds(20), [&] { return server().connection_count() == 2; }));
  server().Shutdown(std::chrono::seconds(20));
  EXPECT_TRUE(idle.IsClosed());
  EXPECT_TRUE(silent.IsClosed());
  EXPECT_FALSE(Socket(address).connected());
  EXPECT_EQ(server().connection_count(), 0u);
}

TEST_F(HttpServerTest, ABrokenClientAbortsItsExchange) {
  const std::string address = Serve();
  {
    Socket socket(address);
    socket.Send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    ASSERT_TRUE(Within(std::chrono::seconds(20), [&] {
      bool held = false;
      RunOn(loops_.at(0), [&] { held = handler_.held != nullptr; });
      return held;
    }));
    const linger abort{.l_onoff = 1, .l_linger = 0};
    setsockopt(socket.fd(), SOL_SOCKET, SO_LINGER, &abort, sizeof abort);
  }
  EXPECT_TRUE(Within(std::chrono::seconds(20), [&] { return server().connection_count() == 0; }));
  RunOn(loops_.at(0), [&] { EXPECT_EQ(handler_.aborted, 1); });
}

TEST_F(HttpServerTest, ASlowClientIsClosedInTime) {
  options_.header_timeout = std::chrono::milliseconds(50);
  const std::string address = Serve();
  Socket nothing(address);
  Socket half_a_preface(address);
  half_a_preface.Send("PRI * HT");
  Socket half_a_request(address);
  half_a_request.Send("GET / HTTP/1.1\r\nHo");
  EXPECT_TRUE(nothing.IsClosed());
  EXPECT_TRUE(half_a_preface.IsClosed());
  EXPECT_TRUE(half_a_request.IsClosed());
}

TEST_F(HttpServerTest, HostileClientsAreClosedAndHarmNobody) {
  const std::string address = Serve();
  Socket good(address);
  const std::string preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  std::string settings;
  for (int i = 0; i < 200'000; ++i) settings += std::string_view("\0\0\0\4\0\0\0\0\0", 9);
  std::string pings;
  for (int i = 0; i < 10'000; ++i) pings += std::string_view("\0\0\10\6\0\0\0\0\0abcdefgh", 17);
  for (const std::string& attack :
       {std::string(100'000, '\xff'),
        std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11) + std::string(600, 'x'),
        "GET / HTTP/1.1\r\nX: " + std::string(1 << 20, 'x'), preface + std::string(100'000, '\xff'),
        preface + settings, preface + pings}) {
    Socket bad(address);
    std::thread sender([&] { bad.Send(attack); });
    EXPECT_TRUE(bad.IsClosed()) << attack.substr(0, 30);
    sender.join();
    good.Send(kHello);
    EXPECT_THAT(good.ReadUntil("hello"), EndsWith("hello"));
  }
}

TEST_F(HttpServerTest, AnAnswerOfManyMegabytesArrives) {
  const std::string address = Serve();
  Socket socket(address);
  socket.Send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
  ASSERT_TRUE(Within(std::chrono::seconds(20), [&] {
    bool held = false;
    RunOn(loops_.at(0), [&] { held = handler_.held != nullptr; });
    return held;
  }));
  RunOn(loops_.at(0), [&] {
    handler_.held->Reply(200, {{"connection", "close"}}, std::string(30 << 20, 'x') + "end");
  });
  const std::string got = socket.ReadUntil("");
  EXPECT_GT(got.size(), size_t{30 << 20});
  EXPECT_THAT(got.substr(got.size() - 10), EndsWith("end"));
}

TEST_F(HttpServerTest, GoesOnWhenDescriptorsRunOutAndComeBack) {
  const std::string address = Serve();
  rlimit old;
  getrlimit(RLIMIT_NOFILE, &old);
  const int last = ::dup(0);
  rlimit tight = old;
  tight.rlim_cur = static_cast<rlim_t>(last + 1);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &tight), 0);
  ::close(last);
  Socket client(address);  // takes the last one: the backlog has the connection, but accept fails
  ASSERT_TRUE(client.connected());
  client.Send(kHello);
  pollfd readable{.fd = client.fd(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&readable, 1, 100), 0);
  EXPECT_EQ(server().connection_count(), 0u);
  setrlimit(RLIMIT_NOFILE, &old);
  EXPECT_THAT(client.ReadUntil("hello"), EndsWith("hello"));
}

}  // namespace
}  // namespace kvorum::http
