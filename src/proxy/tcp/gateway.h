#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/log.h"
#include "http/loop.h"

namespace kvorum::proxy_tcp {

/// A server behind the gateway.
struct Remote {
  std::string address;  ///< "host:port"
  uint16_t priority = 0;
  uint16_t weight = 0;
};

struct GatewayOptions {
  std::string listen_address;  ///< "127.0.0.1:23790"
  std::vector<Remote> remotes;
  std::chrono::nanoseconds retry_delay = std::chrono::minutes(1);  ///< of servers that did not answer
  uint64_t seed = 0;                                               ///< of the draws by weight
  size_t max_connections = 0;  ///< more wait until some end; 0: as many as the process may have files for
  Logger* logger = &NullLogger();
};

/// Copies bytes between clients and one of several servers (reference: proxy-discovery.md §10). Bounded: a
/// side that takes nothing holds the other back.
class Gateway {
 public:
  /// Listens and serves. Loops are borrowed and outlive it. Errors: as the system says it of the address.
  static absl::StatusOr<std::unique_ptr<Gateway>> Start(http::LoopGroup* loops, GatewayOptions options);
  virtual ~Gateway() = default;

  /// "127.0.0.1:23790", with the real port where 0 was asked for.
  virtual const std::string& address() const = 0;
  /// Closes everything. Blocks; not from a loop.
  virtual void Stop() = 0;
};

}  // namespace kvorum::proxy_tcp
