#pragma once

#include <functional>
#include <memory>
#include <string>

#include "grpc/server.h"
#include "proxy/grpc/cluster_calls.h"

namespace kvorum::proxy_grpc {

/// Carries clients' streams of one method from their loops to the logic on the upstream's loop, and its
/// answers back. Streams that came with "hasleader" end when the leader is lost. Any thread.
class StreamBridge {
 public:
  using MakeLogic = std::function<std::unique_ptr<StreamLogic>(ClusterCalls*)>;

  /// Everything in `upstream` is borrowed.
  StreamBridge(const Upstream& upstream, const MakeLogic& make);
  /// Ends every stream. Waits for the upstream's loop, unless it is on it.
  ~StreamBridge();

  void Register(grpc::Server* server, std::string method);

 private:
  class Shared;
  class Handler;
  const std::shared_ptr<Shared> shared_;  // shared with the streams
};

}  // namespace kvorum::proxy_grpc
