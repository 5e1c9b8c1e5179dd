#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"
#include "http/client.h"
#include "http/raw_server.h"

// For tests of clients that have several connections to a server.

namespace kvorum::http {

/// Each connection is served by a `Script`, which gets its Peer(fd, number), on a thread of its own, and
/// closed when that returns.
template <typename Peer>
class ThreadedServer {
 public:
  using Script = std::function<void(Peer&)>;
  explicit ThreadedServer(Script script) : script_(std::move(script)) {
    listener_.emplace([this](int fd) {
      serving_.emplace_back([this, fd, number = ++connections] {
        Peer peer(fd, number);
        script_(peer);
        ::close(fd);
      });
    });
    url = "http://" + listener_->address();
  }
  /// The client must be stopped.
  ~ThreadedServer() {
    listener_.reset();
    for (std::thread& thread : serving_) thread.join();
  }

  std::string url;
  std::atomic<int> connections = 0;

 private:
  const Script script_;
  std::vector<std::thread> serving_;  // the listener's thread adds to them
  std::optional<RawListener> listener_;
};

/// One exchange as its sink sees it.
struct Seen final : ResponseSink {
  void OnHead(ClientResponse head) override {
    status = head.status;
    if (on_head) on_head();
  }
  void OnData(std::string_view data) override {
    body.append(data);
    if (on_data) on_data();
  }
  void OnEnd(absl::Status status) override {
    EXPECT_FALSE(ended.HasBeenNotified()) << "a second end";
    end = std::move(status);
    ended.Notify();
  }
  std::string Wait() {
    EXPECT_TRUE(ended.WaitForNotificationWithTimeout(absl::Seconds(20))) << "no end";
    return end.ok() ? body : std::string(end.message());
  }

  std::function<void()> on_head;
  std::function<void()> on_data;
  int status = 0;
  std::string body;
  absl::Status end;
  absl::Notification ended;
  std::shared_ptr<Exchange> exchange;
};

}  // namespace kvorum::http
