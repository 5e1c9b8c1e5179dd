#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <optional>

#include "absl/synchronization/mutex.h"
#include "http/session_driver.h"
#include "http/test_certificates.h"
#include "http/tls.h"
#include "rapidcheck.h"

namespace kvorum::http {
namespace {

/// One end of a connection: sends what it is told to, and keeps what it reads.
class End final : public ByteStream::User, public std::enable_shared_from_this<End> {
 public:
  explicit End(Loop& loop) : loop_(loop) {}

  void Open(std::unique_ptr<ByteStream> stream) { stream_ = std::move(stream); }
  ByteStream& stream() { return *stream_; }

  void StartReading(size_t buffer_size = 10'000) {
    RunOn(loop_, [&] {
      buffer_.resize(buffer_size);
      stream_->Read(buffer_.data(), buffer_.size(), shared_from_this());
    });
  }
  void StartWaiting() {
    RunOn(loop_, [&] { stream_->WaitReadable(shared_from_this()); });
  }
  void Send(std::string data) {
    RunOn(loop_, [&] {
      output_ += data;
      if (!waiting_) Flush();
    });
  }
  void CloseWrite() {
    RunOn(loop_, [&] { stream_->CloseWrite(); });
  }
  /// What was not taken by then is lost.
  size_t Close() {
    size_t taken = 0;
    RunOn(loop_, [&] {
      taken = taken_;
      stream_->Close();
    });
    return taken;
  }
  std::string error() {
    std::string text;
    RunOn(loop_, [&] { text = stream_->error(); });
    return text;
  }

  void OnRead(size_t size, bool broken) override {
    absl::MutexLock lock(&mutex_);
    received_.append(buffer_.data(), size);
    if (size == 0) {
      end_ = broken ? "broken" : "end";
    } else {
      stream_->Read(buffer_.data(), buffer_.size(), shared_from_this());
    }
  }
  void OnReadable() override {
    absl::MutexLock lock(&mutex_);
    readable_ = true;
  }
  void OnWritable() override {
    waiting_ = false;
    Flush();
  }

  std::string AwaitBytes(size_t count) {
    return Await([this, count]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return received_.size() >= count; });
  }
  /// "end", "broken".
  std::string AwaitEnd() {
    Await([this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !end_.empty(); });
    absl::MutexLock lock(&mutex_);
    return end_;
  }
  void AwaitReadable() {
    Await([this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return readable_; });
  }
  void AwaitBlocked() {
    bool blocked = false;
    while (!blocked) RunOn(loop_, [&] { blocked = waiting_; });
  }
  bool readable() {
    absl::MutexLock lock(&mutex_);
    return readable_;
  }
  std::string received() {
    absl::MutexLock lock(&mutex_);
    return received_;
  }

 private:
  template <typename Condition>
  std::string Await(Condition condition) {
    absl::MutexLock lock(&mutex_);
    EXPECT_TRUE(mutex_.AwaitWithTimeout(absl::Condition(&condition), absl::Seconds(30)));
    return received_;
  }
  void Flush() {
    while (taken_ < output_.size()) {
      // Pieces of many sizes.
      iovec pieces[5];
      size_t at = taken_;
      int count = 0;
      for (const size_t size : {size_t{1}, size_t{300}, size_t{20'000}, size_t{7}, size_t{100'000}}) {
        const size_t n = std::min(size, output_.size() - at);
        if (n > 0) pieces[count++] = {.iov_base = output_.data() + at, .iov_len = n};
        at += n;
      }
      const ssize_t n = stream_->Write(pieces, count);
      if (n < 0) return;
      if (n == 0) {
        waiting_ = true;
        return stream_->WaitWritable(shared_from_this());
      }
      taken_ += static_cast<size_t>(n);
    }
  }

  Loop& loop_;
  // Of the loop.
  std::unique_ptr<ByteStream> stream_;
  std::string buffer_;
  std::string output_;
  size_t taken_ = 0;
  bool waiting_ = false;

  absl::Mutex mutex_;
  std::string received_ ABSL_GUARDED_BY(mutex_);
  std::string end_ ABSL_GUARDED_BY(mutex_);
  bool readable_ ABSL_GUARDED_BY(mutex_) = false;
};

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
