#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <optional>
#include <string>
#include <vector>

#include "grpc/channel.h"
#include "grpc/test_service.h"

// For tests: blocking calls on a channel, and servers that are no good.

namespace kvorum::grpc {

/// A port that accepts (the system does), and where nobody answers.
class HungServer {
 public:
  HungServer() : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    KVORUM_CHECK(::bind(fd_, reinterpret_cast<sockaddr*>(&address), size) == 0, "bind");
    KVORUM_CHECK(::listen(fd_, 8) == 0, "listen");
    KVORUM_CHECK(::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size) == 0, "getsockname");
    endpoint = fmt::format("127.0.0.1:{}", ntohs(address.sin_port));
  }
  ~HungServer() { ::close(fd_); }
  std::string endpoint;

 private:
  const int fd_;
};

/// A port where nobody listens.
inline std::string DeadEndpoint() {
  HungServer server;
  return server.endpoint;
}

/// A channel on a loop of its own, and blocking calls on it.
class Client {
 public:
  explicit Client(ChannelOptions options) {
    RunOn(loop, [&] { channel.emplace(loop, std::move(options)); });
  }
  ~Client() {
    RunOn(loop, [&] { channel.reset(); });
  }

  struct Reply {
    absl::Status status;
    std::string text;
  };
  Reply Call(std::string_view method, std::string_view request,
             std::chrono::nanoseconds timeout = std::chrono::seconds(10),
             const http::Headers& metadata = {}) {
    Reply reply;
    absl::Notification done;
    loop.Post([&] {
      channel->Unary(
          method, request, loop.clock().Now() + timeout,
          [&](const absl::Status& status, std::string_view response) {
            reply = {Detach(status), std::string(response)};
            done.Notify();
          },
          metadata);
    });
    done.WaitForNotification();
    return reply;
  }
  std::string connected_to() {
    std::string endpoint;
    RunOn(loop, [&] { endpoint = channel->connected_to(); });
    return endpoint;
  }

  http::Loop loop{"client"};
  std::optional<Channel> channel;
};

/// A stream with what came of it.
struct Talk {
  ClientConnection::StreamCallbacks Callbacks() {
    ClientConnection::StreamCallbacks callbacks;
    callbacks.on_message = [this](std::string_view message) {
      messages.emplace_back(message);
      if (messages.size() == 1) first.Notify();
    };
    callbacks.on_end = [this](const absl::Status& end) {
      status = Detach(end);
      ended.Notify();
    };
    return callbacks;
  }
  std::unique_ptr<ClientConnection::Stream> stream;
  std::vector<std::string> messages;
  absl::Status status;
  absl::Notification first, ended;
};

}  // namespace kvorum::grpc
