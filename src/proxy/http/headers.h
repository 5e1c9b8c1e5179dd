#pragma once

#include <string>
#include <string_view>

#include "http/handler.h"

namespace kvorum::proxy_http {

// Headers on their way through (reference: proxy-discovery.md §6.3). Names are lower case.

/// The headers that go on with a request: without those of one connection, also those that its Connection
/// header names, and what the client side writes itself; with the client's address added to X-Forwarded-For.
http::Headers ForwardedHeaders(const http::Request& request);

/// The same of a response; without the member's CORS headers too, for those are the proxy's to say.
http::Headers ReturnedHeaders(http::Headers headers);

/// "127.0.0.1" of "127.0.0.1:41234", "::1" of "[::1]:41234"; empty where there is no address.
std::string_view AddressOf(std::string_view remote);

}  // namespace kvorum::proxy_http
