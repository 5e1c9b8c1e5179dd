#include "cmd/kvorum/name_service.h"

#include <memory>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/strings/str_join.h"
#include "absl/synchronization/blocking_counter.h"
#include "base/status.h"
#include "config/url.h"
#include "fmt/format.h"
#include "http/dialer.h"
#include "http/host_lookup.h"
#include "http/tls.h"

namespace kvorum::cmd {
namespace {

using discovery::SrvEndpoint;

constexpr std::chrono::seconds kHandshakeTimeout{5};
constexpr std::string_view kSecure = "https://";

/// One endpoint under test.
struct Trial {
  std::string host;
  std::string port;
  std::string error;  ///< empty: it is trusted
  std::shared_ptr<http::Dialer> dialer;
};

/// Shakes hands, by each of `names` in turn until one is the certificate's; `done` is told once.
void Shake(http::Loop& loop, Trial* trial, std::vector<std::string> names, const std::string& trusted_ca_file,
           absl::AnyInvocable<void()> done) {
  const absl::StatusOr<std::shared_ptr<const http::TlsContext>> context =
      http::TlsContext::ForClient({.trusted_ca_file = trusted_ca_file, .server_name = names.front()});
  if (!context.ok()) {
    trial->error = std::string(context.status().message());
    return done();
  }
  names.erase(names.begin());
  trial->dialer = http::Dialer::Start(
      loop, trial->host, trial->port, loop.clock().Now() + kHandshakeTimeout,
      [&loop, trial, names = std::move(names), trusted_ca_file,
       done = std::move(done)](absl::StatusOr<std::unique_ptr<http::ByteStream>> stream) mutable {
        if (!stream.ok() && !names.empty()) {
          return Shake(loop, trial, std::move(names), trusted_ca_file, std::move(done));
        }
        trial->error = std::string(stream.status().message());
        if (stream.ok()) (*stream)->Close();
        done();
      },
      http::DialTls{.context = *context, .protocols = {}});
}

std::vector<std::string> UrlsOf(const std::vector<SrvEndpoint>& endpoints) {
  std::vector<std::string> urls;
  for (const SrvEndpoint& endpoint : endpoints) urls.push_back(endpoint.url);
  return urls;
}

/// The endpoints that are trusted; why the others are not.
std::vector<SrvEndpoint> Trusted(const std::vector<SrvEndpoint>& endpoints,
                                 const EndpointDiscovery& discovery, std::string* errors) {
  std::vector<Trial> trials(endpoints.size());
  absl::BlockingCounter pending(static_cast<int>(endpoints.size()));
  http::Loop loop("srv-check");
  for (size_t i = 0; i < endpoints.size(); ++i) {
    Trial* trial = &trials[i];
    const std::string& url = endpoints[i].url;
    if (!url.starts_with(kSecure) ||
        !config::SplitHostPort(std::string_view(url).substr(kSecure.size()), &trial->host, &trial->port)) {
      trial->error = "is insecure";
      pending.DecrementCount();
      continue;
    }
    std::string target = trial->host;
    if (target.ends_with('.')) target.pop_back();
    loop.Post([&, trial, names = std::vector<std::string>{discovery.query.domain, target}]() mutable {
      Shake(loop, trial, std::move(names), discovery.trusted_ca_file, [&] { pending.DecrementCount(); });
    });
  }
  pending.Wait();
  loop.Stop();

  std::vector<SrvEndpoint> trusted;
  std::vector<std::string> failures;
  for (size_t i = 0; i < endpoints.size(); ++i) {
    const std::string& error = trials[i].error;
    if (error.empty()) {
      trusted.push_back(endpoints[i]);
    } else if (trials[i].host.empty()) {
      failures.push_back(fmt::format("\"{}\" {}", endpoints[i].url, error));
    } else {
      failures.push_back(fmt::format("\"{}\" failed to dial ({})", endpoints[i].url, error));
    }
  }
  *errors = absl::StrJoin(failures, ",");
  return trusted;
}

}  // namespace

absl::StatusOr<dns::Resolver> UseNameServer(const std::string& server) {
  KVORUM_ASSIGN_OR_RETURN(dns::Resolver resolver, dns::Resolver::Create({.server = server}));
  if (!server.empty()) {
    http::SetHostLookup([resolver](const std::string& host) { return resolver.LookupHost(host); },
                        [resolver](const std::string& address) { return resolver.LookupAddress(address); });
  }
  return resolver;
}

absl::StatusOr<std::vector<SrvEndpoint>> DiscoverEndpoints(const dns::Resolver& resolver,
                                                           const EndpointDiscovery& discovery,
                                                           Logger& logger) {
  const std::string& domain = discovery.query.domain;
  KVORUM_ASSIGN_OR_RETURN(std::vector<SrvEndpoint> endpoints,
                          discovery::ClientEndpointsBySrv(resolver, discovery.query));
  KVORUM_LOG(logger, kInfo, "discovered cluster from SRV", {"srv-server", domain},
             {"endpoints", UrlsOf(endpoints)});
  if (discovery.insecure) return endpoints;
  KVORUM_LOG(logger, kInfo, "validating discovered SRV endpoints", {"srv-server", domain},
             {"endpoints", UrlsOf(endpoints)});
  std::string errors;
  endpoints = Trusted(endpoints, discovery, &errors);
  if (errors.empty()) {
    KVORUM_LOG(logger, kInfo, "using validated discovered SRV endpoints", {"srv-server", domain},
               {"endpoints", UrlsOf(endpoints)});
  } else {
    KVORUM_LOG(logger, kWarn, "failed to validate discovered endpoints", {"srv-server", domain},
               {"endpoints", UrlsOf(endpoints)}, {"error", errors});
  }
  return endpoints;
}

}  // namespace kvorum::cmd
