#include "proxy/tcp/gateway.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "absl/strings/match.h"
#include "absl/synchronization/mutex.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace kvorum::proxy_tcp {
namespace {

constexpr std::chrono::seconds kPatience{60};

/// A connected or listening socket whose operations give up after a minute.
class Socket {
 public:
  explicit Socket(int fd) : fd_(fd) {
    const timeval limit{.tv_sec = kPatience.count(), .tv_usec = 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  }
  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  ~Socket() { Close(); }

  static Socket Connect(const std::string& address) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))));
    Socket socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(connect(socket.fd_, reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
    return socket;
  }

  void Send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      ASSERT_GT(sent, 0);
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
  }
  /// Sends until nothing is taken for a while; how much was.
  size_t SendUntilHeldBack() {
    const std::string chunk(64 << 10, 'x');
    fcntl(fd_, F_SETFL, O_NONBLOCK);
    size_t total = 0;
    pollfd writable{.fd = fd_, .events = POLLOUT, .revents = 0};
    while (poll(&writable, 1, 500) == 1) {
      const ssize_t sent = send(fd_, chunk.data(), chunk.size(), MSG_NOSIGNAL);
      if (sent > 0) total += static_cast<size_t>(sent);
    }
    fcntl(fd_, F_SETFL, 0);
    return total;
  }
  std::string Receive(size_t size) {
    std::string bytes(size, '\0');
    const ssize_t got = recv(fd_, bytes.data(), size, MSG_WAITALL);
    bytes.resize(got < 0 ? 0 : static_cast<size_t>(got));
    return bytes;
  }
  /// Everything up to the end.
  std::string ReceiveAll() {
    std::string all;
    char bytes[16 << 10];
    for (ssize_t got; (got = recv(fd_, bytes, sizeof bytes, 0)) > 0;)
      all.append(bytes, static_cast<size_t>(got));
    return all;
  }
  bool HasInput(int milliseconds) {
    pollfd readable{.fd = fd_, .events = POLLIN, .revents = 0};
    return poll(&readable, 1, milliseconds) == 1;
  }
  void EndSending() { shutdown(fd_, SHUT_WR); }
  void Reset() {
    const linger now{.l_onoff = 1, .l_linger = 0};
    setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    Close();
  }
  void Close() {
    if (fd_ >= 0) close(std::exchange(fd_, -1));
  }
  int fd() const { return fd_; }

 private:
  int fd_;
};

/// A server that the test plays itself. It has its port from the start, and listens where asked to.
class Server {
 public:
  Server() : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(bind(listener_.fd(), reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
    socklen_t size = sizeof at;
    getsockname(listener_.fd(), reinterpret_cast<sockaddr*>(&at), &size);
    port_ = ntohs(at.sin_port);
  }
  Server& Listen() {
    EXPECT_EQ(listen(listener_.fd(), 1024), 0);
    return *this;
  }
  Socket Accept() { return Socket(accept4(listener_.fd(), nullptr, nullptr, SOCK_CLOEXEC)); }
  bool HasClient(int milliseconds) { return listener_.HasInput(milliseconds); }
  Remote remote(uint16_t priority = 0) const {
    return {.address = fmt::format("127.0.0.1:{}", port_), .priority = priority, .weight = 0};
  }
  int port() const { return port_; }

 private:
  Socket listener_;
  int port_ = 0;
};

/// Keeps messages with their address.
class RecordingLogger final : public Logger {
 public:
  bool Enabled(LogLevel) const override { return true; }
  void Write(LogLevel, const char*, int, std::string_view message,
             std::initializer_list<LogField> fields) override {
    std::string line(message);
    for (const LogField& field : fields) line += fmt::format(" {}={}", field.key(), field.text());
    absl::MutexLock lock(&mutex_);
    lines_.push_back(line);
  }
  /// Waits for a line with this text.
  bool Has(const std::string& text) {
    absl::MutexLock lock(&mutex_);
    const auto found = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return std::any_of(lines_.begin(), lines_.end(),
                         [&](const std::string& line) { return absl::StrContains(line, text); });
    };
    return mutex_.AwaitWithTimeout(absl::Condition(&found), absl::FromChrono(kPatience));
  }

