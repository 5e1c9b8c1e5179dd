#pragma once

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

/// How a connection to a server is made.
struct ConnectOptions {
  std::shared_ptr<const http::TlsContext>
      tls;                ///< null: not encrypted. Else the server must choose h2 (ALPN)
  std::string authority;  ///< of the requests; empty: the target
  MonotonicTime deadline = MonotonicTime::max();  ///< for lookup, connection and handshake together
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

  using UnaryDone = absl::AnyInvocable<void(const absl::Status& status, std::string_view response)>;
  virtual void Unary(std::string_view method, std::string_view request, UnaryDone done,
                     const http::Headers& metadata = {}) = 0;

  /// The same for a response that nobody wants to have in memory as a whole: `on_piece` gets its bytes as
  /// they come, `done` no response. A message cut short is an error.
  using UnaryPiece = absl::AnyInvocable<void(std::string_view piece)>;
  virtual void UnaryInPieces(std::string_view method, std::string_view request, UnaryPiece on_piece,
                             UnaryDone done) = 0;

  struct StreamCallbacks {
    absl::AnyInvocable<void(std::string_view message)> on_message;
    absl::AnyInvocable<void(const absl::Status& status)> on_end;  ///< once, last
  };
  class Stream {
   public:
    virtual ~Stream() = default;  ///< cancels, if it has not ended
    virtual void Send(std::string_view message) = 0;
    virtual void HalfClose() = 0;
  };
  virtual std::unique_ptr<Stream> OpenStream(std::string_view method, StreamCallbacks callbacks,
                                             const http::Headers& metadata = {}) = 0;

  virtual bool broken() const = 0;
};

}  // namespace kvorum::grpc
