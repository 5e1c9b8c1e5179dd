#include "http/poller.h"

#include <errno.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "boost/asio/post.hpp"
#include "http/loop.h"

namespace kvorum::http {

namespace asio = boost::asio;

namespace {

constexpr uint32_t kReadEvents = EPOLLIN | EPOLLRDHUP | EPOLLET;
/// Of these the socket tells only once; they stay true.
constexpr uint32_t kEnded = EPOLLRDHUP | EPOLLHUP | EPOLLERR;

}  // namespace

Poller::~Poller() { KVORUM_CHECK(sockets_.empty(), "sockets that outlive their loop"); }

void Poller::Start(asio::io_context& context) {
  epoll_ = epoll_create1(EPOLL_CLOEXEC);
  KVORUM_CHECK(epoll_ >= 0, "epoll_create1: {}", std::strerror(errno));
  waiting_.emplace(context, epoll_);
  Wait();
}

void Poller::End() {
  while (!sockets_.empty()) {
    Socket* const socket = *sockets_.begin();
    sockets_.erase(sockets_.begin());
    socket->OnLoopEnd();
  }
  waiting_.reset();
  epoll_ = -1;
}

bool Poller::Add(int fd, Socket* socket) {
  epoll_event event{};
  event.events = kReadEvents;
  event.data.ptr = socket;
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) != 0) return false;
  sockets_.insert(socket);
  return true;
}

void Poller::WatchWritable(int fd, Socket* socket) {
  epoll_event event{};
  event.events = kReadEvents | EPOLLOUT;
  event.data.ptr = socket;
  KVORUM_CHECK(epoll_ctl(epoll_, EPOLL_CTL_MOD, fd, &event) == 0, "epoll_ctl: {}", std::strerror(errno));
}

void Poller::Remove(int fd, Socket* socket) {
  if (sockets_.erase(socket) == 0) return;
  epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, nullptr);
  for (size_t i = 0; i < event_count_; ++i) {
    if (events_[i].data.ptr == socket) events_[i].data.ptr = nullptr;
  }
  std::replace(again_.begin(), again_.end(), socket, static_cast<Socket*>(nullptr));
  std::replace(running_again_.begin(), running_again_.end(), socket, static_cast<Socket*>(nullptr));
}

void Poller::Wait() {
  waiting_->async_wait(asio::posix::stream_descriptor::wait_read,
                       [this](const boost::system::error_code& error) {
                         if (error) return;
                         Dispatch();
                         Wait();  // at once where there was more
                       });
}

void Poller::Dispatch() {
  const int count = epoll_wait(epoll_, events_.data(), kEventsPerTurn, 0);
  if (count <= 0) return;
  Loop::Turn turn(loop_);
  event_count_ = static_cast<size_t>(count);
  for (size_t i = 0; i < event_count_; ++i) {
    const epoll_event& event = events_[i];
    const auto socket = [&event] { return static_cast<Socket*>(event.data.ptr); };
    const bool ended = (event.events & kEnded) != 0;
    if ((ended || (event.events & EPOLLOUT) != 0) && socket() != nullptr) socket()->OnSocketWritable();
    if ((ended || (event.events & EPOLLIN) != 0) && socket() != nullptr) socket()->OnSocketReadable(ended);
  }
  event_count_ = 0;
}

void Poller::Again(Socket* socket) {
  again_.push_back(socket);
  if (again_.size() == 1) asio::post(waiting_->get_executor(), [this] { DispatchAgain(); });
}

void Poller::DispatchAgain() {
  Loop::Turn turn(loop_);
  running_again_.swap(again_);
  for (size_t i = 0; i < running_again_.size(); ++i) {
    if (running_again_[i] != nullptr) running_again_[i]->OnAgain();
  }
  running_again_.clear();
}

}  // namespace kvorum::http
