#pragma once

#include <deque>
#include <memory>
#include <string>
#include <utility>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "api/v3/services.h"
#include "base/check.h"
#include "grpc/client.h"
#include "http/server.h"

namespace kvorum::api_v3::testing {

inline constexpr absl::Duration kPatience = absl::Seconds(20);

/// The services on a port of their own, and a connection to it. Calls block the test's thread.
class TestServer {
 public:
  explicit TestServer(ServicesOptions options, http::Handler* handler = nullptr)
      : services_(options), grpc_(services_.ServerOptions()) {
    services_.Register(&grpc_);
    http::ServerOptions http_options;
    http_options.grpc_handler = &grpc_;
    http_options.handler = handler;
    http_ = std::make_unique<http::Server>(&loops_, http_options);
    address_ = *http_->Listen({"http://127.0.0.1:0"});
    http_->Start();
    connection_ = Connect();
  }
  ~TestServer() {
    OnClientLoop([this] { connection_.reset(); });
    http_->Shutdown(std::chrono::seconds(5));
  }

  const std::string& address() const { return address_; }

  std::unique_ptr<grpc::ClientConnection> Connect() {
    absl::StatusOr<std::unique_ptr<grpc::ClientConnection>> result = absl::UnknownError("");
    absl::Notification done;
    client_loop().Post([&] {
      grpc::ClientConnection::Connect(client_loop(), address_, [&](auto connection) {
        result = std::move(connection);
        done.Notify();
      });
    });
    KVORUM_CHECK(done.WaitForNotificationWithTimeout(kPatience));
    return *std::move(result);
  }

  /// Runs on the client's loop and waits for it.
  template <typename F>
  void OnClientLoop(F f) {
    absl::Notification done;
    client_loop().Post([&] {
      f();
      done.Notify();
    });
    KVORUM_CHECK(done.WaitForNotificationWithTimeout(kPatience));
  }

  /// The raw response, or the status.
  absl::StatusOr<std::string> CallRaw(std::string_view method, std::string_view request,
                                      const http::Headers& metadata = {}) {
    absl::StatusOr<std::string> result = absl::UnknownError("");
    absl::Notification done;
    client_loop().Post([&] {
      connection_->Unary(
          method, request,
          [&](const absl::Status& status, std::string_view response) {
            if (status.ok()) {
              result = std::string(response);
            } else {
              result = status;
            }
            done.Notify();
          },
          metadata);
    });
    KVORUM_CHECK(done.WaitForNotificationWithTimeout(kPatience), "{}", method);
    return result;
  }

  template <typename Response, typename Request>
  absl::StatusOr<Response> Call(std::string_view method, const Request& request,
                                const http::Headers& metadata = {}) {
    absl::StatusOr<std::string> raw = CallRaw(method, request.SerializeAsString(), metadata);
    if (!raw.ok()) return raw.status();
    Response response;
    KVORUM_CHECK(response.ParseFromString(*raw));
    return response;
  }

  /// One stream; messages are kept until they are asked for.
  template <typename Request, typename Response>
  class Stream {
   public:
    Stream(TestServer* server, std::string_view method, const http::Headers& metadata = {})
        : server_(server) {
      server_->OnClientLoop([&] {
        stream_ = server_->connection_->OpenStream(
            method,
            {.on_message =
                 [this](std::string_view message) {
                   Response response;
                   KVORUM_CHECK(response.ParseFromArray(message.data(), static_cast<int>(message.size())));
                   absl::MutexLock lock(&mutex_);
                   messages_.push_back(std::move(response));
                 },
             .on_end =
                 [this](const absl::Status& status) {
                   absl::MutexLock lock(&mutex_);
                   end_ = status;
                 }},
            metadata);
      });
    }
    ~Stream() { Close(); }

    void Send(const Request& request) { SendRaw(request.SerializeAsString()); }
    void SendRaw(const std::string& bytes) {
      server_->OnClientLoop([&] { stream_->Send(bytes); });
    }
    void HalfClose() {
      server_->OnClientLoop([&] { stream_->HalfClose(); });
    }
    void Close() {
      server_->OnClientLoop([&] { stream_.reset(); });
    }

    /// The next message. REQUIRES: one comes.
    Response Next() {
      absl::MutexLock lock(&mutex_);
      auto ready = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
        return !messages_.empty() || end_.has_value();
      };
      KVORUM_CHECK(mutex_.AwaitWithTimeout(absl::Condition(&ready), kPatience), "no message came");
      KVORUM_CHECK(!messages_.empty(), "the stream ended: {}", end_->ToString());
      Response response = std::move(messages_.front());
      messages_.pop_front();
      return response;
    }
    /// How the stream ended.
    absl::Status End() {
      absl::MutexLock lock(&mutex_);
      auto ready = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return end_.has_value(); };
      KVORUM_CHECK(mutex_.AwaitWithTimeout(absl::Condition(&ready), kPatience), "the stream did not end");
      return *end_;
    }
    size_t waiting() {
      absl::MutexLock lock(&mutex_);
      return messages_.size();
    }

   private:
    TestServer* const server_;
    std::unique_ptr<grpc::ClientConnection::Stream> stream_;
    absl::Mutex mutex_;
    std::deque<Response> messages_ ABSL_GUARDED_BY(mutex_);
    std::optional<absl::Status> end_ ABSL_GUARDED_BY(mutex_);
  };

 private:
  http::Loop& client_loop() { return client_loops_.at(0); }

  http::LoopGroup loops_{2};
  http::LoopGroup client_loops_{1, "client"};
  Services services_;
  grpc::Server grpc_;
  std::unique_ptr<http::Server> http_;
  std::string address_;
  std::unique_ptr<grpc::ClientConnection> connection_;
};

}  // namespace kvorum::api_v3::testing
