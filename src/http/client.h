#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "http/handler.h"
#include "http/loop.h"

namespace kvorum::http {

/// A request to another server, over HTTP/1.1.
struct ClientRequest {
  std::string method = "GET";
  std::string url;  ///< "http://127.0.0.1:2380/members": scheme, host, port, path and query
  Headers headers;  ///< besides Host, Content-Length and Transfer-Encoding
  std::string body;
};
struct ClientResponse {
  int status = 0;
  Headers headers;  ///< names are lower case
  std::string body;

  /// The first header of that (lower-case) name, or nullptr.
  const std::string* Find(std::string_view name) const;
};

struct ClientOptions {
  std::chrono::nanoseconds dial_timeout = std::chrono::seconds(5);
  size_t max_idle_connections = 4;  ///< for each address; kept for later requests
  std::chrono::nanoseconds idle_timeout = std::chrono::seconds(30);
  size_t max_response_bytes = size_t{64} << 20;  ///< of a response that is collected; more is an error
};

/// Sends HTTP/1.1 requests from one loop, and keeps connections for later ones. Names are resolved without
/// blocking the loop. Thread-safe; callbacks run on the loop, once each, never inside the call. Errors:
/// Unavailable ("dial tcp 127.0.0.1:2380: connect: connection refused"), DeadlineExceeded, Cancelled after
/// Stop, InvalidArgument for a URL that is none.
class Client {
 public:
  Client(Loop* loop, ClientOptions options);
  ~Client();

  /// The whole exchange: the body is sent and collected.
  void Call(ClientRequest request, MonotonicTime deadline,
            absl::AnyInvocable<void(absl::StatusOr<ClientResponse>)> done);

  /// Fails what is under way and closes every connection; not from the loop. No call may follow.
  void Stop();

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace kvorum::http
