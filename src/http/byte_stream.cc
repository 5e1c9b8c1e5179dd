#include "http/byte_stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "boost/asio/buffer.hpp"
#include "boost/asio/generic/stream_protocol.hpp"
#include "fmt/format.h"

namespace kvorum::http {

namespace asio = boost::asio;

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

class SocketStream final : public ByteStream {
 public:
  SocketStream(Loop& loop, int fd) : socket_(loop.context()) {
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
    boost::system::error_code error;
    socket_.assign(asio::generic::stream_protocol(address.ss_family, 0), fd, error);
    if (error) {
      ::close(fd);
    } else {
      socket_.native_non_blocking(true, error);
    }
  }

  void Read(char* buffer, size_t size, std::shared_ptr<User> user) override {
    socket_.async_read_some(asio::buffer(buffer, size),
                            [user = std::move(user)](const boost::system::error_code& error, size_t n) {
                              user->OnRead(n, error && error != asio::error::eof);
                            });
  }

  void WaitReadable(std::shared_ptr<User> user) override {
    socket_.async_wait(asio::socket_base::wait_read,
                       [user = std::move(user)](const boost::system::error_code&) { user->OnReadable(); });
  }

  ssize_t Write(const iovec* pieces, int count) override {
    if (!socket_.is_open()) return -1;
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(pieces);
    message.msg_iovlen = static_cast<size_t>(count);
    constexpr int kFlags = MSG_NOSIGNAL | MSG_DONTWAIT;
    for (;;) {
      // One piece is the usual case, and send costs less.
      const ssize_t n = count == 1
                            ? ::send(socket_.native_handle(), pieces->iov_base, pieces->iov_len, kFlags)
                            : ::sendmsg(socket_.native_handle(), &message, kFlags);
      if (n >= 0) return n;
      if (errno == EINTR) continue;
      return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -1;
    }
  }

  void WaitWritable(std::shared_ptr<User> user) override {
    socket_.async_wait(asio::socket_base::wait_write,
                       [user = std::move(user)](const boost::system::error_code&) { user->OnWritable(); });
  }

  void Close() override {
    boost::system::error_code ignored;
    socket_.close(ignored);
  }

  void CloseWrite() override {
    boost::system::error_code ignored;
    socket_.shutdown(asio::socket_base::shutdown_send, ignored);
  }

  int Release() override {
    boost::system::error_code error;
    const int fd = socket_.release(error);
    return error ? -1 : fd;
  }

  const std::string& remote() const override { return remote_; }

 private:
  asio::generic::stream_protocol::socket socket_;
  std::string remote_;
};

}  // namespace

std::unique_ptr<ByteStream> NewSocketStream(Loop& loop, int fd) {
  return std::make_unique<SocketStream>(loop, fd);
}

}  // namespace kvorum::http
