#include "http/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "fmt/format.h"
#include "http/text.h"

namespace kvorum::http {

namespace {

constexpr int kBacklog = 4096;  // the system cuts it to net.core.somaxconn

absl::Status Failed(std::string_view network, std::string_view address, std::string_view step, int error) {
  const std::string text = fmt::format("listen {} {}: {}: {}", network, address, step, ErrnoText(error));
  return error == EADDRINUSE ? absl::AlreadyExistsError(text) : absl::FailedPreconditionError(text);
}

std::string BoundAddress(int fd) {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length);
  char text[INET6_ADDRSTRLEN];
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
    return fmt::format("{}:{}", text, ntohs(v4.sin_port));
  }
  const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
  inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
  return fmt::format("[{}]:{}", text, ntohs(v6.sin6_port));
}

/// True when nobody accepts connections there any more.
bool IsStaleSocket(const sockaddr_un& address) {
  struct stat info;
  if (::lstat(address.sun_path, &info) != 0 || !S_ISSOCK(info.st_mode)) return false;
  const int probe = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (probe < 0) return false;
  const int result = ::connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  const bool refused = result != 0 && errno == ECONNREFUSED;
  ::close(probe);
  return refused;
}

}  // namespace

std::string ErrnoText(int error) {
  std::string text = std::strerror(error);
  if (text.size() > 1 && text[1] >= 'a' && text[1] <= 'z') text[0] = LowerCase(text[0]);
  return text;
}

absl::StatusOr<Listener> Listener::Open(std::string_view url, const ServerOptions& options) {
  const bool secure = url.starts_with("https://") || url.starts_with("unixs://");
  if (secure && options.tls == nullptr) {
    return absl::InvalidArgumentError(fmt::format("cannot listen on {}: there is no certificate", url));
  }
  if (ConsumePrefix(&url, secure ? "unixs://" : "unix://")) return OpenUnix(std::string(url), secure);
  if (ConsumePrefix(&url, secure ? "https://" : "http://"))
    return OpenTcp(url.substr(0, url.find('/')), options, secure);
  return absl::InvalidArgumentError(fmt::format("cannot listen on {}: unknown scheme", url));
}

absl::StatusOr<Listener> Listener::OpenTcp(std::string_view host_port, const ServerOptions& options,
                                           bool secure) {
  const size_t colon = host_port.rfind(':');
  uint64_t port = 0;
  if (colon == std::string_view::npos) {
    return absl::InvalidArgumentError(
        fmt::format("listen tcp: address {}: missing port in address", host_port));
  }
  if (!ParseDecimal(host_port.substr(colon + 1), &port) || port > 65535) {
    return absl::InvalidArgumentError(
        fmt::format("listen tcp: address {}: invalid port", host_port.substr(colon + 1)));
  }
  std::string host(host_port.substr(0, colon));
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);

  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  hints.ai_family = host.empty() ? AF_INET6 : AF_UNSPEC;
  addrinfo* found = nullptr;
  const std::string port_text = fmt::format_int(port).str();
  int result = getaddrinfo(host.empty() ? nullptr : host.c_str(), port_text.c_str(), &hints, &found);
  if (result != 0) {
    return absl::FailedPreconditionError(fmt::format("listen tcp: lookup {}: no such host", host));
  }
  // As Go does for a name: IPv4 first.
  const addrinfo* chosen = found;
  for (const addrinfo* a = found; a != nullptr; a = a->ai_next) {
    if (a->ai_family == AF_INET) {
      chosen = a;
      break;
    }
  }
  int fd = ::socket(chosen->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  sockaddr_in any{};
  if (fd < 0 && host.empty()) {  // a system without IPv6
    fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    any.sin_family = AF_INET;
    any.sin_port = htons(static_cast<uint16_t>(port));
  }
  if (fd < 0) {
    freeaddrinfo(found);
    return Failed("tcp", host_port, "socket", errno);
  }
  const int on = 1;
  const int off = 0;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on,
             sizeof on);  // only lets a port in TIME_WAIT be used, as in Go
  if (options.reuse_port) setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  const bool all = host.empty() || host == "::";
  if (chosen->ai_family == AF_INET6 && all) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  const bool fallback = any.sin_family == AF_INET;
  result = fallback ? ::bind(fd, reinterpret_cast<sockaddr*>(&any), sizeof any)
                    : ::bind(fd, chosen->ai_addr, chosen->ai_addrlen);
  int error = errno;
  freeaddrinfo(found);
  std::string step = "bind";
  if (result == 0) {
    result = ::listen(fd, kBacklog);
    error = errno;
    step = "listen";
  }
  if (result != 0) {
    ::close(fd);
    return Failed("tcp", host_port, step, error);
  }
  return Listener(fd, BoundAddress(fd), "", secure);
}

absl::StatusOr<Listener> Listener::OpenUnix(std::string path, bool secure) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) return Failed("unix", path, "bind", EINVAL);
  std::memcpy(address.sun_path, path.data(), path.size());
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return Failed("unix", path, "socket", errno);
  int result = ::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address);
  if (result != 0 && errno == EADDRINUSE && IsStaleSocket(address)) {
    ::unlink(path.c_str());
    result = ::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address);
  } else if (result != 0) {
    const int error = errno;
    ::close(fd);
    return Failed("unix", path, "bind", error);
  }
  if (result != 0 || ::listen(fd, kBacklog) != 0) {
    const int error = errno;
    ::close(fd);
    return Failed("unix", path, result != 0 ? "bind" : "listen", error);
  }
  return Listener(fd, path, path, secure);
}

Listener::Listener(Listener&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      address_(std::move(other.address_)),
      path_(std::exchange(other.path_, std::string())),
      secure_(other.secure_) {}

Listener::~Listener() {
  if (fd_ >= 0) ::close(fd_);
  if (!path_.empty()) ::unlink(path_.c_str());
}

}  // namespace kvorum::http
