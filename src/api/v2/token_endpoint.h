#pragma once

#include <chrono>
#include <memory>

#include "api/v2/access.h"
#include "api/v2/endpoint.h"
#include "api/v2/handler.h"

namespace kvorum::api_v2 {

/// Where a discovery service keeps its tokens.
inline constexpr std::string_view kRegistryKey = "/_etcd/registry";
/// How long a token is good for: a cluster that is not whole by then needs another.
inline constexpr std::chrono::hours kTokenLifetime(7 * 24);
/// The clusters that a token may be for.
inline constexpr int64_t kDefaultClusterSize = 3;
inline constexpr int64_t kMaxClusterSize = 100;
/// How many tokens there may be at a time, and how many a member makes at once.
inline constexpr size_t kMaxTokens = 10'000;
inline constexpr int kMaxTokensUnderWay = 64;

/// GET, PUT or POST /new?size=N makes the token of a new cluster in the key space and answers with its URL
/// (reference: proxy-discovery.md §7.1, the public service). Whoever may write below kRegistryKey may do so;
/// `access` is borrowed.
std::unique_ptr<Endpoint> NewTokenEndpoint(const HandlerOptions& options, AccessControl* access);

}  // namespace kvorum::api_v2
