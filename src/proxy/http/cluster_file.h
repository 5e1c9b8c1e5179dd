#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/env.h"

namespace kvorum::proxy_http {

// What a proxy keeps on disk: the peer URLs of the members that it last heard of (reference:
// proxy-discovery.md §6.1), `{"PeerURLs":["http://127.0.0.1:2380"]}`.

std::string ClusterFileText(const std::vector<std::string>& peer_urls);
/// Errors: InvalidArgument for what is no such text, or names no URL.
absl::StatusOr<std::vector<std::string>> ParseClusterFile(std::string_view text);

/// Errors: NotFound where there is none; else with the file's name.
absl::StatusOr<std::vector<std::string>> ReadClusterFile(Env& env, const std::string& path);

/// Replaces the file in one step: whoever reads it, after a crash too, finds the old list or the new one.
absl::Status WriteClusterFile(Env& env, const std::string& path, const std::vector<std::string>& peer_urls);

}  // namespace kvorum::proxy_http
