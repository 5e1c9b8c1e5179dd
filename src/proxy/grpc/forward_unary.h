#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "grpc/server.h"
#include "proxy/grpc/upstream.h"

namespace kvorum::proxy_grpc {

/// Passes a call on to the cluster, with its deadline and its client's credentials, and the answer back;
/// where the client goes away, the cluster is told. `change` (may be null) rewrites the response, on the
/// upstream's loop. On the call's loop.
void ForwardUnary(const Upstream& upstream, std::unique_ptr<grpc::UnaryCall> call,
                  std::function<std::string(std::string_view response)> change);

}  // namespace kvorum::proxy_grpc
