#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "http/handler.h"
#include "http/loop.h"
#include "http/tls.h"

namespace kvorum::http {

/// A request to another server.
struct ClientRequest {
  std::string method = "GET";
  std::string url;  ///< "http://127.0.0.1:2380/members", "https://…": scheme, host, port, path and query
  Headers headers;  ///< besides Host, Content-Length and Transfer-Encoding
  std::string body;
  std::string host = {};   ///< the Host header; empty: as the URL has it
  std::string proxy = {};  ///< "http://127.0.0.1:3128": the HTTP proxy that it goes through; empty: none
};
struct ClientResponse {
  int status = 0;
  Headers headers;  ///< names are lower case
  std::string body;

  /// The first header of that (lower-case) name, or nullptr.
  const std::string* Find(std::string_view name) const;
};

struct ClientOptions {
  std::chrono::nanoseconds dial_timeout = std::chrono::seconds(5);  ///< with the handshake; 0: no limit
  size_t max_idle_connections = 4;  ///< for each address; kept for later requests
  std::chrono::nanoseconds idle_timeout = std::chrono::seconds(30);
  /// An answer that others wait behind (see `pipelined`) may be so long in coming; then they go elsewhere.
  std::chrono::nanoseconds pipeline_patience = std::chrono::milliseconds(50);
  /// A server that did not take HTTP/2 (see `multiplexed`) is asked again after so long.
  std::chrono::nanoseconds http2_retry = std::chrono::seconds(30);
  /// An HTTP/2 connection that is waited for and brings nothing for so long is asked whether it lives, and
  /// counts as broken after as long again.
  std::chrono::nanoseconds http2_silence = std::chrono::seconds(10);
  size_t max_response_bytes = size_t{64} << 20;  ///< of a response that is collected; more is an error
  std::shared_ptr<const TlsContext> tls = {};    ///< for https; null: TlsContext::SystemClient()
};

/// Takes a response piece by piece; called on the client's loop.
class ResponseSink {
 public:
  virtual ~ResponseSink() = default;
  /// Status and headers; the body is not there yet.
  virtual void OnHead(ClientResponse head) = 0;
  /// The next piece of the body, valid during the call.
  virtual void OnData(std::string_view data) = 0;
  /// Last call, once. OK: the response is complete. Errors as of `Client::Call`.
  virtual void OnEnd(absl::Status status) = 0;
};

/// Gives the body of a request whose length is not known before; called on the client's loop.
class BodySource {
 public:
  using Piece = absl::AnyInvocable<void(absl::StatusOr<Bytes>)>;
  virtual ~BodySource() = default;
  /// Asks for the next piece, one at a time, when what was given before has nearly left. `piece` is called
  /// once, on any thread: empty at the end; an error breaks the exchange off.
  virtual void Pull(Piece piece) = 0;
};

/// How long an exchange may take; 0 is without a limit.
struct ExchangeOptions {
  std::chrono::nanoseconds write_timeout{0};      ///< the system takes nothing of the request
  std::chrono::nanoseconds response_timeout{0};   ///< no head has come since the request was sent
  std::chrono::nanoseconds read_timeout{0};       ///< nothing of the body has come
  MonotonicTime deadline = MonotonicTime::max();  ///< all of it, with the dialling
  /// A request that met a connection which the server was closing is repeated once, whatever its method. The
  /// server may have got it both times.
  bool repeat = false;
  /// A GET or HEAD without a body that changes nothing and is answered at once, with little: it may go out
  /// behind others of its kind before they are answered, on one connection. Where that connection breaks, and
  /// where an answer before its own takes long or is long, it is sent again, on a connection of its own.
  bool pipelined = false;
  /// A request that may share a connection with others, each a stream of its own, where the server speaks
  /// HTTP/2. That is found out beside the first such request, and the connection made; until then, and where
  /// it does not, it goes over HTTP/1.1 as any other. Not through a proxy.
  bool multiplexed = false;
};

/// An exchange under way. On the loop only.
class Exchange {
 public:
  virtual ~Exchange() = default;
  /// Breaks it off: the sink is told nothing more, not even the end. Does nothing once it ended.
  virtual void Cancel() = 0;
  /// Reads nothing more of the response until Resume, and no time runs for it; for sinks that cannot take it
  /// as fast as it comes. What was read before still comes. Nothing once it ended.
  virtual void Pause() = 0;
  virtual void Resume() = 0;
};

/// Sends requests from one loop, over HTTP/1.1 where they do not say that it may be HTTP/2, and keeps
/// connections for later ones. Names are resolved without blocking the loop. Thread-safe where nothing else
/// is said; callbacks run on the loop, once each, never inside the call. Errors: Unavailable ("dial tcp
/// 127.0.0.1:2380: connect: connection refused", a connection that broke, a certificate that is refused, a
/// response that is none), DeadlineExceeded, ResourceExhausted for a response that is too long, Cancelled
/// after Stop, InvalidArgument for a URL that is none, and for https through a proxy.
///
/// A request that met a connection which the server was closing is repeated once where its method is GET.
class Client {
 public:
  Client(Loop* loop, ClientOptions options);
  /// As `Stop()`.
  ~Client();

  /// The whole exchange: the body is sent and collected.
  void Call(ClientRequest request, MonotonicTime deadline,
            absl::AnyInvocable<void(absl::StatusOr<ClientResponse>)> done);

  /// The same in pieces, on a connection of its own where none is idle. With a `source` the body comes from
  /// there, in chunks. REQUIRES: no source where `options` say pipelined or multiplexed. On the loop only.
  std::shared_ptr<Exchange> Open(ClientRequest request, const ExchangeOptions& options,
                                 std::shared_ptr<ResponseSink> sink,
                                 std::shared_ptr<BodySource> source = nullptr);

  /// Fails what is under way and closes every connection. Not from the loop, which must still run.
  void Stop();

 private:
  class Impl;
  const std::shared_ptr<Impl> impl_;
  bool stopped_ = false;
};

}  // namespace kvorum::http
