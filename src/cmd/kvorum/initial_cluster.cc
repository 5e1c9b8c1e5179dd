#include "cmd/kvorum/initial_cluster.h"

#include <utility>

#include "base/status.h"
#include "discovery/srv.h"
#include "discovery/v2.h"
#include "discovery/v3.h"
#include "dns/resolver.h"
#include "fmt/format.h"
#include "http/client.h"
#include "http/tls.h"

namespace kvorum::cmd {
namespace {

using bootstrap::Attempt;
using bootstrap::ClusterMap;

constexpr std::string_view kJoinFailed = "failed to join discovery cluster";
/// Of everything that is read from a discovery service at once.
constexpr size_t kMaxAnswerBytes = size_t{4} << 20;
constexpr std::chrono::seconds kDialTimeout(30);

std::string Message(const absl::Status& status) { return std::string(status.message()); }

absl::StatusOr<ClusterMap> ParseCluster(const std::string& text) {
  KVORUM_ASSIGN_OR_RETURN(const auto cluster, config::ParseCluster(text));
  ClusterMap map;
  for (const auto& [name, urls] : cluster) map[name] = config::Texts(urls);
  return map;
}

absl::StatusOr<ClusterMap> Discovered(const absl::StatusOr<std::string>& joined) {
  if (joined.ok()) return ParseCluster(*joined);
  return discovery::Annotated(joined.status(), fmt::format("{} ({})", kJoinFailed, Message(joined.status())));
}

discovery::Registration RegistrationOf(const config::Config& config, MemberId own) {
  return {.id = own, .name = config.name, .peer_urls = config::Texts(config.initial_advertise_peer_urls)};
}

absl::StatusOr<ClusterMap> AskV2(const config::Config& config, http::Loop* loop, Logger* logger, MemberId own,
                                 Attempt attempt) {
  http::Client client(loop, {.dial_timeout = kDialTimeout, .max_response_bytes = kMaxAnswerBytes});
  const discovery::V2Options options{
      .url = config.discovery, .proxy = config.discovery_proxy, .client = &client, .logger = logger};
  // A registration that was made is not made again.
  return Discovered(attempt == Attempt::kAgain ? discovery::ClusterV2(options)
                                               : discovery::JoinV2(options, RegistrationOf(config, own)));
}

/// TLS as etcd's client library takes it: with a certificate or an authority, or where it is asked for.
absl::StatusOr<std::shared_ptr<const http::TlsContext>> V3Tls(const config::Config& config) {
  if (config.discovery_cert.empty() != config.discovery_key.empty()) {
    return absl::InvalidArgumentError(
        fmt::format("KeyFile and CertFile must both be present[key: {}, cert: {}]", config.discovery_key,
                    config.discovery_cert));
  }
  if (config.discovery_cert.empty() && config.discovery_cacert.empty() &&
      config.discovery_insecure_transport) {
    return nullptr;
  }
  http::TlsOptions options;
  options.cert_file = config.discovery_cert;
  options.key_file = config.discovery_key;
  options.trusted_ca_file = config.discovery_cacert;
  options.skip_verify = config.discovery_insecure_skip_tls_verify;
  options.protocols = {"h2"};
  return http::TlsContext::ForClient(options);
}

absl::StatusOr<std::string> JoinV3(const config::Config& config, http::Loop* loop, Logger* logger,
                                   MemberId own) {
  discovery::V3Options options;
  options.token = config.discovery_token;
  options.endpoints = config.discovery_endpoints;
  options.dial_timeout = config.discovery_dial_timeout;
  options.request_timeout = config.discovery_request_timeout;
  options.keepalive_time = config.discovery_keepalive_time;
  options.keepalive_timeout = config.discovery_keepalive_timeout;
  KVORUM_ASSIGN_OR_RETURN(options.tls, V3Tls(config));
  options.user = config.discovery_user;
  options.password = config.discovery_password;
  const size_t colon = options.user.find(':');
  if (options.password.empty() && colon != std::string::npos) {
    options.password = options.user.substr(colon + 1);
    options.user.resize(colon);
  }
  options.loop = loop;
  options.logger = logger;
  return discovery::JoinV3(options, RegistrationOf(config, own));
}

absl::StatusOr<ClusterMap> AskDns(const config::Config& config, Logger* logger) {
  KVORUM_ASSIGN_OR_RETURN(const dns::Resolver resolver, dns::Resolver::Create({.server = config.dns_server}));
  KVORUM_ASSIGN_OR_RETURN(
      const std::string text,
      discovery::MembersBySrv(resolver,
                              {.domain = config.discovery_srv, .service_name = config.discovery_srv_name},
                              config.name, config::Texts(config.initial_advertise_peer_urls), *logger));
  KVORUM_ASSIGN_OR_RETURN(ClusterMap cluster, ParseCluster(text));
  if (cluster.contains(config.name)) return cluster;
  return absl::NotFoundError(fmt::format("cannot find local etcd member \"{}\" in SRV records", config.name));
}

}  // namespace

absl::Status SetFirstMembers(const config::Config& config, http::Loop* loop, Logger* logger,
                             bootstrap::Options* options) {
  options->initial_cluster_token = config.initial_cluster_token;
  const ClusterMap alone = {{config.name, config::Texts(config.initial_advertise_peer_urls)}};
  if (!config.discovery.empty()) {
    options->initial_cluster = alone;
    options->initial_cluster_token = config.discovery;
    options->discover = [&config, loop, logger](MemberId own, Attempt attempt) {
      return AskV2(config, loop, logger, own, attempt);
    };
    return absl::OkStatus();
  }
  if (!config.discovery_token.empty()) {
    options->initial_cluster = alone;
    options->initial_cluster_token = config.discovery_token;
    options->discover = [&config, loop, logger](MemberId own, Attempt) {
      return Discovered(JoinV3(config, loop, logger, own));
    };
    return absl::OkStatus();
  }
  absl::StatusOr<ClusterMap> cluster;
  if (config.discovery_srv.empty()) {
    cluster = ParseCluster(config.initial_cluster);
  } else if (!wal::Exists(*options->wal.env, config.WalDirectory())) {
    cluster = AskDns(config, logger);
  } else {
    cluster = alone;  // nobody looks
  }
  if (!cluster.ok()) {
    return absl::InvalidArgumentError(
        fmt::format("error setting up initial cluster: {}", Message(cluster.status())));
  }
  options->initial_cluster = *std::move(cluster);
  return absl::OkStatus();
}

bool FallsBackToProxy(const config::Config& config, const absl::Status& failure) {
  return config.discovery_fallback == "proxy" && discovery::IsFull(failure);
}

bool ExplainDiscoveryFailure(const config::Config& config, const absl::Status& failure, Logger& logger) {
  const std::string error = Message(failure);
  if (!error.starts_with(kJoinFailed)) return false;
  const std::string& token = config.discovery.empty() ? config.discovery_token : config.discovery;
  switch (discovery::FailureOf(failure)) {
    case discovery::Failure::kDuplicateId:
      KVORUM_LOG(logger, kError,
                 fmt::format("member \"{}\" has previously registered with discovery service token ({}).",
                             config.name, token),
                 {"name", config.name}, {"discovery-token", token}, {"error", error});
      KVORUM_LOG(
          logger, kWarn,
          fmt::format("But etcd could not find valid cluster configuration in the given data dir ({}).",
                      config.data_dir));
      KVORUM_LOG(logger, kWarn, "Please check the given data dir path if the previous bootstrap succeeded");
      KVORUM_LOG(logger, kWarn, "or use a new discovery token if the previous bootstrap failed.");
      break;
    case discovery::Failure::kDuplicateName:
      KVORUM_LOG(
          logger, kError,
          fmt::format("member with duplicated name has registered with discovery service token({}).", token),
          {"name", config.name}, {"discovery-token", token}, {"error", error});
      KVORUM_LOG(logger, kWarn, "please check (cURL) the discovery token for more information.");
      KVORUM_LOG(logger, kWarn,
                 "please do not reuse the discovery token and generate a new one to bootstrap the cluster.");
      break;
    case discovery::Failure::kFull:
    case discovery::Failure::kOther:
      KVORUM_LOG(logger, kError, error, {"discovery-token", token});
      KVORUM_LOG(logger, kWarn,
                 fmt::format("discovery token {} was used, but failed to bootstrap the cluster.", token));
      KVORUM_LOG(logger, kWarn, "please generate a new discovery token and try to bootstrap again.");
      break;
  }
  return true;
}

}  // namespace kvorum::cmd
