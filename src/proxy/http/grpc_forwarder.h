#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "grpc/channel.h"
#include "http/handler.h"
#include "http/loop.h"
#include "http/tls.h"

namespace kvorum::proxy_http {

/// Whether a call of this method changes nothing, whatever is in it: reads, watches, and what tells the state
/// of members. A transaction may write, and a keep-alive puts an end off: those two do not belong here.
bool IsReadMethod(std::string_view method);

/// Passes gRPC calls of the client port on, so that clients of the v3 API may use a local proxy. Each loop
/// has a connection to one member, and goes to the next where that fails.
class GrpcForwarder {
 public:
  struct Options {
    http::LoopGroup* loops = nullptr;                                 ///< borrowed; the clients' loops
    std::chrono::nanoseconds dial_timeout = std::chrono::seconds(1);  ///< 0: no limit
    size_t max_request_bytes = 0;  ///< of a message; more: ResourceExhausted
    bool readonly = false;         ///< calls that are no IsReadMethod: Unimplemented
    std::shared_ptr<const http::TlsContext> tls;
    Logger* logger = &NullLogger();  ///< borrowed
  };
  explicit GrpcForwarder(const Options& options);
  /// As Stop.
  ~GrpcForwarder();

  /// The members' client URLs. Not from a loop.
  void SetEndpoints(const std::vector<std::string>& urls);

  /// Where there are no members: Unavailable.
  http::Handler& handler();

  /// Calls under way end. Not from a loop; the loops still run. REQUIRES: nobody starts calls any more
  void Stop();

 private:
  class Gate;

  http::LoopGroup& loops_;
  std::vector<std::unique_ptr<grpc::Channel>> channels_;  // each on its loop
  std::unique_ptr<Gate> gate_;
};

}  // namespace kvorum::proxy_http
