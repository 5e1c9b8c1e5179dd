#pragma once

#include <string>
#include <string_view>

namespace kvorum::api_admin {

/// `text` as a gzip member (RFC 1952), at the fastest level.
std::string Gzip(std::string_view text);

}  // namespace kvorum::api_admin
