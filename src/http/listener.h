#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "http/server.h"

namespace kvorum::http {

/// A socket that listens. Closes it when destroyed, and removes the file of a Unix socket.
class Listener {
 public:
  /// REQUIRES: `url` has the form of ListenAddress. Errors in the words of Go's net package, InvalidArgument
  /// for https where `options` have no certificate.
  static absl::StatusOr<Listener> Open(std::string_view url, const ServerOptions& options);

  Listener(Listener&& other) noexcept;
  Listener& operator=(Listener&&) = delete;
  ~Listener();

  int fd() const { return fd_; }
  /// "127.0.0.1:2379", or the path of a Unix socket.
  const std::string& address() const { return address_; }
  /// Its connections are encrypted.
  bool secure() const { return secure_; }

 private:
  Listener(int fd, std::string address, std::string path, bool secure)
      : fd_(fd), address_(std::move(address)), path_(std::move(path)), secure_(secure) {}
  static absl::StatusOr<Listener> OpenTcp(std::string_view host_port, const ServerOptions& options,
                                          bool secure);
  static absl::StatusOr<Listener> OpenUnix(std::string path, bool secure);

  int fd_;
  std::string address_;
  std::string path_;  // of a Unix socket, else empty
  bool secure_;
};

/// "connection refused": the system's text as Go writes it.
std::string ErrnoText(int error);

}  // namespace kvorum::http
