#include "proxy/tcp/link_set.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace kvorum::proxy_tcp {
namespace {

constexpr int kClient = 0;
constexpr int kServer = 1;

constexpr int kEventsPerRound = 256;
/// Buffers that one direction may move before others have their turn.
constexpr int kBuffersPerTurn = 4;
/// Where links keep more than this, each reads little at a time.
constexpr size_t kPlentyKept = 64 << 20;
constexpr size_t kSmallRead = 4 << 10;
/// A link of which one side has ended, and on which nothing moves for two sweeps, is over.
constexpr std::chrono::seconds kSweepInterval{5};
constexpr int kSweepsToLinger = 2;
/// As Go's net package has it.
constexpr int kKeepAliveSeconds = 15;

void SetOptions(int fd) {
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &kKeepAliveSeconds, sizeof kKeepAliveSeconds);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &kKeepAliveSeconds, sizeof kKeepAliveSeconds);
}

/// How much the socket took; less than all means that it makes an event when it takes more. -1 where it is
/// broken.
ssize_t Send(int fd, std::string_view bytes) {
  for (;;) {
    const ssize_t sent = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent >= 0) return sent;
    if (errno == EAGAIN || errno == EWOULDBLOCK) return 0;
    if (errno != EINTR) return -1;
  }
}

}  // namespace

struct Link {
  struct Side {
    Link* link = nullptr;
    int fd = -1;
    bool readable = false;
    bool writable = false;
    bool hung_up = false;      // the end, or an error, is to be read
    bool ended = false;        // nothing more comes from it
    bool write_ended = false;  // nothing more goes to it
    std::string kept;          // what it did not take yet
    size_t kept_from = 0;      // of `kept`
  };
  std::array<Side, 2> sides;
  bool ending = false;
  bool in_again = false;
  bool over = false;
  int quiet_sweeps = 0;
};

LinkSet::LinkSet(std::string name, std::function<void()> closed)
    : closed_(std::move(closed)),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  KVORUM_CHECK(epoll_ >= 0 && wake_ >= 0, "epoll_create1 or eventfd: {}", std::strerror(errno));
  epoll_event event{};
  event.events = EPOLLIN;
  KVORUM_CHECK(epoll_ctl(epoll_, EPOLL_CTL_ADD, wake_, &event) == 0, "epoll_ctl: {}", std::strerror(errno));
  thread_ = std::thread([this, name = std::move(name)] {
    pthread_setname_np(pthread_self(), name.substr(0, 15).c_str());
    Run();
  });
}

LinkSet::~LinkSet() {
  CloseAll();
  close(wake_);
  close(epoll_);
}

void LinkSet::Add(int client, int server) {
  {
    absl::MutexLock lock(&mutex_);
    if (!stopping_) {
      added_.emplace_back(client, server);
      if (added_.size() == 1) Wake();
      return;
    }
  }
  close(client);
  close(server);
  closed_();
}

void LinkSet::CloseAll() {
  {
    absl::MutexLock lock(&mutex_);
    if (std::exchange(stopping_, true)) return;
    Wake();
  }
  thread_.join();
}

void LinkSet::Wake() const {
  const uint64_t one = 1;
  while (write(wake_, &one, sizeof one) < 0 && errno == EINTR) {
  }
}

bool LinkSet::TakeAdded() {
  std::vector<std::pair<int, int>> added;
  bool stopping;
  {
    absl::MutexLock lock(&mutex_);
    uint64_t count;
    while (read(wake_, &count, sizeof count) < 0 && errno == EINTR) {
    }
    added.swap(added_);
    stopping = stopping_;
  }
  for (const auto& [client, server] : added) Register(client, server);
  return !stopping;
}

void LinkSet::Register(int client, int server) {
  auto owned = std::make_unique<Link>();
  Link* link = owned.get();
  link->sides[kClient].fd = client;
  link->sides[kServer].fd = server;
  bool registered = true;
  for (Link::Side& side : link->sides) {
    side.link = link;
    SetOptions(side.fd);
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    event.data.ptr = &side;
    registered &= epoll_ctl(epoll_, EPOLL_CTL_ADD, side.fd, &event) == 0;
  }
  links_.emplace(link, std::move(owned));
  if (!registered) Finish(link);  // no memory
}

