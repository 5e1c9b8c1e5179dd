#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace kvorum::dns {

/// One SRV record (RFC 2782).
struct SrvRecord {
  std::string target;  ///< as the server has it, with the dot at its end
  uint16_t port = 0;
  uint16_t priority = 0;
  uint16_t weight = 0;

  bool operator==(const SrvRecord&) const = default;
};

struct ResolverOptions {
  /// "127.0.0.1:5353", "[::1]:53", "10.0.0.2"; empty: the system's servers (/etc/resolv.conf).
  std::string server;
  std::chrono::nanoseconds timeout = std::chrono::seconds(5);  ///< of one try
  int tries = 2;
};

/// Asks DNS, on c-ares. Each call blocks its thread, at most tries × timeout for each server. Thread-safe.
class Resolver {
 public:
  /// Errors: InvalidArgument for an address that is none.
  static absl::StatusOr<Resolver> Create(ResolverOptions options);

  /// The records of "_service._proto.domain", sorted by priority and then as RFC 2782 draws by weight.
  /// Errors, in the words of Go's net package ("lookup _etcd-server._tcp.example.com on 127.0.0.1:53: no such
  /// host"): NotFound where there is none, Unavailable where the server does not answer or fails,
  /// FailedPrecondition where a record's target is no name.
  absl::StatusOr<std::vector<SrvRecord>> LookupSrv(const std::string& service, const std::string& protocol,
                                                   const std::string& domain) const;
  /// The addresses of a name, IPv4 before IPv6; an address stands for itself. /etc/hosts comes first. Errors
  /// as above.
  absl::StatusOr<std::vector<std::string>> LookupHost(const std::string& host) const;
  /// The names of an address, without a dot at their ends. /etc/hosts comes first. Errors as above.
  absl::StatusOr<std::vector<std::string>> LookupAddress(const std::string& address) const;

 private:
  explicit Resolver(ResolverOptions options) : options_(std::move(options)) {}

  ResolverOptions options_;
};

}  // namespace kvorum::dns
