#pragma once

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/executor.h"
#include "grpc/client.h"
#include "proxy/grpc/upstream.h"

namespace kvorum::proxy_grpc {

/// What watches and leases need of the cluster and of time: the seam between their logic, which is on one
/// thread and without I/O, and the channel. No callback is called inside a call of this.
class ClusterCalls {
 public:
  using Stream = grpc::ClientConnection::Stream;
  using StreamCallbacks = grpc::ClientConnection::StreamCallbacks;
  using UnaryDone = grpc::ClientConnection::UnaryDone;

  virtual ~ClusterCalls() = default;
  virtual std::unique_ptr<Stream> OpenStream(std::string_view method, StreamCallbacks callbacks,
                                             const http::Headers& metadata) = 0;
  virtual void Unary(std::string_view method, std::string_view request, std::chrono::nanoseconds timeout,
                     UnaryDone done, const http::Headers& metadata) = 0;
  /// This member answers, but not in time: the next calls and streams go to another, where there is one.
  virtual void TryAnother() = 0;
  virtual Executor::TimerId After(std::chrono::nanoseconds delay, Executor::Task task) = 0;
  virtual void CancelTimer(Executor::TimerId timer) = 0;
};

/// Over the upstream's channel.
class ChannelCalls final : public ClusterCalls {
 public:
  explicit ChannelCalls(const Upstream& upstream) : upstream_(upstream) {}

  std::unique_ptr<Stream> OpenStream(std::string_view method, StreamCallbacks callbacks,
                                     const http::Headers& metadata) override {
    return upstream_.channel->OpenStream(method, std::move(callbacks), metadata);
  }
  void Unary(std::string_view method, std::string_view request, std::chrono::nanoseconds timeout,
             UnaryDone done, const http::Headers& metadata) override {
    upstream_.channel->Unary(method, request, upstream_.loop->clock().Now() + timeout, std::move(done),
                             metadata);
  }
  void TryAnother() override { upstream_.channel->TryAnother(); }
  Executor::TimerId After(std::chrono::nanoseconds delay, Executor::Task task) override {
    return upstream_.loop->PostAfter(delay, std::move(task));
  }
  void CancelTimer(Executor::TimerId timer) override { upstream_.loop->CancelTimer(timer); }

 private:
  const Upstream upstream_;
};

/// Whether a call that ended so may go better on another member or a little later.
inline bool IsPassing(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:  // a stream that nobody wanted to end
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kUnknown:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kAborted:
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDataLoss:
      return true;
    default:
      return false;
  }
}

/// How long to wait before the next attempt: longer and longer, until one went well.
class Backoff {
 public:
  std::chrono::milliseconds Next() { return std::exchange(next_, std::min(2 * next_, kLast)); }
  void Reset() { next_ = kFirst; }

 private:
  static constexpr auto kFirst = std::chrono::milliseconds(20);
  static constexpr auto kLast = std::chrono::milliseconds(1000);
  std::chrono::milliseconds next_ = kFirst;
};

/// The client's side of a stream, as the shared logic sees it.
class ClientSink {
 public:
  virtual ~ClientSink() = default;
  /// False: the client is behind with reading, and will be told to the logic (`OnRoom`) once it is not.
  virtual bool HasRoom() = 0;
  /// Sends `body` with the watch id of a WatchResponse in front, or, where that is 0, as it is. Answers are
  /// sent whether or not there is room.
  virtual void Send(int64_t watch_id, Bytes body) = 0;
  /// Ends the stream once what was sent is out; what follows goes nowhere.
  virtual void End(const absl::Status& status) = 0;
};

/// What brings the streams of all clients together: on the upstream's loop. A stream is named by its sink.
class StreamLogic {
 public:
  virtual ~StreamLogic() = default;  ///< every stream was closed
  /// `metadata`: as ForwardedMetadata gives it, without "hasleader".
  virtual void OnOpen(ClientSink* sink, http::Headers metadata) = 0;
  virtual void OnMessage(ClientSink* sink, std::string_view message) = 0;
  virtual void OnHalfClose(ClientSink* sink) = 0;
  virtual void OnRoom(ClientSink* sink) = 0;
  /// The stream is gone. Last call.
  virtual void OnClose(ClientSink* sink) = 0;
};

/// One text for the same credentials.
std::string CredentialsKey(const http::Headers& metadata);
absl::Status MalformedRequestError();

}  // namespace kvorum::proxy_grpc
