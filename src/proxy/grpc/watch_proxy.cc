#include "proxy/grpc/watch_proxy.h"

#include "proxy/grpc/stream_bridge.h"
#include "proxy/grpc/watch_coalescer.h"

namespace kvorum::proxy_grpc {

WatchProxy::WatchProxy(const Upstream& upstream)
    : bridge_(std::make_unique<StreamBridge>(upstream, [&upstream](ClusterCalls* cluster) {
        return std::make_unique<WatchCoalescer>(cluster, upstream.prefix, upstream.metrics, upstream.logger);
      })) {}

WatchProxy::~WatchProxy() = default;

void WatchProxy::Register(grpc::Server* server) { bridge_->Register(server, "/etcdserverpb.Watch/Watch"); }

}  // namespace kvorum::proxy_grpc
