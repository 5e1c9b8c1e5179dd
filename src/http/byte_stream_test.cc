#include "http/byte_stream.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "http/stream_end.h"

namespace kvorum::http {
namespace {

/// The other side of a stream: a socket without a loop.
class Raw {
 public:
  explicit Raw(int fd) : fd_(fd) {}
  Raw(Raw&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  ~Raw() { Close(); }

  void Send(std::string_view bytes) const {
    while (!bytes.empty()) {
      const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      ASSERT_GT(n, 0);
      bytes.remove_prefix(static_cast<size_t>(n));
    }
  }
  std::string Receive(size_t count) const {
    std::string bytes(count, '\0');
    size_t got = 0;
    while (got < count) {
      const ssize_t n = ::recv(fd_, bytes.data() + got, count - got, 0);
      if (n <= 0) break;
      got += static_cast<size_t>(n);
    }
    bytes.resize(got);
    return bytes;
  }
  void EndInput() const { ::shutdown(fd_, SHUT_WR); }
  void Close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

 private:
  int fd_;
};

std::string Bytes(size_t size) {
  std::string bytes(size, '\0');
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 31 / 7);
  return bytes;
}

class ByteStreamTest : public ::testing::Test {
 protected:
  ~ByteStreamTest() override {
    if (!loop_) return;
    RunOn(*loop_, [&] { end_->Open(nullptr); });
  }

