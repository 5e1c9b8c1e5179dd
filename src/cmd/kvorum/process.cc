#include "cmd/kvorum/process.h"

#include <arpa/inet.h>
#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "absl/time/clock.h"
#include "base/check.h"
#include "base/status.h"
#include "fmt/format.h"
#include "http/host_lookup.h"

extern char** environ;

namespace kvorum::cmd {
namespace {

sigset_t HandledSignals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  return set;
}

/// The source address of a route to `address`; a datagram socket is connected, nothing is sent.
std::string SourceTowards(int family, const sockaddr* address, socklen_t size) {
  const int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return "";
  std::string host;
  sockaddr_storage own{};
  socklen_t own_size = sizeof(own);
  if (connect(fd, address, size) == 0 && getsockname(fd, reinterpret_cast<sockaddr*>(&own), &own_size) == 0) {
    char text[INET6_ADDRSTRLEN] = {};
    const void* bytes = family == AF_INET
                            ? static_cast<const void*>(&reinterpret_cast<sockaddr_in*>(&own)->sin_addr)
                            : static_cast<const void*>(&reinterpret_cast<sockaddr_in6*>(&own)->sin6_addr);
    if (inet_ntop(family, bytes, text, sizeof(text)) != nullptr) host = text;
  }
  close(fd);
  return host;
}

}  // namespace

void BlockSignals() {
  const sigset_t set = HandledSignals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  signal(SIGPIPE, SIG_IGN);
}

int WaitForStopSignal() {
  const sigset_t set = HandledSignals();
  int signal = 0;
  const int error = sigwait(&set, &signal);
  KVORUM_CHECK(error == 0, "sigwait: {}", strerror(error));
  return signal;
}

StopAtOnce::StopAtOnce(absl::AnyInvocable<void(int signal)> before)
    : before_(std::move(before)), end_fd_(eventfd(0, EFD_CLOEXEC)), thread_([this] { Watch(); }) {}

StopAtOnce::~StopAtOnce() {
  eventfd_write(end_fd_, 1);
  thread_.join();
  close(end_fd_);
}

void StopAtOnce::Watch() {
  const sigset_t set = HandledSignals();
  const int signals = signalfd(-1, &set, SFD_CLOEXEC);
  KVORUM_CHECK(signals >= 0 && end_fd_ >= 0, "signalfd: {}", strerror(errno));
  pollfd fds[] = {{.fd = end_fd_, .events = POLLIN, .revents = 0},
                  {.fd = signals, .events = POLLIN, .revents = 0}};
  while (fds[0].revents == 0 && fds[1].revents == 0) poll(fds, 2, -1);
  if (fds[0].revents != 0) {
    close(signals);
    return;
  }
  signalfd_siginfo info{};
  const ssize_t size = read(signals, &info, sizeof(info));
  KVORUM_CHECK(size == sizeof(info), "signalfd: {}", strerror(errno));
  before_(static_cast<int>(info.ssi_signo));
  DieBySignal(static_cast<int>(info.ssi_signo));
}

void AskToStop() { kill(getpid(), SIGTERM); }

std::string_view SignalName(int signal) {
  switch (signal) {
    case SIGINT:
      return "interrupt";
    case SIGTERM:
      return "terminated";
    default:
      return "signal";
  }
}

void DieBySignal(int signal_number) {
  if (getpid() == 1) _exit(0);
  signal(signal_number, SIG_DFL);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal_number);
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
  kill(getpid(), signal_number);
  _exit(128 + signal_number);
}

uint64_t RaiseFileLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  if (limit.rlim_cur < limit.rlim_max) {
    rlimit raised = limit;
    raised.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
  }
  return limit.rlim_cur;
}

void KeepFreedMemory() {
#ifdef __GLIBC__
  mallopt(M_TRIM_THRESHOLD, 16 << 20);
  // A threshold that is set ends glibc's finding the other one by itself.
  mallopt(M_MMAP_THRESHOLD, 1 << 20);
#endif
}

absl::Status LockMemory() {
  if (mlockall(MCL_CURRENT | MCL_FUTURE) == 0) return absl::OkStatus();
  const int error = errno;
  return absl::Status(absl::ErrnoToStatusCode(error), fmt::format("mlockall: {}", strerror(error)));
}

void NotifyReady() {
  const char* path = getenv("NOTIFY_SOCKET");
  if (path == nullptr || (path[0] != '/' && path[0] != '@')) return;
  const size_t length = strlen(path);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (length >= sizeof(address.sun_path)) return;
  std::memcpy(address.sun_path, path, length);
  if (path[0] == '@') address.sun_path[0] = '\0';  // the abstract name space
  const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  constexpr std::string_view kReady = "READY=1";
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length);
  sendto(fd, kReady.data(), kReady.size(), MSG_NOSIGNAL, reinterpret_cast<sockaddr*>(&address), size);
  close(fd);
}

std::string DefaultHost() {
  // Documentation addresses: no route but the default one leads there.
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_port = htons(9);
  inet_pton(AF_INET, "203.0.113.1", &v4.sin_addr);
  std::string host = SourceTowards(AF_INET, reinterpret_cast<sockaddr*>(&v4), sizeof(v4));
  if (!host.empty()) return host;
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(9);
  inet_pton(AF_INET6, "2001:db8::1", &v6.sin6_addr);
  host = SourceTowards(AF_INET6, reinterpret_cast<sockaddr*>(&v6), sizeof(v6));
  return host.empty() ? host : "[" + host + "]";
}

absl::StatusOr<std::string> ResolveHost(const std::string& host) {
  KVORUM_ASSIGN_OR_RETURN(const std::vector<std::string> addresses, http::LookupHost(host));
  for (const std::string& address : addresses) {
    if (address.find(':') == std::string::npos) return address;
  }
  return fmt::format("[{}]", addresses.front());
}

absl::StatusOr<std::string> ResolveHostUntil(const std::string& host, MonotonicTime deadline) {
  while (true) {
    absl::StatusOr<std::string> address = ResolveHost(host);
    if (address.ok() || SystemClock().Now() + std::chrono::seconds(1) > deadline) return address;
    absl::SleepFor(absl::Seconds(1));
  }
}

std::vector<std::string> Environment() {
  std::vector<std::string> out;
  for (char** variable = environ; *variable != nullptr; ++variable) out.emplace_back(*variable);
  return out;
}

}  // namespace kvorum::cmd
