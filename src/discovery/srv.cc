#include "discovery/srv.h"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "absl/strings/str_join.h"
#include "base/status.h"
#include "config/url.h"
#include "fmt/format.h"

namespace kvorum::discovery {
namespace {

/// One of the two services that a domain has for members, or for clients.
struct Service {
  std::string scheme;
  std::string name;  ///< "etcd-server-ssl", with the suffix of the query
};

std::array<Service, 2> Services(const std::string& kind, const SrvQuery& query) {
  const std::string suffix = query.service_name.empty() ? "" : "-" + query.service_name;
  return {Service{"https", kind + "-ssl" + suffix}, Service{"http", kind + suffix}};
}

/// "host:port" addresses of a name.
absl::StatusOr<std::set<std::string>> AddressesOf(const dns::Resolver& resolver, const std::string& host,
                                                  const std::string& port) {
  KVORUM_ASSIGN_OR_RETURN(const std::vector<std::string> hosts, resolver.LookupHost(host));
  std::set<std::string> addresses;
  for (const std::string& address : hosts) addresses.insert(fmt::format("{}:{}", address, port));
  return addresses;
}

/// An own URL and where it leads.
struct OwnUrl {
  config::Url url;
  std::set<std::string> addresses;
};

absl::StatusOr<std::vector<OwnUrl>> ResolveOwn(const dns::Resolver& resolver,
                                               const std::vector<std::string>& advertise_peer_urls) {
  std::vector<OwnUrl> own;
  for (const std::string& text : advertise_peer_urls) {
    KVORUM_ASSIGN_OR_RETURN(config::Url url, config::ParseUrl(text));
    if (url.IsSocket()) continue;  // no record can mean it
    KVORUM_ASSIGN_OR_RETURN(auto addresses, AddressesOf(resolver, url.Hostname(), url.Port()));
    own.push_back({.url = std::move(url), .addresses = std::move(addresses)});
  }
  return own;
}

/// The own URLs that lead where a record does.
std::vector<const OwnUrl*> Matches(const std::vector<OwnUrl>& own, const std::set<std::string>& addresses) {
  std::vector<const OwnUrl*> matching;
  for (const OwnUrl& candidate : own) {
    const bool common = std::any_of(candidate.addresses.begin(), candidate.addresses.end(),
                                    [&](const std::string& address) { return addresses.contains(address); });
    if (common) matching.push_back(&candidate);
  }
  return matching;
}

/// The members that one service has. Errors: those of its records, where none of them is of use.
absl::StatusOr<std::vector<std::string>> MembersOf(const dns::Resolver& resolver, const Service& service,
                                                   const std::string& domain, const std::string& name,
                                                   const std::vector<OwnUrl>& own) {
  const auto failed = [&](std::string_view error) {
    return absl::UnavailableError(
        fmt::format("error querying DNS SRV records for _{} {}", service.name, error));
  };
  const absl::StatusOr<std::vector<dns::SrvRecord>> records = resolver.LookupSrv(service.name, "tcp", domain);
  if (!records.ok()) return failed(std::string(records.status().message()));
  std::vector<std::string> members;
  std::string error;
  int number = 0;
  for (const dns::SrvRecord& record : *records) {
    std::string host = record.target;
    if (host.ends_with('.')) host.pop_back();
    const std::string url = fmt::format("{}://{}:{}", service.scheme, host, record.port);
    const auto addresses = AddressesOf(resolver, record.target, fmt::format("{}", record.port));
    if (!addresses.ok()) {
      if (error.empty()) error = std::string(addresses.status().message());
      continue;
    }
    const std::vector<const OwnUrl*> self = Matches(own, *addresses);
    const bool same_scheme = std::any_of(
        self.begin(), self.end(), [&](const OwnUrl* match) { return match->url.scheme == service.scheme; });
    if (self.empty()) {
      members.push_back(fmt::format("{}={}", number++, url));
    } else if (same_scheme) {
      members.push_back(fmt::format("{}={}", name, url));
    } else if (error.empty()) {
      error = fmt::format("bootstrap at {} from DNS for {} has scheme mismatch with expected peer {}", url,
                          service.name, self.front()->url.Text());
    }
  }
  if (members.empty()) return failed(error);
  return members;
}

}  // namespace

absl::StatusOr<std::string> MembersBySrv(const dns::Resolver& resolver, const SrvQuery& query,
                                         const std::string& name,
                                         const std::vector<std::string>& advertise_peer_urls,
                                         Logger& logger) {
  const absl::StatusOr<std::vector<OwnUrl>> own = ResolveOwn(resolver, advertise_peer_urls);
  if (!own.ok()) {
    KVORUM_LOG(logger, kWarn, "failed to resolve during SRV discovery",
               {"error", std::string(own.status().message())});
    return own.status();
  }
  std::vector<std::string> members;
  std::vector<std::string> errors;
  for (const Service& service : Services("etcd-server", query)) {
    const absl::StatusOr<std::vector<std::string>> found =
        MembersOf(resolver, service, query.domain, name, *own);
    const std::string message =
        fmt::format("get cluster for etcd-server{} SRV", service.scheme == "https" ? "-ssl" : "");
    if (found.ok()) {
      members.insert(members.end(), found->begin(), found->end());
      KVORUM_LOG(logger, kInfo, message, {"service-scheme", service.scheme}, {"service-name", service.name},
                 {"server-name", name}, {"discovery-srv", query.domain},
                 {"advertise-peer-urls", advertise_peer_urls}, {"found-cluster", members});
    } else {
      errors.emplace_back(found.status().message());
      KVORUM_LOG(logger, kInfo, message, {"service-scheme", service.scheme}, {"service-name", service.name},
                 {"server-name", name}, {"discovery-srv", query.domain},
                 {"advertise-peer-urls", advertise_peer_urls}, {"found-cluster", members},
                 {"error", errors.back()});
    }
  }
  const std::string error = absl::StrJoin(errors, "; ");
  if (!errors.empty()) {
    KVORUM_LOG(logger, kWarn, "failed to resolve during SRV discovery", {"error", error});
  }
  if (members.empty()) return absl::UnavailableError(error);
  for (const std::string& member : members) {
    KVORUM_LOG(logger, kInfo, "got bootstrap from DNS for etcd-server", {"node", member});
  }
  return absl::StrJoin(members, ",");
}

absl::StatusOr<std::vector<SrvEndpoint>> ClientEndpointsBySrv(const dns::Resolver& resolver,
                                                              const SrvQuery& query) {
  std::vector<SrvEndpoint> endpoints;
  std::vector<std::string> errors;
  for (const Service& service : Services("etcd-client", query)) {
    const absl::StatusOr<std::vector<dns::SrvRecord>> records =
        resolver.LookupSrv(service.name, "tcp", query.domain);
    if (!records.ok()) {
      errors.emplace_back(records.status().message());
      continue;
    }
    for (const dns::SrvRecord& record : *records) {
      endpoints.push_back({.url = fmt::format("{}://{}:{}", service.scheme, record.target, record.port),
                           .priority = record.priority,
                           .weight = record.weight});
    }
  }
  if (errors.size() == 2) {
    return absl::UnavailableError(fmt::format("dns lookup errors: {} and {}", errors[0], errors[1]));
  }
  return endpoints;
}

}  // namespace kvorum::discovery
