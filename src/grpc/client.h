#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "http/handler.h"
#include "http/loop.h"
#include "http/tls.h"

namespace kvorum::grpc {

/// What one connection is held to.
struct ConnectionLimits {
  size_t max_receive_bytes = INT32_MAX;  ///< of one message; more: ResourceExhausted
  size_t max_send_bytes = INT32_MAX;     ///< likewise
  uint32_t stream_window = 16 << 20;     ///< bytes that a server may send ahead, on one stream
  std::chrono::nanoseconds keepalive_time{
      0};  ///< pinged after so long without a byte from the server; 0: never
  std::chrono::nanoseconds keepalive_timeout = std::chrono::seconds(20);  ///< for the answer
  bool keepalive_without_calls = false;
};

/// How a connection to a server is made.
struct ConnectOptions {
  std::shared_ptr<const http::TlsContext>
      tls;                ///< null: not encrypted. Else the server must choose h2 (ALPN)
  std::string authority;  ///< of the requests; empty: the target
  MonotonicTime deadline = MonotonicTime::max();  ///< for lookup, connection and handshake together
  ConnectionLimits limits;
};

/// One HTTP/2 connection (prior knowledge, or TLS) to a server, for calls. Lives on one loop; every call on
/// it and every callback from it is there. A broken connection ends its calls with Unavailable and stays
/// broken.
class ClientConnection {
 public:
  using ConnectDone = absl::AnyInvocable<void(absl::StatusOr<std::unique_ptr<ClientConnection>>)>;
  /// `target` is "127.0.0.1:2379" or "unix:path". `done` gets the connection or why there is none: once,
  /// never inside the call. Errors: Unavailable ("dial tcp 127.0.0.1:1: connect: connection refused", "tls:
  /// failed to verify certificate: x509: …"). Thread-safe; `done` runs on the loop.
  static void Connect(http::Loop& loop, const std::string& target, ConnectOptions options, ConnectDone done);
  static void Connect(http::Loop& loop, const std::string& target, ConnectDone done) {
    Connect(loop, target, {}, std::move(done));
  }
  virtual ~ClientConnection() = default;

  /// Ends the calls under way with `reason`, inside this call, and takes no more. The destructor does it with
  /// Unavailable.
  virtual void Close(const absl::Status& reason) = 0;

  /// Takes no more calls, and closes once the last of them ended.
  virtual void CloseWhenIdle() = 0;

  /// Names a unary call, for Cancel.
  using CallId = int32_t;
  using UnaryDone = absl::AnyInvocable<void(const absl::Status& status, std::string_view response)>;
  /// `done` is called once, not inside this call. A deadline goes along as grpc-timeout and is kept here too:
  /// DeadlineExceeded. Metadata names ending with "-bin" have their values in plain bytes.
  virtual CallId Unary(std::string_view method, std::string_view request, UnaryDone done,
                       const http::Headers& metadata = {}, MonotonicTime deadline = MonotonicTime::max()) = 0;
  /// The call's `done` will not be called. Does nothing where it was.
  virtual void Cancel(CallId call) = 0;

  /// The same for a response that nobody wants to have in memory as a whole: `on_piece` gets its bytes as
  /// they come, `done` no response. A message cut short is an error.
  using UnaryPiece = absl::AnyInvocable<void(std::string_view piece)>;
  virtual void UnaryInPieces(std::string_view method, std::string_view request, UnaryPiece on_piece,
                             UnaryDone done) = 0;

  struct StreamCallbacks {
    absl::AnyInvocable<void(std::string_view message)> on_message;
    absl::AnyInvocable<void(const absl::Status& status)> on_end;  ///< once, last
    /// May be null: `buffered` fell under half of http::ResponseWriter::kHighWater after reaching it.
    absl::AnyInvocable<void()> on_writable;

    /// For those who pass calls on: messages are pieces of the body as they come and go, with their prefixes,
    /// and metadata stand as on the wire ("-bin" values in base64, grpc-encoding and the like included).
    bool as_bytes = false;
    absl::AnyInvocable<void(const http::HeaderViews& headers)> on_head;  ///< may be null
    /// What came behind the messages, or instead of a head and messages, grpc-status included; before on_end.
    /// Not called where the server sent no such thing. May be null.
    absl::AnyInvocable<void(const http::HeaderViews& headers)> on_trailers;
  };
  class Stream {
   public:
    virtual ~Stream() = default;  ///< cancels, if it has not ended
    virtual void Send(std::string_view message) = 0;
    virtual void HalfClose() = 0;
    /// Bytes that were sent and wait for the connection.
    virtual size_t buffered() const = 0;
    /// Holds the server back, or lets it go on. What is on its way still comes: up to the stream's window.
    virtual void Pause() = 0;
    virtual void Resume() = 0;
  };
  virtual std::unique_ptr<Stream> OpenStream(std::string_view method, StreamCallbacks callbacks,
                                             const http::Headers& metadata = {},
                                             MonotonicTime deadline = MonotonicTime::max()) = 0;

  virtual bool broken() const = 0;
  /// Takes new calls: neither broken nor told by the server to go away.
  virtual bool usable() const = 0;
  /// `callback` is called once, on the loop, when the connection stops being usable; before its calls are
  /// told, where it broke. It may destroy the connection.
  virtual void OnUnusable(absl::AnyInvocable<void()> callback) = 0;
  /// `callback` is called once, on the loop, when the server has said its first word (SETTINGS).
  virtual void OnReady(absl::AnyInvocable<void()> callback) = 0;
};

}  // namespace kvorum::grpc
