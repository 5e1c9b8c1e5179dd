#include "cmd/kvorum/member_tls.h"

#include <algorithm>

#include "base/status.h"
#include "cmd/kvorum/self_signed_certificate.h"
#include "fmt/format.h"

namespace kvorum::cmd {
namespace {

/// The files of one side, as the flags have them or as they were made.
struct Files {
  std::string cert_file;
  std::string key_file;
  std::string client_cert_file;
  std::string client_key_file;
  bool self_signed = false;

  bool HasCertificate() const { return !cert_file.empty() || !key_file.empty(); }
};

bool HasSecure(const std::vector<config::Url>& urls) {
  return std::any_of(urls.begin(), urls.end(), [](const config::Url& url) { return url.IsSecure(); });
}

/// Takes a certificate of its own for `urls` where none is given.
absl::Status MakeSelfSigned(const config::Config& config, const std::string& side,
                            const std::vector<config::Url>& urls, Logger& logger, Files* files) {
  if (files->HasCertificate()) {
    KVORUM_LOG(logger, kWarn, fmt::format("ignoring {} auto TLS since certs given", side));
    return absl::OkStatus();
  }
  std::vector<std::string> hosts;
  for (const config::Url& url : urls) {
    if (!url.IsSocket() && !url.Hostname().empty()) hosts.push_back(url.Hostname());
  }
  if (hosts.empty()) hosts.push_back("localhost");
  KVORUM_ASSIGN_OR_RETURN(const CertificateFiles made,
                          SelfSignedCertificate(fmt::format("{}/fixtures/{}", config.data_dir, side), hosts,
                                                config.self_signed_cert_validity, logger));
  files->cert_file = files->client_cert_file = made.cert_file;
  files->key_file = files->client_key_file = made.key_file;
  files->self_signed = true;
  return absl::OkStatus();
}

absl::Status CheckPairs(const Files& files) {
  if (files.HasCertificate() && (files.cert_file.empty() || files.key_file.empty())) {
    return absl::InvalidArgumentError(fmt::format(
        "KeyFile and CertFile must both be present[key: {}, cert: {}]", files.key_file, files.cert_file));
  }
  if (files.client_cert_file.empty() != files.client_key_file.empty()) {
    return absl::InvalidArgumentError(fmt::format(
        "ClientKeyFile and ClientCertFile must both be present or both absent: key: {}, cert: {}]",
        files.client_key_file, files.client_cert_file));
  }
  return absl::OkStatus();
}

/// What both directions have in common.
http::TlsOptions Common(const config::Config& config, Logger* logger) {
  http::TlsOptions options;
  options.cipher_suites = config.cipher_suites;
  if (!config.tls_min_version.empty()) options.min_version = config.tls_min_version;
  options.max_version = config.tls_max_version;
  options.logger = logger;
  return options;
}

http::TlsOptions ForListening(http::TlsOptions options, const Files& files) {
  options.cert_file = files.cert_file;
  options.key_file = files.key_file;
  return options;
}

http::TlsOptions ForDialling(http::TlsOptions options, const Files& files) {
  const bool own = !files.client_cert_file.empty();
  options.cert_file = own ? files.client_cert_file : files.cert_file;
  options.key_file = own ? files.client_key_file : files.key_file;
  options.skip_verify = files.self_signed;
  options.client_cert_auth = false;
  options.protocols.clear();
  return options;
}

std::string InfoOf(const Files& files, const http::TlsOptions& options) {
  if (!files.HasCertificate()) return "";
  return fmt::format(
      "cert = {}, key = {}, client-cert={}, client-key={}, trusted-ca = {}, client-cert-auth = {}, crl-file "
      "= {}",
      files.cert_file, files.key_file, files.client_cert_file, files.client_key_file, options.trusted_ca_file,
      options.client_cert_auth, options.crl_file);
}

absl::StatusOr<SideTls> MakeClients(const config::Config& config, bool is_proxy, Logger* logger) {
  Files files{.cert_file = config.cert_file,
              .key_file = config.key_file,
              .client_cert_file = config.client_cert_file,
              .client_key_file = config.client_key_file};
  if (config.auto_tls) {
    KVORUM_RETURN_IF_ERROR(MakeSelfSigned(config, "client", config.listen_client_urls, *logger, &files));
  }
  http::TlsOptions options = Common(config, logger);
  options.trusted_ca_file = config.trusted_ca_file;
  options.crl_file = config.client_crl_file;
  options.client_cert_auth = config.client_cert_auth;
  options.allowed_hostnames = config.client_cert_allowed_hostname;
  SideTls tls{.info = InfoOf(files, options), .server = nullptr, .client = nullptr};
  const bool listens = HasSecure(config.listen_client_urls) || HasSecure(config.listen_client_http_urls) ||
                       HasSecure(config.listen_metrics_urls);
  if (listens || is_proxy) KVORUM_RETURN_IF_ERROR(CheckPairs(files));
  if (listens) {
    KVORUM_ASSIGN_OR_RETURN(tls.server, http::TlsContext::ForServer(ForListening(options, files)));
  }
  if (files.HasCertificate() || !options.trusted_ca_file.empty()) {
    if (!listens && !is_proxy) return tls;  // nothing of it is used, as the log says
    http::TlsOptions dialling = ForDialling(std::move(options), files);
    dialling.allowed_hostnames.clear();  // of clients
    KVORUM_ASSIGN_OR_RETURN(tls.client, http::TlsContext::ForClient(dialling));
  }
  return tls;
}

absl::StatusOr<SideTls> MakePeers(const config::Config& config, Logger* logger) {
  Files files{.cert_file = config.peer_cert_file,
              .key_file = config.peer_key_file,
              .client_cert_file = config.peer_client_cert_file,
              .client_key_file = config.peer_client_key_file};
  if (config.peer_auto_tls) {
    KVORUM_RETURN_IF_ERROR(MakeSelfSigned(config, "peer", config.listen_peer_urls, *logger, &files));
  }
  KVORUM_RETURN_IF_ERROR(CheckPairs(files));
  http::TlsOptions options = Common(config, logger);
  options.trusted_ca_file = config.peer_trusted_ca_file;
  options.crl_file = config.peer_crl_file;
  options.client_cert_auth = config.peer_client_cert_auth;
  options.allowed_common_names = config.peer_cert_allowed_cn;
  options.allowed_hostnames = config.peer_cert_allowed_hostname;
  options.protocols = {"http/1.1"};
  SideTls tls{.info = InfoOf(files, options), .server = nullptr, .client = nullptr};
  if (files.HasCertificate()) {
    KVORUM_ASSIGN_OR_RETURN(tls.server, http::TlsContext::ForServer(ForListening(options, files)));
  }
  // Members that were found by the domain prove to be of the domain, unless an authority of their own does.
  const bool by_domain = !config.discovery_srv.empty() && config.peer_trusted_ca_file.empty() &&
                         HasSecure(config.initial_advertise_peer_urls);
  if (by_domain) options.server_name = config.discovery_srv;
  if (files.HasCertificate() || !config.peer_trusted_ca_file.empty() || by_domain) {
    KVORUM_ASSIGN_OR_RETURN(tls.client, http::TlsContext::ForClient(ForDialling(std::move(options), files)));
  }
  return tls;
}

}  // namespace

absl::StatusOr<ProcessTls> MakeProcessTls(const config::Config& config, bool is_proxy, Logger* logger) {
  // Names of ciphers are checked also where nothing is encrypted.
  http::TlsOptions names = Common(config, logger);
  names.skip_verify = true;
  KVORUM_RETURN_IF_ERROR(http::TlsContext::ForClient(names).status());
  ProcessTls tls;
  KVORUM_ASSIGN_OR_RETURN(tls.peers, MakePeers(config, logger));
  KVORUM_ASSIGN_OR_RETURN(tls.clients, MakeClients(config, is_proxy, logger));
  return tls;
}

}  // namespace kvorum::cmd
