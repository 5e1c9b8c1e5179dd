#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "proxy/grpc/upstream.h"

namespace kvorum::proxy_grpc {

struct RegistrationOptions {
  std::string resolver_prefix;  ///< --resolver-prefix
  std::string advertise_url;    ///< --advertise-client-url
  std::string host_name;        ///< of this machine
  std::chrono::seconds ttl{0};  ///< --resolver-ttl
};

/// The key under which a proxy is known, as clients name it, and its value (reference: proxy-discovery.md
/// §11.5).
std::string RegistrationKey(const RegistrationOptions& options);
std::string RegistrationValue(const RegistrationOptions& options);

/// Makes a proxy known to the cluster for as long as it lives: a key with a lease, made again where the lease
/// is lost, at most once a second. On the upstream's loop only; destroyed before its channel.
class Registration {
 public:
  Registration(const Upstream& upstream, RegistrationOptions options);
  ~Registration();

  /// Gives the lease back, and with it the key; `done` is called when the cluster answered, or after a
  /// second.
  void Withdraw(absl::AnyInvocable<void()> done);

 private:
  class Impl;
  const std::shared_ptr<Impl> impl_;  // shared with its calls under way
};

}  // namespace kvorum::proxy_grpc
