#pragma once

#include <memory>
#include <string>

#include "base/executor.h"
#include "base/log.h"
#include "base/metrics.h"
#include "http/handler.h"
#include "member/member.h"
#include "member/traffic_stats.h"

namespace kvorum::api_v2 {

struct HandlerOptions {
  member::Member* member = nullptr;             ///< borrowed
  const member::TrafficStats* stats = nullptr;  ///< borrowed
  Executor* password_executor = nullptr;        ///< borrowed; hashing a password takes some 50 ms of it
  Logger* logger = &NullLogger();               ///< borrowed
  metrics::Registry* metrics = nullptr;         ///< borrowed
  /// --serve-discovery: the scheme of the URLs that /new answers with; empty: no discovery service.
  std::string discovery_scheme = {};
};

/// Answers everything under /v2 on the client listener (reference: v2-keys.md): /v2/keys, /v2/members,
/// /v2/stats, /v2/machines, /v2/auth, and /new where there is a discovery service; 404 for the rest. CORS,
/// OPTIONS and the host check are done before it. Thread-safe; outlives the http::Server that it answers for,
/// and is outlived by what its options borrow.
std::unique_ptr<http::Handler> NewHandler(const HandlerOptions& options);

}  // namespace kvorum::api_v2
