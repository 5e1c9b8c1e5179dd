#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "grpc/client.h"
#include "http/tls.h"

namespace kvorum::grpc {

struct ChannelOptions {
  /// "127.0.0.1:2379", "http://…", "https://…", "unix:path"; those without a scheme use TLS where `tls` is
  /// set.
  std::vector<std::string> endpoints;
  std::shared_ptr<const http::TlsContext> tls;  ///< for https; null: the system's authorities
  std::chrono::nanoseconds dial_timeout = std::chrono::seconds(5);
  std::chrono::nanoseconds keepalive_time{0};  ///< an idle connection is pinged after this; 0: never
  std::chrono::nanoseconds keepalive_timeout = std::chrono::seconds(20);
  bool keepalive_without_calls = false;
  size_t max_receive_bytes = 0x7fffffff;  ///< of one message; more: ResourceExhausted
  size_t max_send_bytes = 0x7fffffff;
  Logger* logger = &NullLogger();  ///< borrowed
};

/// Calls to a cluster: one connection at a time to one of several servers; when it breaks, to the next that
/// answers, with back-off (gRPC's, at most a few seconds) once all have failed. On its loop only, callbacks
/// too, never inside the call. Names are looked up without blocking the loop.
class Channel {
 public:
  Channel(http::Loop& loop, ChannelOptions options);
  /// Calls under way end as cancelled, inside this call.
  ~Channel();

  /// Replaces the servers; a connection to one that is still among them is kept.
  void SetEndpoints(std::vector<std::string> endpoints);

  /// Lets calls under way end on their connection and makes the next ones with another server, where there
  /// is another: for a server that answers but is of no use.
  void TryAnother();
  /// The same, and calls under way end with Unavailable, inside this call.
  void LeaveServer();

  /// Names a unary call, for Cancel.
  using CallId = uint64_t;
  /// Waits for a connection until `deadline`: then Unavailable, with the last dial's error ("context deadline
  /// exceeded" DeadlineExceeded where none failed). The deadline is also sent as grpc-timeout and kept here.
  /// A call without a deadline (MonotonicTime::max()) waits for a connection as long as a stream does. A call
  /// that was sent is not repeated.
  CallId Unary(std::string_view method, std::string_view request, MonotonicTime deadline,
               ClientConnection::UnaryDone done, const http::Headers& metadata = {});
  /// The call's `done` will not be called. Does nothing where it was.
  void Cancel(CallId call);

  /// Opens at once, or as soon as there is a connection: what was sent before goes then. Where no server can
  /// be reached within dial_timeout it ends with Unavailable.
  std::unique_ptr<ClientConnection::Stream> OpenStream(std::string_view method,
                                                       ClientConnection::StreamCallbacks callbacks,
                                                       const http::Headers& metadata = {},
                                                       MonotonicTime deadline = MonotonicTime::max());

  /// The endpoint that is connected; empty: none.
  std::string connected_to() const;

 private:
  class Impl;
  const std::shared_ptr<Impl> impl_;  // shared with its operations under way
};

}  // namespace kvorum::grpc
