#pragma once

#include <memory>

#include "http/handler.h"

namespace kvorum::api_gateway {

struct GatewayOptions {
  /// Serves the calls: the grpc::Server of the same listener. Borrowed; outlives the gateway.
  http::Handler* grpc = nullptr;
  /// The longest JSON object of a request; more is refused as gRPC refuses a message that is too large.
  size_t max_request_bytes = 8 << 20;
};

/// The v3 API as JSON over HTTP, `POST /v3/kv/range` and so on, with grpc-gateway's conventions (reference:
/// v3-api.md §3, without the WebSocket of §3.4). Each request becomes a gRPC call inside the process: checks,
/// metrics and limits are those of gRPC. Thread-safe.
std::unique_ptr<http::Handler> NewGateway(const GatewayOptions& options);

}  // namespace kvorum::api_gateway
