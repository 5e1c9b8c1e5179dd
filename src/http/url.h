#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace kvorum::http {

/// Where a request to another server goes.
struct HttpUrl {
  std::string host;       ///< a name or an address, without brackets
  std::string port;       ///< decimal; 80, or 443, where the URL has none
  std::string authority;  ///< as the URL has it: the Host header
  std::string target;     ///< path and query; at least "/"
  bool secure = false;    ///< the scheme is https
};

/// Takes "http://host:port/path?query" apart, or "https://…". Errors: InvalidArgument.
absl::StatusOr<HttpUrl> ParseHttpUrl(std::string_view url);

}  // namespace kvorum::http
