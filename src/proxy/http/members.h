#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "http/client.h"

namespace kvorum::proxy_http {

/// Where the members of a cluster are to be found; each list sorted and without doubles.
struct MemberUrls {
  std::vector<std::string> peer_urls;
  std::vector<std::string> client_urls;
  bool empty = false;  ///< there are no members
};

/// The body of GET /members of a peer URL (reference: proxy-discovery.md §4). Errors: InvalidArgument.
absl::StatusOr<MemberUrls> ParseMembers(std::string_view body);

/// An answer to it: of a member where it names its cluster, whatever its status. Errors: InvalidArgument.
absl::StatusOr<MemberUrls> ReadMembers(const http::ClientResponse& response);

}  // namespace kvorum::proxy_http
