#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "fmt/format.h"

namespace kvorum::http {

// Servers made of bytes, for tests of clients.

/// Reads until `end` was received, or the other side closed.
inline std::string ReadUntil(int fd, std::string_view end) {
  std::string got;
  char byte;
  while (!got.ends_with(end) && ::recv(fd, &byte, 1, 0) == 1) got += byte;
  return got;
}

/// The head of a request.
inline std::string ReadRequest(int fd) { return ReadUntil(fd, "\r\n\r\n"); }

/// Says nothing until the other side closes.
inline void SayNothing(int fd) {
  char bytes[4096];
  while (::recv(fd, bytes, sizeof bytes, 0) > 0) {
  }
  ::close(fd);
}

/// False where the other side is gone.
inline bool Send(int fd, std::string_view data) {
  while (!data.empty()) {
    const ssize_t n = ::send(fd, data.data(), data.size(), MSG_NOSIGNAL);
    if (n <= 0) return false;
    data.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

/// Listens on a port of its own until it is destroyed, and hands over each connection, on one thread.
class RawListener {
 public:
  /// `serve` closes the socket.
  explicit RawListener(std::function<void(int fd)> serve) : serve_(std::move(serve)) {
    fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    EXPECT_EQ(::bind(fd_, reinterpret_cast<sockaddr*>(&at), size), 0);
    EXPECT_EQ(::listen(fd_, 128), 0);
    getsockname(fd_, reinterpret_cast<sockaddr*>(&at), &size);
    address_ = fmt::format("127.0.0.1:{}", ntohs(at.sin_port));
    thread_ = std::thread([this] {
      for (int fd; (fd = ::accept(fd_, nullptr, nullptr)) >= 0;) serve_(fd);
    });
  }
  /// Waits for the connection that is served.
  ~RawListener() {
    ::shutdown(fd_, SHUT_RDWR);
    thread_.join();
    ::close(fd_);
  }

  /// "127.0.0.1:2379".
  const std::string& address() const { return address_; }

 private:
  const std::function<void(int fd)> serve_;
  int fd_;
  std::string address_;
  std::thread thread_;
};

}  // namespace kvorum::http
