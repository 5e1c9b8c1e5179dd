#include "http/poller.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace kvorum::http {

namespace {

/// Whoever waits for one of these waits for these, too.
constexpr uint32_t kFailed = EPOLLHUP | EPOLLERR;

}  // namespace

Poller::Poller() : epoll_(epoll_create1(EPOLL_CLOEXEC)), wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  KVORUM_CHECK(epoll_ >= 0 && wake_ >= 0, "epoll_create1 or eventfd: {}", std::strerror(errno));
  KVORUM_CHECK(Register(EPOLL_CTL_ADD, wake_, EPOLLIN | EPOLLET, nullptr), "epoll_ctl: {}",
               std::strerror(errno));
}

Poller::~Poller() {
  KVORUM_CHECK(descriptors_.empty(), "descriptors that outlive their loop");
  close(wake_);
  close(epoll_);
}

void Poller::Poll(int timeout_ms) {
  running_again_.swap(again_);
  const int count =
      epoll_wait(epoll_, events_.data(), kEventsPerTurn, running_again_.empty() ? timeout_ms : 0);
  KVORUM_CHECK(count >= 0 || errno == EINTR, "epoll_wait: {}", std::strerror(errno));
  event_count_ = static_cast<size_t>(std::max(count, 0));
  for (size_t i = 0; i < event_count_; ++i) {
    const epoll_event& event = events_[i];
    const auto descriptor = [&event] { return static_cast<Descriptor*>(event.data.ptr); };
    if ((event.events & (EPOLLOUT | kFailed)) != 0 && descriptor() != nullptr) descriptor()->OnWritable();
    if ((event.events & (EPOLLIN | EPOLLRDHUP | kFailed)) != 0 && descriptor() != nullptr) {
      descriptor()->OnReadable((event.events & (EPOLLRDHUP | kFailed)) != 0);
    }
  }
  event_count_ = 0;
  for (size_t i = 0; i < running_again_.size(); ++i) {
    if (running_again_[i] != nullptr) running_again_[i]->OnAgain();
  }
  running_again_.clear();
}

void Poller::Wake() const {
  const uint64_t one = 1;
  // It cannot fail but for a count of 2^64, which takes a century.
  [[maybe_unused]] const ssize_t written = write(wake_, &one, sizeof one);
}

void Poller::End() {
  ended_ = true;
  while (!descriptors_.empty()) {
    Descriptor* const descriptor = *descriptors_.begin();
    descriptors_.erase(descriptors_.begin());
    descriptor->OnLoopEnd();
  }
}

bool Poller::Register(int operation, int fd, uint32_t events, Descriptor* descriptor) const {
  epoll_event event{};
  event.events = events;
  event.data.ptr = descriptor;
  return epoll_ctl(epoll_, operation, fd, &event) == 0;
}

bool Poller::Add(int fd, uint32_t events, Descriptor* descriptor) {
  if (ended_) {
    errno = ESHUTDOWN;
    return false;
  }
  if (!Register(EPOLL_CTL_ADD, fd, events, descriptor)) return false;
  descriptors_.insert(descriptor);
  return true;
}

void Poller::Change(int fd, uint32_t events, Descriptor* descriptor) {
  KVORUM_CHECK(Register(EPOLL_CTL_MOD, fd, events, descriptor), "epoll_ctl: {}", std::strerror(errno));
}

void Poller::Remove(int fd, Descriptor* descriptor) {
  if (descriptors_.erase(descriptor) == 0) return;
  epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, nullptr);
  for (size_t i = 0; i < event_count_; ++i) {
    if (events_[i].data.ptr == descriptor) events_[i].data.ptr = nullptr;
  }
  std::replace(again_.begin(), again_.end(), descriptor, static_cast<Descriptor*>(nullptr));
  std::replace(running_again_.begin(), running_again_.end(), descriptor, static_cast<Descriptor*>(nullptr));
}

}  // namespace kvorum::http
