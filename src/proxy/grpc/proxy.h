#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/log.h"
#include "base/metrics.h"
#include "grpc/channel.h"
#include "http/server.h"
#include "http/tls.h"

namespace kvorum::proxy_grpc {

/// The flags of `kvorum grpc-proxy start` (reference: flags.md §6).
struct ProxyOptions {
  std::string listen_address;                          ///< "127.0.0.1:23790"
  std::string metrics_url;                             ///< --metrics-addr; empty: none
  std::shared_ptr<const http::TlsContext> listen_tls;  ///< null: without
  std::string advertise_url;  ///< --advertise-client-url; empty: MemberList is passed on
  std::shared_ptr<const http::TlsContext> self_tls;  ///< towards that URL
  std::string resolver_prefix;                       ///< empty: not registered
  std::chrono::seconds resolver_ttl{0};
  std::string key_prefix;  ///< --namespace
  std::string host_name;   ///< of this machine
  bool serializable_ordering = false;
  /// Towards the cluster: endpoints, TLS, keep-alive, sizes.
  grpc::ChannelOptions cluster;
  std::chrono::nanoseconds endpoints_sync_interval{0};  ///< 0: never
  http::ServerOptions server;                           ///< keep-alive and streams of clients
  size_t io_threads = 2;
  metrics::Registry* metrics = nullptr;  ///< borrowed
  Logger* logger = &NullLogger();        ///< borrowed
};

/// A running grpc-proxy: a server of the v3 API that passes its clients' calls on to a cluster (reference:
/// proxy-discovery.md §11).
class Proxy {
 public:
  /// Listens and serves; does not wait for the cluster. Errors: as the system says them of the addresses.
  static absl::StatusOr<std::unique_ptr<Proxy>> Start(ProxyOptions options);
  virtual ~Proxy() = default;

  /// "127.0.0.1:23790", with the real port where 0 was asked for.
  virtual const std::string& address() const = 0;
  /// Gives the registration back, lets calls under way end for a while, and closes everything. Blocks.
  virtual void Stop() = 0;
};

}  // namespace kvorum::proxy_grpc
