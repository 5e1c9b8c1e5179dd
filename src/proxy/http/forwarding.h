#pragma once

#include <atomic>
#include <chrono>
#include <memory>

#include "base/log.h"
#include "http/client.h"
#include "http/handler.h"
#include "proxy/http/director.h"
#include "proxy/http/proxy_metrics.h"

namespace kvorum::proxy_http {

/// What all requests under way share. Thread-safe; borrowed by each.
struct ForwardingShared {
  Director* director = nullptr;
  ProxyMetrics* metrics = nullptr;
  Logger* logger = &NullLogger();
  http::ExchangeOptions exchange;
  size_t max_body_bytes = 0;          ///< of one request; more: 413
  size_t max_kept_bytes = 0;          ///< of all requests' bodies; more: 503
  size_t max_exchanges = 0;           ///< with members, at a time; more: 503
  std::atomic<size_t> kept_bytes{0};  // counted by every loop
  std::atomic<size_t> exchanges{0};   // counted by every loop
};

/// Passes one request on to a member that answers, and the answer back as it comes (reference:
/// proxy-discovery.md §6.3): collects the body, tries one endpoint after the other until there is a head, and
/// holds the member back while the client does not read. `client` is of the writer's loop.
std::unique_ptr<http::RequestSink> Forward(ForwardingShared& shared, http::Client& client,
                                           const http::Request& request, http::ResponseWriter& writer);

}  // namespace kvorum::proxy_http
