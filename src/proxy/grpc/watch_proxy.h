#pragma once

#include <memory>

#include "grpc/server.h"
#include "proxy/grpc/upstream.h"

namespace kvorum::proxy_grpc {

/// The Watch service of the proxy: clients' watchers of the same range share one watcher of the cluster
/// (reference: proxy-discovery.md §11.4). Client streams are on their loops, what is shared on the
/// upstream's.
class WatchProxy {
 public:
  explicit WatchProxy(const Upstream& upstream);
  /// Ends every stream.
  ~WatchProxy();

  /// Adds /etcdserverpb.Watch/Watch.
  void Register(grpc::Server* server);

 private:
  class Impl;
  const std::shared_ptr<Impl> impl_;  // shared with its streams
};

}  // namespace kvorum::proxy_grpc
