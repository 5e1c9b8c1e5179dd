#pragma once

#include <memory>

#include "grpc/server.h"
#include "proxy/grpc/upstream.h"

namespace kvorum::proxy_grpc {

class StreamBridge;

/// The Watch service of the proxy: clients' watchers of the same range share one watcher of the cluster
/// (reference: proxy-discovery.md §11.4). Client streams are on their loops, what is shared on the
/// upstream's. Watchers are shared among the streams with the same token (or without one) alone, each after
/// its own right to read the range was asked for; a stream of the cluster's carries that token.
class WatchProxy {
 public:
  explicit WatchProxy(const Upstream& upstream);
  /// Ends every stream. Waits for the upstream's loop, unless it is on it.
  ~WatchProxy();

  /// Adds /etcdserverpb.Watch/Watch.
  void Register(grpc::Server* server);

 private:
  const std::unique_ptr<StreamBridge> bridge_;
};

}  // namespace kvorum::proxy_grpc
