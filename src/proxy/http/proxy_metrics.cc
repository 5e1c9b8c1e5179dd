#include "proxy/http/proxy_metrics.h"

#include <algorithm>
#include <iterator>
#include <string>

#include "fmt/format.h"

namespace kvorum::proxy_http {
namespace {

/// The methods that have a label of their own: clients may not make up as many as they like.
std::string Label(std::string_view method) {
  static constexpr std::string_view kMethods[] = {"GET",     "HEAD",  "POST",  "PUT",    "DELETE",
                                                  "OPTIONS", "PATCH", "TRACE", "CONNECT"};
  const bool known = std::find(std::begin(kMethods), std::end(kMethods), method) != std::end(kMethods);
  return known ? std::string(method) : "other";
}

}  // namespace

ProxyMetrics::ProxyMetrics(metrics::Registry* registry)
    : requests_(registry->NewCounterFamily("etcd_proxy_requests_total",
                                           "Counter requests incoming by method.", {"method"})),
      handled_(registry->NewCounterFamily("etcd_proxy_handled_total",
                                          "Counter of requests fully handled (by authoratitave servers)",
                                          {"method", "code"})),
      dropped_(registry->NewCounterFamily("etcd_proxy_dropped_total",
                                          "Counter of requests dropped on the proxy.",
                                          {"method", "proxying_error"})),
      seconds_(registry->NewHistogramFamily(
          "etcd_proxy_handling_duration_seconds",
          "Bucketed histogram of handling time of successful events (non-watches), by method (GET/PUT etc.).",
          {"method"}, 0.0005, 2, 13)) {}

void ProxyMetrics::OnRequest(std::string_view method) { requests_.With({Label(method)}).Add(); }

void ProxyMetrics::OnHandled(std::string_view method, int status, std::chrono::nanoseconds took) {
  handled_.With({Label(method), fmt::format_int(status).str()}).Add();
  seconds_.With({Label(method)}).Observe(took);
}

void ProxyMetrics::OnDropped(std::string_view method, std::string_view error) {
  dropped_.With({Label(method), std::string(error)}).Add();
}

}  // namespace kvorum::proxy_http
