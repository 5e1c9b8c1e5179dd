#pragma once

#include <string_view>

#include "http/handler.h"

namespace kvorum::api_v2 {

/// Answers a request whose path is not clean as Go's request multiplexer does: 301, to `clean_path`
/// (CleanPath of the decoded path) with the same query (reference: v2-keys.md §1.1).
void RedirectTo(std::string_view clean_path, const http::Request& request, http::ResponseWriter& writer);

}  // namespace kvorum::api_v2
