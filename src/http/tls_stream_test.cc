#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <optional>

#include "http/stream_end.h"
#include "http/test_certificates.h"
#include "http/tls.h"
#include "rapidcheck.h"

namespace kvorum::http {
namespace {

/// A client and a server, joined by a pair of sockets.
class Pair {
 public:
  explicit Pair(const TestCertificates& files, int buffer_bytes = 0) {
    int fds[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    for (int i = 0; i < 2; ++i) {
      if (buffer_bytes > 0) setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &buffer_bytes, sizeof buffer_bytes);
      raw_[i] = ::dup(fds[i]);
    }
    const auto client_tls = TlsContext::ForClient({.trusted_ca_file = files / "ca.pem"}).value();
    const auto server_tls =
        TlsContext::ForServer({.cert_file = files / "server.pem", .key_file = files / "server.key"}).value();
    RunOn(loop_, [&] {
      client->Open(NewTlsClientStream(loop_, NewSocketStream(loop_, fds[0]), client_tls, "localhost"));
      server->Open(NewTlsServerStream(loop_, NewSocketStream(loop_, fds[1]), server_tls));
    });
  }
  ~Pair() {
    client->Close();
    server->Close();
    for (const int fd : raw_) ::close(fd);
    RunOn(loop_, [&] {
      client->Open(nullptr);
      server->Open(nullptr);
    });
  }

  /// Puts bytes between those that the client sends, as somebody on the way could.
  void Inject(std::string_view bytes) {
    EXPECT_EQ(::send(raw_[0], bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
  }
  /// Ends what the client sends as somebody on the way could.
  void Cut() { ::shutdown(raw_[0], SHUT_WR); }

 private:
  Loop loop_{"pair"};
  int raw_[2];

 public:
  const std::shared_ptr<End> client = std::make_shared<End>(loop_);
  const std::shared_ptr<End> server = std::make_shared<End>(loop_);
};

class TlsStreamTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    files_ = new TestCertificates;
    files_->Make("server", "DNS:localhost");
  }
  static void TearDownTestSuite() { delete files_; }
  static std::string Bytes(size_t size) {
    std::string bytes(size, '\0');
    for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 31 / 7);
    return bytes;
  }

  static TestCertificates* files_;
};

TestCertificates* TlsStreamTest::files_ = nullptr;

TEST_F(TlsStreamTest, CarriesBytesBothWays) {
  Pair pair(*files_);
  pair.server->StartReading();
  pair.client->StartReading();
  pair.client->Send("ping");
  EXPECT_EQ(pair.server->AwaitBytes(4), "ping");
  pair.server->Send("pong");
  EXPECT_EQ(pair.client->AwaitBytes(4), "pong");
}

TEST_F(TlsStreamTest, ATurnedDirectionLeavesTheOther) {
  Pair pair(*files_);
  pair.server->StartReading();
  pair.client->StartReading();
  pair.client->Send("question");
  EXPECT_EQ(pair.server->AwaitBytes(8), "question");
  pair.client->CloseWrite();
  EXPECT_EQ(pair.server->AwaitEnd(), "end");
  const std::string answer = Bytes(3 << 20);
  pair.server->Send(answer);
  EXPECT_TRUE(pair.client->AwaitBytes(answer.size()) == answer);
  pair.server->CloseWrite();
  EXPECT_EQ(pair.client->AwaitEnd(), "end");
}

TEST_F(TlsStreamTest, AnEndThatNobodyAnnouncedIsNone) {
  Pair pair(*files_);
  pair.server->StartReading();
  pair.client->StartReading();
  pair.client->Send("half of");
  EXPECT_EQ(pair.server->AwaitBytes(7), "half of");
  pair.Cut();
  EXPECT_EQ(pair.server->AwaitEnd(), "broken");
  EXPECT_EQ(pair.server->error(), "unexpected EOF");
}

TEST_F(TlsStreamTest, BothSidesSayThatARecordIsForged) {
  Pair pair(*files_);
  pair.server->StartReading();
  pair.client->StartReading();
  pair.client->Send("true");
  EXPECT_EQ(pair.server->AwaitBytes(4), "true");
  pair.Inject(std::string_view("\x17\x03\x03\0\x20", 5));
  pair.Inject(std::string(32, 'x'));
  EXPECT_EQ(pair.server->AwaitEnd(), "broken");
  EXPECT_EQ(pair.server->error(), "local error: tls: bad record MAC");
  EXPECT_EQ(pair.client->AwaitEnd(), "broken");
  EXPECT_EQ(pair.client->error(), "remote error: tls: bad record MAC");
}

TEST_F(TlsStreamTest, WhatWasTakenArrivesAfterClose) {
  Pair pair(*files_, /*buffer_bytes=*/4096);
  pair.server->StartReading();
  pair.client->Send("go");
  pair.server->AwaitBytes(2);
  const std::string answer = Bytes(1 << 20);
  pair.server->Send(answer);
  pair.server->AwaitBlocked();
  const size_t taken = pair.server->Close();
  ASSERT_GT(taken, 0u);
  pair.client->StartReading();
  EXPECT_EQ(pair.client->AwaitEnd(), "end");
  EXPECT_TRUE(pair.client->received() == answer.substr(0, taken));
}

TEST_F(TlsStreamTest, ACloseEndsWhatIsUnderWay) {
  Pair pair(*files_);
  pair.server->StartReading();
  pair.client->StartReading();
  pair.client->Send("a");
  pair.server->AwaitBytes(1);
  pair.client->Close();
  EXPECT_EQ(pair.client->AwaitEnd(), "broken");
  EXPECT_EQ(pair.server->AwaitEnd(), "end");
}

TEST_F(TlsStreamTest, WaitsForBytesAndNotForWhatTheProtocolSays) {
  Pair pair(*files_);
  pair.client->StartReading();
  pair.server->StartReading(/*buffer_size=*/1);
  pair.client->Send("ab");
  EXPECT_EQ(pair.server->AwaitBytes(2), "ab");
  EXPECT_FALSE(pair.client->readable());
  Pair other(*files_);
  other.server->StartReading();
  other.client->StartWaiting();
  other.client->Send("x");
  other.server->AwaitBytes(1);  // the handshake's messages are behind us
  EXPECT_FALSE(other.client->readable());
  other.server->Send("y");
  other.client->AwaitReadable();
  other.client->StartReading();
  EXPECT_EQ(other.client->AwaitBytes(1), "y");
  other.server->CloseWrite();
  EXPECT_EQ(other.client->AwaitEnd(), "end");
}

TEST_F(TlsStreamTest, DeliversWhateverTheSizes) {
  EXPECT_TRUE(rc::check("what is sent arrives", [] {
    const auto buffer = *rc::gen::inRange<size_t>(1, 70'000);
    const auto sizes =
        *rc::gen::resize(10, rc::gen::container<std::vector<size_t>>(rc::gen::inRange(1, 100'000)));
    Pair pair(*files_, *rc::gen::element(0, 4096));
    pair.server->StartReading(buffer);
    pair.client->StartReading(buffer);
    std::string sent;
    for (const size_t size : sizes) {
      const std::string piece = Bytes(size);
      pair.client->Send(piece);
      pair.server->Send(piece);
      sent += piece;
    }
    RC_ASSERT(pair.server->AwaitBytes(sent.size()) == sent);
    RC_ASSERT(pair.client->AwaitBytes(sent.size()) == sent);
  }));
}

}  // namespace
}  // namespace kvorum::http
