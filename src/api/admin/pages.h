#pragma once

#include <memory>

#include "api/admin/handlers.h"

namespace kvorum::api_admin {

// The pages that are answered at once from what the member shows of itself.

/// /version (reference: http-endpoints.md §2.4).
/// `release`: what to say of the server; `more`: more fields of the object, each with a comma in front.
void ServeVersion(member::Member& member, std::string_view release, std::string_view more,
                  const http::Request& request, http::ResponseWriter& writer);

/// /metrics (§2.5): text format 0.0.4, gzip where the client takes it. Counts itself as promhttp does.
class MetricsPage {
 public:
  explicit MetricsPage(metrics::Registry* registry);
  void Serve(const http::Request& request, http::ResponseWriter& writer);

 private:
  metrics::Registry& registry_;
  metrics::Gauge& in_flight_;
  metrics::Counter& ok_;
};

/// /debug/vars (§2.6): cmdline, file_descriptor_limit, raft.status.
void ServeVars(const HandlerOptions& options, const http::Request& request, http::ResponseWriter& writer);

/// PUT /config/local/log (§2.7): reads the body, then answers.
std::unique_ptr<http::RequestSink> ServeLogLevel(const HandlerOptions& options, const http::Request& request,
                                                 http::ResponseWriter& writer);

}  // namespace kvorum::api_admin