void LinkSet::Run() {
  std::array<epoll_event, kEventsPerRound> events;
  for (bool running = true; running;) {
    const int count = epoll_wait(epoll_, events.data(), kEventsPerRound, PatienceMs());
    std::vector<Link*> again = std::exchange(again_, {});
    for (int i = 0; i < count; ++i) {
      auto* side = static_cast<Link::Side*>(events[static_cast<size_t>(i)].data.ptr);
      const uint32_t what = events[static_cast<size_t>(i)].events;
      if (side == nullptr) {
        running = TakeAdded();
        continue;
      }
      if (side->link->over) continue;
      side->hung_up |= (what & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
      side->readable |= side->hung_up || (what & EPOLLIN) != 0;
      side->writable |= (what & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0;
      if (!side->link->in_again) Pump(side->link);
    }
    for (Link* link : again) {
      link->in_again = false;
      if (!link->over) Pump(link);
    }
    over_.clear();
    SweepIfDue();
  }
  while (!links_.empty()) {
    Link* link = links_.begin()->first;
    Move(link, kClient);  // what has come so far
    Move(link, kServer);
    Finish(link);
  }
}

int LinkSet::PatienceMs() const {
  if (!again_.empty()) return 0;
  if (ending_ == 0) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(next_sweep_ - SystemClock().Now());
  return static_cast<int>(std::max<int64_t>(left.count(), 0));
}

void LinkSet::Pump(Link* link) {
  link->quiet_sweeps = 0;
  const bool upward = Move(link, kClient);
  const bool downward = Move(link, kServer);
  if (link->sides[kClient].ended && link->sides[kServer].ended && link->sides[kClient].write_ended &&
      link->sides[kServer].write_ended) {
    return Finish(link);
  }
  if (!link->ending && (link->sides[kClient].ended || link->sides[kServer].ended)) {
    link->ending = true;
    if (ending_++ == 0) next_sweep_ = SystemClock().Now() + kSweepInterval;
  }
  if (upward && downward) return;
  link->in_again = true;
  again_.push_back(link);
}

bool LinkSet::Move(Link* link, int from_side) {
  Link::Side& from = link->sides[static_cast<size_t>(from_side)];
  Link::Side& to = link->sides[static_cast<size_t>(1 - from_side)];
  for (int buffers = 0; buffers < kBuffersPerTurn; ++buffers) {
    if (!Flush(link, 1 - from_side)) return true;
    if (from.ended) {
      if (!std::exchange(to.write_ended, true)) shutdown(to.fd, SHUT_WR);
      return true;
    }
    if (!from.readable) return true;
    const size_t size = kept_bytes_ > kPlentyKept ? kSmallRead : buffer_.size();
    const ssize_t got = recv(from.fd, buffer_.data(), size, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      from.readable = false;
      return true;
    }
    if (got <= 0) {
      from.ended = true;
      continue;
    }
    // Less than was asked for is all there was; what comes now makes a new event.
    if (static_cast<size_t>(got) < size && !from.hung_up) from.readable = false;
    if (to.write_ended) continue;  // to a side that is gone
    const ssize_t sent = to.writable ? Send(to.fd, {buffer_.data(), static_cast<size_t>(got)}) : 0;
    if (sent < 0) to.write_ended = true;
    if (sent < 0 || sent == got) continue;
    to.writable = false;
    to.kept.assign(buffer_.data() + sent, static_cast<size_t>(got - sent));
    kept_bytes_ += to.kept.size();
  }
  return false;
}

bool LinkSet::Flush(Link* link, int to_side) {
  Link::Side& to = link->sides[static_cast<size_t>(to_side)];
  while (!to.kept.empty()) {
    if (!to.writable) return false;
    const ssize_t sent = Send(to.fd, std::string_view(to.kept).substr(to.kept_from));
    if (sent < 0) {
      to.write_ended = true;
    } else {
      to.kept_from += static_cast<size_t>(sent);
      to.writable = to.kept_from == to.kept.size();
      if (!to.writable) return false;
    }
    kept_bytes_ -= to.kept.size();
    to.kept = std::string();
    to.kept_from = 0;
  }
  return true;
}

void LinkSet::Finish(Link* link) {
  link->over = true;
  for (Link::Side& side : link->sides) {
    kept_bytes_ -= side.kept.size();
    close(side.fd);
  }
  if (link->ending) --ending_;
  auto node = links_.extract(link);
  over_.push_back(std::move(node.mapped()));
  closed_();
}

void LinkSet::SweepIfDue() {
  if (ending_ == 0 || SystemClock().Now() < next_sweep_) return;
  next_sweep_ += kSweepInterval;
  std::vector<Link*> quiet;
  for (const auto& [link, _] : links_) {
    if (link->ending && ++link->quiet_sweeps > kSweepsToLinger) quiet.push_back(link);
  }
  for (Link* link : quiet) Finish(link);
  over_.clear();
}

}  // namespace kvorum::proxy_tcp
