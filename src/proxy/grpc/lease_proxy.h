#pragma once

#include <memory>

#include "grpc/server.h"
#include "proxy/grpc/upstream.h"

namespace kvorum::proxy_grpc {

class StreamBridge;

/// The Lease service of the proxy: keep-alives of one lease go to the cluster once for all who send them
/// (reference: proxy-discovery.md §11.4); the rest is passed on, keys of LeaseTimeToLive without the
/// namespace.
class LeaseProxy {
 public:
  explicit LeaseProxy(const Upstream& upstream);
  /// Ends every stream. Waits for the upstream's loop, unless it is on it.
  ~LeaseProxy();

  /// Adds LeaseGrant, LeaseRevoke, LeaseKeepAlive, LeaseTimeToLive, LeaseLeases.
  void Register(grpc::Server* server);

 private:
  const Upstream upstream_;
  const std::unique_ptr<StreamBridge> bridge_;
};

}  // namespace kvorum::proxy_grpc
