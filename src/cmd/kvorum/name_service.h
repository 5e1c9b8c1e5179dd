#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/log.h"
#include "discovery/srv.h"
#include "dns/resolver.h"

namespace kvorum::cmd {

/// How names become addresses and endpoints, for the member and for the proxies.

/// A resolver that asks `server` (--dns-server), or the system's servers where that is empty. With a server
/// the whole process looks its host names up there from now on, peers' and endpoints' too. Called once,
/// before the first connection. Errors: InvalidArgument for an address that is none.
absl::StatusOr<dns::Resolver> UseNameServer(const std::string& server);

/// Which endpoints a proxy takes from SRV records.
struct EndpointDiscovery {
  discovery::SrvQuery query;
  bool insecure = false;        ///< --insecure-discovery: take them as they are
  std::string trusted_ca_file;  ///< vouches for those that are checked; empty: the system's authorities
};

/// The endpoints of the clients' SRV records, as far as they are trusted: unless `insecure`, those of https
/// that do a TLS handshake within five seconds, with a certificate of the domain's or of the target's name.
/// What is dropped is logged. Empty where none is left. Blocks. Errors: the domain has no records.
absl::StatusOr<std::vector<discovery::SrvEndpoint>> DiscoverEndpoints(const dns::Resolver& resolver,
                                                                      const EndpointDiscovery& discovery,
                                                                      Logger& logger);

}  // namespace kvorum::cmd
