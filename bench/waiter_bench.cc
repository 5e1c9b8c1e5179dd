#include "waiter_bench.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "requests.h"
#include "sockets.h"

namespace kvorum::bench {
namespace {

using Clock = std::chrono::steady_clock;

int Connect(const std::string& target) {
  const sockaddr_in address = AddressOf(target);
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) Fail("socket");
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) Fail("connect");
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  return fd;
}

void SendAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) Fail("send");
    bytes.remove_prefix(static_cast<size_t>(n));
  }
}

/// The files that a process may open, up to what the system lets it have.
void AllowFiles(uint64_t count) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur < count + 100) {
    std::fprintf(stderr, "kvorum-bench: no more than %zu files may be open\n", size_t{limit.rlim_cur});
    std::exit(1);
  }
}

class Waiters {
 public:
  Waiters(const Options& options, bool one_key) : epoll_(epoll_create1(EPOLL_CLOEXEC)) {
    AllowFiles(options.watchers);
    for (uint64_t i = 0; i < options.watchers; ++i) {
      requests_.push_back("GET /v2/keys/" + KeyOf(options, one_key ? 0 : i) +
                          "?wait=true HTTP/1.1\r\nHost: " + options.targets[0] + "\r\n\r\n");
      fds_.push_back(Connect(options.targets[0]));
      epoll_event event{EPOLLIN, {.u64 = i}};
      if (epoll_ctl(epoll_, EPOLL_CTL_ADD, fds_.back(), &event) != 0) Fail("epoll_ctl");
    }
    answers_.resize(fds_.size());
  }

  /// Sends every long poll, and waits until the server holds them: the heads of their answers are here.
  void Open() {
    for (size_t i = 0; i < fds_.size(); ++i) {
      answers_[i].clear();
      SendAll(fds_[i], requests_[i]);
    }
    // The end of the head, and nothing behind it.
    AwaitAll([](const std::string& answer) { return answer.find("\r\n\r\n") != std::string::npos; });
  }

  /// Waits until every answer has come to its end: the empty chunk.
  void AwaitEvents() {
    AwaitAll([](const std::string& answer) { return answer.ends_with("0\r\n\r\n"); });
  }

 private:
  template <typename Predicate>
  void AwaitAll(const Predicate& done) {
    size_t left = fds_.size();
    epoll_event events[256];
    char buffer[4096];
    while (left > 0) {
      const int count = epoll_wait(epoll_, events, 256, 60'000);
      if (count == 0) Fail("waiters get nothing");
      for (int i = 0; i < count; ++i) {
        const size_t index = events[i].data.u64;
        const ssize_t n = recv(fds_[index], buffer, sizeof(buffer), 0);
        if (n <= 0) Fail("a waiter lost its connection");
        const bool before = done(answers_[index]);
        answers_[index].append(buffer, static_cast<size_t>(n));
        if (!before && done(answers_[index])) --left;
      }
    }
  }

  const int epoll_;
  std::vector<std::string> requests_;
  std::vector<int> fds_;
  std::vector<std::string> answers_;
};

/// Puts the key that all wait for. Its own answer is not waited for here.
void Put(int fd, const Options& options) {
  const std::string body = "value=" + std::string(options.value_bytes, 'v');
  SendAll(fd, "PUT /v2/keys/" + KeyOf(options, 0) + " HTTP/1.1\r\nHost: " + options.targets[0] +
                  "\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: " +
                  std::to_string(body.size()) + "\r\n\r\n" + body);
}

}  // namespace

void WakeWaiters(const Options& options) {
  Waiters waiters(options, true);
  const int writer = Connect(options.targets[0]);
  std::vector<double> seconds;
  for (uint64_t i = 0; i < options.events; ++i) {
    waiters.Open();
    const auto begin = Clock::now();
    Put(writer, options);
    waiters.AwaitEvents();
    seconds.push_back(std::chrono::duration<double>(Clock::now() - begin).count());
    char answer[16 << 10];
    if (recv(writer, answer, sizeof(answer), 0) <= 0) Fail("a put is not answered");
  }
  std::sort(seconds.begin(), seconds.end());
  const double median = seconds[seconds.size() / 2];
  std::printf(
      "{\"name\":\"v2-wake\",\"waiters\":%zu,\"events\":%zu,\"per_second\":%.1f,\"p50_us\":%.1f,"
      "\"max_us\":%.1f}\n",
      size_t{options.watchers}, size_t{options.events}, static_cast<double>(options.watchers) / median,
      median * 1e6, seconds.back() * 1e6);
}

void HoldWaiters(const Options& options) {
  Waiters waiters(options, false);
  waiters.Open();
  std::printf("ready\n");
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
}

}  // namespace kvorum::bench
