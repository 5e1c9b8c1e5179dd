#pragma once

#include <memory>
#include <string>

#include "grpc/server.h"
#include "proxy/grpc/upstream.h"

namespace kvorum::proxy_grpc {

struct ClusterProxyOptions {
  std::string resolver_prefix;  ///< --resolver-prefix; empty: none
  std::string advertise_url;    ///< --advertise-client-url
  std::string host_name;        ///< of this machine
};

/// MemberList of the proxy (reference: proxy-discovery.md §11.4): the proxies that are registered under the
/// prefix, kept up to date by a watch, or this one alone. Made and destroyed on the upstream's loop, before
/// its channel is.
class ClusterProxy {
 public:
  ClusterProxy(const Upstream& upstream, ClusterProxyOptions options);
  ~ClusterProxy();

  /// Adds /etcdserverpb.Cluster/MemberList; what it answers is read on any thread.
  void Register(grpc::Server* server);

 private:
  class Impl;
  const std::shared_ptr<Impl> impl_;  // shared with its calls
};

}  // namespace kvorum::proxy_grpc
