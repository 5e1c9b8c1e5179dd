#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "http/handler.h"

namespace kvorum::api_v2 {

/// One request after routing.
struct Call {
  const http::Request& request;
  /// The path, percent-decoded and cleaned, with the slash at its end where it had one (§1.1). Valid during
  /// `Start`.
  std::string_view path;
  http::ResponseWriter& writer;
};

/// Answers one family of paths. Thread-safe.
class Endpoint {
 public:
  virtual ~Endpoint() = default;
  /// As http::Handler::Start. Checks the method itself (ReplyMethodNotAllowed).
  virtual std::unique_ptr<http::RequestSink> Start(const Call& call) = 0;
};

/// 405 with the methods joined by ',' (§1.1).
void ReplyMethodNotAllowed(http::ResponseWriter& writer, std::string_view allow);
/// The error form of members, auth and statistics: `{"message":"…"}` without a newline (§6.3).
void ReplyMessage(http::ResponseWriter& writer, int status, std::string_view message,
                  http::Headers headers = {});
/// A sink for requests whose body nobody reads.
std::unique_ptr<http::RequestSink> IgnoreBody();

}  // namespace kvorum::api_v2
