#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "http/client.h"
#include "http/handler.h"
#include "proxy/grpc/upstream.h"

namespace kvorum::proxy_grpc {

struct PagesOptions {
  Upstream upstream;
  /// A channel to the proxy itself, at the address that it advertises; on the upstream's loop. Null: none.
  grpc::Channel* self = nullptr;
  http::Client* client = nullptr;  ///< borrowed
  /// URLs of the cluster's members, in whatever order they are to be tried. Thread-safe.
  std::function<std::vector<std::string>()> member_urls;
};

/// What the proxy's port answers to plain HTTP (reference: proxy-discovery.md §11.3): /metrics of a member,
/// /health of the cluster, /proxy/metrics and /proxy/health of the proxy. Thread-safe.
std::unique_ptr<http::Handler> NewPages(PagesOptions options);

}  // namespace kvorum::proxy_grpc
