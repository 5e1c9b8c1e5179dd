#include "http/byte_stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <utility>

#include "base/check.h"
#include "fmt/format.h"
#include "http/poller.h"

namespace kvorum::http {

namespace {

/// Unsent bytes that the system may hold for a connection. More would only stand before a frame that is
/// urgent, such as a watch event behind a large reply.
constexpr int kUnsentBytes = 256 << 10;
/// The other machine is asked whether it is there after so much silence, and counts as gone after a minute: a
/// watch through a machine that lost its power would else wait for ever.
constexpr int kSilenceSeconds = 30;
constexpr int kProbeSeconds = 10;
constexpr int kProbes = 3;

std::string RemoteName(const sockaddr_storage& address) {
  char text[INET6_ADDRSTRLEN];
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
    return fmt::format("{}:{}", text, ntohs(v4.sin_port));
  }
  if (address.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
    if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
      inet_ntop(AF_INET, &v6.sin6_addr.s6_addr[12], text, sizeof text);
      return fmt::format("{}:{}", text, ntohs(v6.sin6_port));
    }
    inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
    return fmt::format("[{}]:{}", text, ntohs(v6.sin6_port));
  }
  return "@";
}

class SocketStream final : public ByteStream, private Poller::Descriptor {
 public:
  SocketStream(Loop& loop, int fd) : loop_(loop), fd_(fd) {
    sockaddr_storage address{};
    socklen_t length = sizeof address;
    getpeername(fd, reinterpret_cast<sockaddr*>(&address), &length);
    remote_ = RemoteName(address);
    if (address.ss_family != AF_UNIX) {
      const int on = 1;
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
      setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &kSilenceSeconds, sizeof kSilenceSeconds);
      setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &kProbeSeconds, sizeof kProbeSeconds);
      setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &kProbes, sizeof kProbes);
      setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &kUnsentBytes, sizeof kUnsentBytes);
    }
    const int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
        !loop_.poller().Add(fd, Poller::kInput, this)) {
      ::close(std::exchange(fd_, -1));
    }
  }

  ~SocketStream() { Close(); }

  void Read(char* buffer, size_t size, std::shared_ptr<User> user) override {
    KVORUM_CHECK(reader_ == nullptr, "a read beside another");
    buffer_ = buffer;
    size_ = size;
    AwaitInput(std::move(user));
  }

  void WaitReadable(std::shared_ptr<User> user) override {
    KVORUM_CHECK(reader_ == nullptr, "a read beside another");
    buffer_ = nullptr;
    AwaitInput(std::move(user));
  }

  ssize_t Write(const iovec* pieces, int count) override {
    if (fd_ < 0) return -1;
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(pieces);
    message.msg_iovlen = static_cast<size_t>(count);
    constexpr int kFlags = MSG_NOSIGNAL | MSG_DONTWAIT;
    for (;;) {
      // One piece is the usual case, and send costs less.
      const ssize_t n = count == 1 ? ::send(fd_, pieces->iov_base, pieces->iov_len, kFlags)
                                   : ::sendmsg(fd_, &message, kFlags);
      if (n >= 0) return n;
      if (errno == EINTR) continue;
      return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -1;
    }
  }

  void WaitWritable(std::shared_ptr<User> user) override {
    KVORUM_CHECK(writer_ == nullptr, "a wait beside another");
    if (fd_ < 0) return PostWritable(std::move(user));
    writer_ = std::move(user);
    loop_.poller().Change(fd_, Poller::kInputAndOutput, this);
  }

  void Close() override {
    if (fd_ < 0) return;
    ::close(Leave());
    if (reader_ != nullptr) PostBroken(std::move(reader_));
    if (writer_ != nullptr) PostWritable(std::move(writer_));
  }

  void CloseWrite() override {
    if (fd_ >= 0) ::shutdown(fd_, SHUT_WR);
  }

  int Release() override { return fd_ < 0 ? -1 : Leave(); }

  const std::string& remote() const override { return remote_; }

 private:
  /// What was called with `user` has its answer later, whatever becomes of the stream.
  void PostBroken(std::shared_ptr<User> user) {
    loop_.PutOff([user = std::move(user), wait = buffer_ == nullptr] {
      wait ? user->OnReadable() : user->OnRead(0, true);
    });
  }
  void PostWritable(std::shared_ptr<User> user) {
    loop_.PutOff([user = std::move(user)] { user->OnWritable(); });
  }

  /// The socket, which the loop does not know any more.
  int Leave() {
    loop_.poller().Remove(fd_, this);
    return std::exchange(fd_, -1);
  }

  void AwaitInput(std::shared_ptr<User> user) {
    if (fd_ < 0) return PostBroken(std::move(user));
    reader_ = std::move(user);
    if (readable_) loop_.poller().Again(this);
  }

  void OnReadable(bool ended) override {
    readable_ = true;
    ended_ = ended_ || ended;
    TakeInput();
  }

  void OnAgain() override { TakeInput(); }

  // Whoever is told may destroy this.

  void OnWritable() override {
    if (const std::shared_ptr<User> writer = std::move(writer_)) writer->OnWritable();
  }

  void TakeInput() {
    if (reader_ == nullptr || !readable_) return;
    if (buffer_ == nullptr) return std::shared_ptr<User>(std::move(reader_))->OnReadable();
    ssize_t n;
    do {
      n = ::recv(fd_, buffer_, size_, 0);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      readable_ = false;
      return;
    }
    // All was taken, and what comes is told, unless it is the end and was.
    if (n > 0 && static_cast<size_t>(n) < size_ && !ended_) readable_ = false;
    const std::shared_ptr<User> reader = std::move(reader_);
    reader->OnRead(n < 0 ? 0 : static_cast<size_t>(n), n < 0);
  }

  void OnLoopEnd() override {
    const std::shared_ptr<User> reader = std::move(reader_);
    const std::shared_ptr<User> writer = std::move(writer_);
  }

  Loop& loop_;
  int fd_;  // -1 when it is closed
  std::string remote_;

  bool readable_ = false;  // something may be there to read
  bool ended_ = false;     // the other side sends no more, and no event will say so again
  // Operations under way.
  std::shared_ptr<User> reader_;
  char* buffer_ = nullptr;  // null: it waits and reads nothing
  size_t size_ = 0;
  std::shared_ptr<User> writer_;
};

}  // namespace

std::unique_ptr<ByteStream> NewSocketStream(Loop& loop, int fd) {
  return std::make_unique<SocketStream>(loop, fd);
}

}  // namespace kvorum::http