 private:
  absl::Mutex mutex_;
  std::vector<std::string> lines_ ABSL_GUARDED_BY(mutex_);
};

class GatewayTest : public ::testing::Test {
 protected:
  void Start(std::vector<Remote> remotes, size_t max_connections = 0) {
    absl::StatusOr<std::unique_ptr<Gateway>> gateway =
        Gateway::Start(&loops_, {.listen_address = "127.0.0.1:0",
                                 .remotes = std::move(remotes),
                                 .retry_delay = std::chrono::milliseconds(20),
                                 .max_connections = max_connections,
                                 .logger = &logger_});
    ASSERT_TRUE(gateway.ok()) << gateway.status();
    gateway_ = *std::move(gateway);
  }
  Socket Connect() { return Socket::Connect(gateway_->address()); }

  RecordingLogger logger_;
  http::LoopGroup loops_{2};
  std::unique_ptr<Gateway> gateway_;
};

std::string Bytes(size_t size) {
  std::string bytes(size, '\0');
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 2'654'435'761 >> 24);
  return bytes;
}

TEST_F(GatewayTest, CopiesBothWays) {
  Server server;
  Start({server.Listen().remote()});
  Socket client = Connect();
  Socket there = server.Accept();
  const std::string up = Bytes(3 << 20);
  const std::string down = Bytes(5 << 20);
  std::thread sender([&] { client.Send(up); });
  std::thread replier([&] { there.Send(down); });
  std::thread reader([&] { EXPECT_TRUE(there.Receive(up.size()) == up); });
  EXPECT_TRUE(client.Receive(down.size()) == down);
  sender.join();
  replier.join();
  reader.join();
  EXPECT_FALSE(client.HasInput(0));
}

TEST_F(GatewayTest, DeliversWhatWasSentBeforeTheEnd) {
  Server server;
  Start({server.Listen().remote()});
  const std::string bytes = Bytes(4 << 20);
  for (const bool client_ends : {true, false}) {
    Socket client = Connect();
    Socket there = server.Accept();
    Socket& from = client_ends ? client : there;
    Socket& to = client_ends ? there : client;
    std::thread sender([&] {
      from.Send(bytes);
      from.EndSending();
    });
    EXPECT_TRUE(to.ReceiveAll() == bytes);
    to.Send("the last word");
    to.Close();
    EXPECT_EQ(from.ReceiveAll(), "the last word");
    sender.join();
  }
}

TEST_F(GatewayTest, EndsBothSidesWhereOneBreaks) {
  Server server;
  Start({server.Listen().remote()});
  Socket client = Connect();
  Socket there = server.Accept();
  client.Send("x");
  EXPECT_EQ(there.Receive(1), "x");
  client.Reset();
  EXPECT_EQ(there.ReceiveAll(), "");
  Socket other = Connect();
  Socket other_there = server.Accept();
  other_there.Reset();
  EXPECT_EQ(other.ReceiveAll(), "");
}

TEST_F(GatewayTest, HoldsASenderBackWhoseReaderTakesNothing) {
  Server server;
  Start({server.Listen().remote()});
  Socket client = Connect();
  Socket there = server.Accept();
  const size_t taken = client.SendUntilHeldBack();
  EXPECT_LT(taken, size_t{64} << 20);  // the system's buffers, and one of ours
  // Another is served meanwhile, and the other direction too.
  Socket second = Connect();
  Socket second_there = server.Accept();
  second.Send("ping");
  EXPECT_EQ(second_there.Receive(4), "ping");
  there.Send("pong");
  EXPECT_EQ(client.Receive(4), "pong");
  EXPECT_EQ(there.Receive(taken), std::string(taken, 'x'));
  client.Send("more");
  EXPECT_EQ(there.Receive(4), "more");
}

