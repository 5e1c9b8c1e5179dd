#pragma once

#include <chrono>
#include <memory>

#include "base/log.h"
#include "base/metrics.h"
#include "grpc/server.h"
#include "member/member.h"

namespace kvorum::api_v3 {

struct ServicesOptions {
  member::Member* member = nullptr;      ///< borrowed
  Logger* logger = &NullLogger();        ///< borrowed
  metrics::Registry* metrics = nullptr;  ///< borrowed
  size_t max_txn_ops = 128;              ///< --max-txn-ops
  /// --watch-progress-notify-interval; at least 100 ms.
  std::chrono::nanoseconds watch_progress_interval = std::chrono::minutes(10);
  /// --warning-unary-request-duration
  std::chrono::nanoseconds warning_unary_request_duration = std::chrono::milliseconds(300);
  /// --metrics extensive: adds the histogram grpc_server_handling_seconds.
  bool extensive_metrics = false;
};

/// The services of etcd's v3 API (reference: v3-api.md): KV, Watch, Lease, Cluster, Maintenance, Auth, as far
/// as the member can serve them; what is not registered is Unimplemented.
///
///     api_v3::Services services(options);
///     grpc::Server server(services.ServerOptions());
///     services.Register(&server);
///
/// Outlives the gRPC server, whose calls use it; the member outlives both. Thread-safe.
class Services {
 public:
  /// REQUIRES: options.member and options.metrics
  explicit Services(const ServicesOptions& options);
  ~Services();

  /// Message limit, the checks before each call (reference: v3-api.md §2.4) and the metrics of calls.
  grpc::ServerOptions ServerOptions();
  void Register(grpc::Server* server);
  /// Waits for the ends of long reads, after which nothing of the database is in use. REQUIRES: every call
  /// was ended, and none follows
  void Stop();

  class Core;

 private:
  std::unique_ptr<Core> core_;
};

}  // namespace kvorum::api_v3
