#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/env.h"
#include "base/log.h"
#include "base/metrics.h"
#include "http/client.h"
#include "http/handler.h"
#include "http/loop.h"
#include "http/tls.h"

namespace kvorum::proxy_http {

struct ReverseProxyOptions {
  bool readonly = false;
  std::vector<std::string>
      peer_urls;             ///< where the members are asked for; from the cluster file where there is one
  std::string cluster_file;  ///< "<data-dir>/proxy/cluster"
  std::chrono::nanoseconds failure_wait = std::chrono::seconds(5);
  std::chrono::nanoseconds refresh_interval = std::chrono::seconds(30);
  std::chrono::nanoseconds dial_timeout = std::chrono::seconds(1);   ///< 0: no limit
  std::chrono::nanoseconds write_timeout = std::chrono::seconds(5);  ///< 0: no limit
  std::chrono::nanoseconds read_timeout{0};                          ///< 0: no limit
  std::vector<std::string> cors = {"*"};                             ///< --cors
  std::vector<std::string> host_whitelist = {"*"};                   ///< --host-whitelist
  size_t max_body_bytes = 4 << 20;                                   ///< of a request; more: 413
  size_t max_kept_bytes = 256 << 20;                                 ///< of all requests' bodies; more: 503
  size_t max_grpc_bytes = 2 << 20;  ///< of a gRPC request; more: ResourceExhausted
  size_t max_exchanges = 32 << 10;  ///< with members at a time; more: 503
  std::shared_ptr<const http::TlsContext>
      client_tls;  ///< towards members' client URLs of https; null: the system's authorities
  std::shared_ptr<const http::TlsContext> peer_tls;  ///< the same, towards their peer URLs
  Env* env = nullptr;                                ///< borrowed
  http::LoopGroup* loops = nullptr;                  ///< borrowed; the clients' loops
  Logger* logger = &NullLogger();
  metrics::Registry* metrics = nullptr;
};

/// Proxy mode (reference: proxy-discovery.md §6): passes requests of the client port on to members that live,
/// HTTP/1.1 by HTTP/1.1 and gRPC by HTTP/2, keeps the list of members fresh and on disk, and shares one list
/// of who failed among all its requests.
class ReverseProxy {
 public:
  /// Reads the cluster file where there is one; changes nothing. Errors: one line for the operator.
  static absl::StatusOr<std::unique_ptr<ReverseProxy>> Create(ReverseProxyOptions options);
  virtual ~ReverseProxy() = default;

  /// Makes the cluster file's directory, asks for the members once, waits for the answer, and goes on asking.
  /// Blocks. Errors: the directory cannot be made.
  virtual absl::Status Start() = 0;
  /// Ends what is under way. REQUIRES: nobody starts requests any more
  virtual void Stop() = 0;

  /// For http::ServerOptions.
  virtual http::Handler& handler() = 0;
  virtual http::Handler& grpc_handler() = 0;
  /// /metrics alone, for ports of its own.
  virtual http::Handler& metrics_handler() = 0;
};

}  // namespace kvorum::proxy_http
