#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/log.h"
#include "dns/resolver.h"

namespace kvorum::discovery {

/// Which records (reference: proxy-discovery.md §9).
struct SrvQuery {
  std::string domain;        ///< --discovery-srv
  std::string service_name;  ///< --discovery-srv-name: "_etcd-server-NAME._tcp"; empty: without
};

/// The first members, as --initial-cluster has them ("name=url,0=url"): those whose address is one of
/// `advertise_peer_urls` under `name`, the others under numbers. Blocks. Errors: as §9.1 has them.
absl::StatusOr<std::string> MembersBySrv(const dns::Resolver& resolver, const SrvQuery& query,
                                         const std::string& name,
                                         const std::vector<std::string>& advertise_peer_urls, Logger& logger);

/// Where clients go: §9.2.
struct SrvEndpoint {
  std::string url;  ///< "https://host.:port" or "http://…": the record's target as it stands
  uint16_t priority = 0;
  uint16_t weight = 0;
};
absl::StatusOr<std::vector<SrvEndpoint>> ClientEndpointsBySrv(const dns::Resolver& resolver,
                                                              const SrvQuery& query);

}  // namespace kvorum::discovery
