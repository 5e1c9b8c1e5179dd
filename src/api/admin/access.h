#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "http/handler.h"

namespace kvorum::api_admin {

/// Whom the client listener answers (reference: http-endpoints.md §2.1): the names it may be called by, which
/// keeps web pages from reaching it through DNS rebinding, and the origins whose scripts may. Immutable.
class AccessRules {
 public:
  AccessRules(std::vector<std::string> cors, std::vector<std::string> host_whitelist);

  /// `authority` with or without a port.
  bool HostAllowed(std::string_view authority) const;
  /// The origin to be named in Access-Control-Allow-Origin, or null for no CORS headers. It lives as long as
  /// this does.
  std::optional<std::string_view> AllowedOrigin(const std::string_view* origin) const;

 private:
  const std::vector<std::string> cors_;
  const std::vector<std::string> hosts_;
};

/// The host of "host:port", "[::1]:2379" or "host".
std::string_view HostOf(std::string_view authority);

/// The body of 421 answers.
std::string UnrecognizedHostText(std::string_view host);

/// Gives the response the CORS headers for `origin`, which lives until its head is sent.
void AddCorsHeaders(std::string_view origin, http::ResponseWriter& writer);

}  // namespace kvorum::api_admin
