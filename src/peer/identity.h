#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "base/ids.h"
#include "http/handler.h"

namespace kvorum::peer {

// Who speaks, in the headers of every request of /raft (reference: peer-protocol.md §2).

inline constexpr std::string_view kIncompatibleVersion = "incompatible version";
inline constexpr std::string_view kClusterIdMismatch = "cluster ID mismatch";

/// A member or cluster id as text has it: hexadecimal, 64 bits.
std::optional<uint64_t> ParseId(std::string_view text);

class Identity {
 public:
  Identity(MemberId local, ClusterId cluster, const std::vector<std::string>& advertise_peer_urls);

  MemberId local() const { return local_; }
  /// What a request carries.
  const http::Headers& request_headers() const { return request_headers_; }
  /// What a stream's response carries; other responses have `cluster_header` alone.
  const http::Headers& stream_headers() const { return stream_headers_; }
  const http::Headers& cluster_header() const { return cluster_header_; }

  /// Whether the sender's version and cluster go with ours. Errors: FailedPrecondition with one of the texts
  /// above; InvalidArgument for a version that is none.
  absl::Status Check(const http::Request& request) const;

 private:
  const MemberId local_;
  const std::string cluster_text_;
  http::Headers request_headers_;
  http::Headers stream_headers_;
  http::Headers cluster_header_;
};

/// Who sent a request, and where it can be reached, as its headers say.
struct Sender {
  std::optional<uint64_t> id;
  std::vector<std::string> peer_urls;
};
Sender SenderOf(const http::Request& request);

}  // namespace kvorum::peer