TEST_F(GatewayTest, GoesOnToTheNextServerAndBackWhenTheFirstAnswersAgain) {
  Server first;  // does not listen
  Server second;
  Start({first.remote(1), second.Listen().remote(2)});
  Socket client = Connect();
  Socket there = second.Accept();
  client.Send("x");
  EXPECT_EQ(there.Receive(1), "x");
  EXPECT_TRUE(
      logger_.Has(fmt::format("deactivated endpoint address={} interval=20ms error=dial tcp {}: connect: "
                              "connection refused",
                              first.remote().address, first.remote().address)));
  EXPECT_TRUE(logger_.Has("failed to activate endpoint (stay inactive for another interval) address=" +
                          first.remote().address));
  first.Listen();
  EXPECT_TRUE(logger_.Has("activated address=" + first.remote().address));
  first.Accept();  // the test's own connection
  Socket later = Connect();
  Socket here = first.Accept();
  later.Send("y");
  EXPECT_EQ(here.Receive(1), "y");
}

TEST_F(GatewayTest, ClosesAClientThatNoServerIsThereFor) {
  Server first;
  Server second;
  Start({first.remote(), second.remote()});
  Socket client = Connect();
  EXPECT_EQ(client.ReceiveAll(), "");
  second.Listen();
  EXPECT_TRUE(logger_.Has("activated address=" + second.remote().address));
  second.Accept();
  Socket later = Connect();
  Socket there = second.Accept();
  there.Send("z");
  EXPECT_EQ(later.Receive(1), "z");
}

TEST_F(GatewayTest, LooksNamesUp) {
  Server server;
  server.Listen();
  Start({{.address = fmt::format("localhost:{}", server.port())}});
  Socket client = Connect();
  Socket there = server.Accept();
  there.Send("by name");
  EXPECT_EQ(client.Receive(7), "by name");
}

TEST_F(GatewayTest, TakesTurnsAmongServers) {
  Server servers[3];
  Start({servers[0].Listen().remote(), servers[1].Listen().remote(), servers[2].Listen().remote()});
  std::vector<Socket> clients;
  for (int i = 0; i < 9; ++i) clients.push_back(Connect());
  for (Server& server : servers) {
    for (int i = 0; i < 3; ++i) server.Accept();
    EXPECT_FALSE(server.HasClient(0));
  }
}

TEST_F(GatewayTest, LetsConnectionsBeyondTheLimitWait) {
  Server server;
  Start({server.Listen().remote()}, 2);
  Socket first = Connect();
  Socket second = Connect();
  Socket third = Connect();  // in the listener's queue
  server.Accept().Send("1");
  Socket there = server.Accept();
  EXPECT_TRUE(logger_.Has("too many connections; more wait until some end"));
  EXPECT_FALSE(server.HasClient(50));
  first.Close();
  second.Close();
  there.Close();
  Socket last = server.Accept();
  last.Send("at last");
  EXPECT_EQ(third.Receive(7), "at last");
}

TEST_F(GatewayTest, ServesAThousandAtATime) {
  Server server;
  Start({server.Listen().remote()});
  constexpr int kClients = 1000;
  std::vector<Socket> clients;
  std::vector<Socket> theirs;
  for (int i = 0; i < kClients; ++i) {
    clients.push_back(Connect());
    theirs.push_back(server.Accept());
    clients.back().Send(fmt::format("{:4}", i));
  }
  for (Socket& there : theirs) there.Send(there.Receive(4));
  for (int i = 0; i < kClients; ++i)
    EXPECT_EQ(clients[static_cast<size_t>(i)].Receive(4), fmt::format("{:4}", i));
}

TEST_F(GatewayTest, ClosesEverythingWhenItStops) {
  Server server;
  Start({server.Listen().remote()});
  Socket client = Connect();
  Socket there = server.Accept();
  there.Send("before the end");
  EXPECT_EQ(client.Receive(14), "before the end");
  gateway_->Stop();
  EXPECT_EQ(client.ReceiveAll(), "");
  EXPECT_EQ(there.ReceiveAll(), "");
  gateway_.reset();
}

TEST_F(GatewayTest, SaysWhereItCannotListen) {
  Server server;
  server.Listen();
  const auto gateway =
      Gateway::Start(&loops_, {.listen_address = server.remote().address, .remotes = {server.remote()}});
  EXPECT_EQ(gateway.status().message(),
            fmt::format("listen tcp {}: bind: address already in use", server.remote().address));
}

}  // namespace
}  // namespace kvorum::proxy_tcp