  std::pair<std::unique_ptr<ByteStream>, Raw> NewPair() {
    int fds[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    const int bytes = 4096;
    setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    std::unique_ptr<ByteStream> stream;
    RunOn(*loop_, [&] { stream = NewSocketStream(*loop_, fds[0]); });
    return {std::move(stream), Raw(fds[1])};
  }
  Raw Open() {
    auto [stream, raw] = NewPair();
    end_->Open(std::move(stream));
    return std::move(raw);
  }

  std::optional<Loop> loop_{std::in_place, "stream"};
  std::shared_ptr<End> end_ = std::make_shared<End>(*loop_);
};

TEST_F(ByteStreamTest, ReadsWhatIsLongerThanTheBuffer) {
  const Raw raw = Open();
  end_->StartReading(7);
  raw.Send(Bytes(100'000));
  raw.EndInput();
  EXPECT_EQ(end_->AwaitBytes(100'000), Bytes(100'000));
  EXPECT_EQ(end_->AwaitEnd(), "end");
}

TEST_F(ByteStreamTest, ReadsWhatCameBeforeItWasAsked) {
  const Raw raw = Open();
  raw.Send("early");
  RunOn(*loop_, [] {});  // the loop may have heard of it, or not yet
  end_->StartReading();
  EXPECT_EQ(end_->AwaitBytes(5), "early");
  raw.Send(" and late");
  EXPECT_EQ(end_->AwaitBytes(14), "early and late");
}

TEST_F(ByteStreamTest, FindsTheEndBehindTheBytesWhereBothWereToldAtOnce) {
  const Raw raw = Open();
  RunOn(*loop_, [&] {
    raw.Send("last");
    raw.EndInput();
  });
  end_->StartReading(1000);
  EXPECT_EQ(end_->AwaitEnd(), "end");
  EXPECT_EQ(end_->received(), "last");
}

TEST_F(ByteStreamTest, AConnectionThatWasResetIsBroken) {
  Raw raw = Open();
  end_->StartReading();
  end_->Send("never read");
  raw.Close();
  EXPECT_EQ(end_->AwaitEnd(), "broken");
}

TEST_F(ByteStreamTest, WaitingTakesNothing) {
  const Raw raw = Open();
  end_->StartWaiting();
  raw.Send("bytes");
  end_->AwaitReadable();
  // Whoever waits again without having read is told again.
  end_->StartWaiting();
  end_->AwaitReadable();
  end_->StartReading();
  EXPECT_EQ(end_->AwaitBytes(5), "bytes");
}

TEST_F(ByteStreamTest, WritesOnWhenTheOtherSideReads) {
  const Raw raw = Open();
  end_->Send(Bytes(1'000'000));
  end_->AwaitBlocked();
  EXPECT_EQ(raw.Receive(1'000'000), Bytes(1'000'000));
}

TEST_F(ByteStreamTest, ReadsWhileItWaitsToWrite) {
  const Raw raw = Open();
  end_->StartReading();
  end_->Send(Bytes(100'000));
  end_->AwaitBlocked();
  raw.Send("meanwhile");
  EXPECT_EQ(end_->AwaitBytes(9), "meanwhile");
  EXPECT_EQ(raw.Receive(100'000), Bytes(100'000));
}

TEST_F(ByteStreamTest, CloseEndsWhatIsUnderWay) {
  const Raw raw = Open();
  end_->StartReading();
  end_->Send(Bytes(100'000));
  end_->AwaitBlocked();
  end_->Close();
  EXPECT_EQ(end_->AwaitEnd(), "broken");
  EXPECT_LT(raw.Receive(100'000).size(), 100'000u);  // and the other side sees the end
}

TEST_F(ByteStreamTest, AReadBehindCloseIsBroken) {
  const Raw raw = Open();
  end_->Close();
  end_->StartReading();
  EXPECT_EQ(end_->AwaitEnd(), "broken");
}

TEST_F(ByteStreamTest, AReleasedSocketIsOpenAndItsBytesAreStillThere) {
  auto [stream, raw] = NewPair();
  raw.Send("kept");
  int fd = -1;
  RunOn(*loop_, [&, &stream = stream] {
    fd = stream->Release();
    stream.reset();
  });
  ASSERT_GE(fd, 0);
  const Raw released(fd);
  EXPECT_EQ(released.Receive(4), "kept");
  released.Send("back");
  EXPECT_EQ(raw.Receive(4), "back");
}

/// Destroys another stream where it is told of anything first.
struct Killer final : ByteStream::User {
  void OnRead(size_t size, bool broken) override {
    if (broken || size == 0) return;
    ++reads;
    *other = nullptr;
  }
  void OnWritable() override {}

  char byte = 0;
  int reads = 0;
  std::unique_ptr<ByteStream>* other = nullptr;
};

TEST_F(ByteStreamTest, OneMayDestroyAnotherThatIsReadyAtTheSameTime) {
  auto [one, raw_one] = NewPair();
  auto [two, raw_two] = NewPair();
  const auto killer_of_two = std::make_shared<Killer>();
  const auto killer_of_one = std::make_shared<Killer>();
  killer_of_two->other = &two;
  killer_of_one->other = &one;
  RunOn(*loop_, [&, &one = one, &two = two, &raw_one = raw_one, &raw_two = raw_two] {
    one->Read(&killer_of_two->byte, 1, killer_of_two);
    two->Read(&killer_of_one->byte, 1, killer_of_one);
    raw_one.Send("1");
    raw_two.Send("2");
  });
  const auto reads = [&] {
    int count = 0;
    RunOn(*loop_, [&] { count = killer_of_one->reads + killer_of_two->reads; });
    return count;
  };
  while (reads() == 0) {
  }
  for (int i = 0; i < 10; ++i) EXPECT_EQ(reads(), 1);
  RunOn(*loop_, [&, &one = one, &two = two] {
    EXPECT_NE(one == nullptr, two == nullptr);
    one.reset();
    two.reset();
  });
}

TEST_F(ByteStreamTest, WhoWaitsIsLetGoOfWithTheLoop) {
  Raw raw = Open();
  end_->StartReading();
  end_->Send(Bytes(100'000));
  end_->AwaitBlocked();
  const std::weak_ptr<End> left = end_;
  end_.reset();
  EXPECT_FALSE(left.expired());  // the operations hold it, and it the stream
  loop_.reset();
  EXPECT_TRUE(left.expired());
}

}  // namespace
}  // namespace kvorum::http
