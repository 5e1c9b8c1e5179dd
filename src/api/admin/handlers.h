#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/metrics.h"
#include "http/handler.h"
#include "member/member.h"

namespace kvorum::api_admin {

struct HandlerOptions {
  member::Member* member = nullptr;      ///< borrowed
  Logger* logger = &NullLogger();        ///< borrowed
  metrics::Registry* metrics = nullptr;  ///< borrowed
  /// Changes the log level at run time (PUT /config/local/log); empty: that path is 404. Thread-safe.
  std::function<void(LogLevel)> set_log_level;
  std::vector<std::string> cors = {"*"};            ///< --cors
  std::vector<std::string> host_whitelist = {"*"};  ///< --host-whitelist
  std::vector<std::string> command_line;            ///< for /debug/vars
  /// Answers /v3/… and /v3beta/… (rewritten to /v3/…); null: 404. Borrowed.
  http::Handler* gateway = nullptr;
  /// Answers /v2 and /v2/…, also where the path only says so once it is decoded or cleaned; null: 404.
  /// Borrowed.
  http::Handler* v2 = nullptr;
};

// Handlers for plain HTTP requests (reference: http-endpoints.md). Thread-safe; each outlives the
// http::Server that it answers for, and is outlived by what its options borrow.

/// The client listener: /health, /livez, /readyz, /version, /metrics, /debug/vars, /config/local/log and the
/// gateway, behind the host check and CORS (§2).
std::unique_ptr<http::Handler> NewClientHandler(const HandlerOptions& options);

/// --listen-metrics-urls: /metrics, /health, /livez, /readyz (§3).
std::unique_ptr<http::Handler> NewMetricsHandler(const HandlerOptions& options);

/// The peer listener, as far as it is not of the members' own protocol: /version (§4); the rest is 404.
std::unique_ptr<http::Handler> NewPeerHandler(const HandlerOptions& options);

/// Adds the process_* and os_fd_* metrics, read when the text is made, and etcd_server_version (reference:
/// metrics.md §2.1, §5, §7).
void AddProcessMetrics(metrics::Registry* metrics);

}  // namespace kvorum::api_admin
