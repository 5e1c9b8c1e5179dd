#pragma once

#include <chrono>
#include <string_view>

#include "base/metrics.h"

namespace kvorum::proxy_http {

/// etcd_proxy_* (reference: proxy-discovery.md §6.4). Thread-safe.
class ProxyMetrics {
 public:
  explicit ProxyMetrics(metrics::Registry* registry);

  void OnRequest(std::string_view method);
  /// The head of a member's answer came.
  void OnHandled(std::string_view method, int status, std::chrono::nanoseconds took);
  /// `error`: "zero_endpoints", "failed_sending_request", "failed_getting_response".
  void OnDropped(std::string_view method, std::string_view error);

 private:
  metrics::Family<metrics::Counter>& requests_;
  metrics::Family<metrics::Counter>& handled_;
  metrics::Family<metrics::Counter>& dropped_;
  metrics::Family<metrics::Histogram>& seconds_;
};

}  // namespace kvorum::proxy_http
