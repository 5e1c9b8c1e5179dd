#include <algorithm>

#include "absl/strings/str_join.h"
#include "base/log.h"
#include "base/status.h"
#include "config/config.h"
#include "config/go_text.h"

namespace kvorum::config {
namespace {

constexpr uint64_t kMaxIoThreads = 1024;
/// What one entry of the log may hold is far below the 4 GiB that a byte string can.
constexpr uint64_t kMaxRequestBytes = 1 << 30;

absl::Status Invalid(std::string text) { return absl::InvalidArgumentError(text); }

bool IsStream(std::string_view output) {
  return output == "default" || output == "stderr" || output == "stdout" || output == "systemd/journal";
}

absl::Status CheckDiagnostics(const Config& config) {
  if (config.logger == "capnslog") return Invalid("--logger=capnslog is removed in v3.5");
  if (config.logger != "zap") return Invalid(fmt::format("unknown logger option {}", Quoted(config.logger)));
  if (config.log_outputs.empty()) return Invalid("open sink \"\": open : no such file or directory");
  if (config.log_outputs.size() > 1) {
    for (const std::string& output : config.log_outputs) {
      if (output == "default") return Invalid("multi logoutput for \"default\" is not supported yet");
    }
  }
  if (config.enable_log_rotation) {
    if (config.log_outputs.size() != 1 || IsStream(config.log_outputs[0])) {
      return Invalid("--log-outputs requires a single file path when --log-rotate-config-json is defined");
    }
    KVORUM_RETURN_IF_ERROR(ParseLogRotation(config.log_rotation_config_json).status());
  }
  if (!ParseLogLevel(config.log_level).has_value()) {
    return Invalid(fmt::format("unrecognized level: {}", Quoted(config.log_level)));
  }
  if (config.log_format != "json" && config.log_format != "console") {
    return Invalid(fmt::format("unknown log format: {}, supported values json, console", config.log_format));
  }
  // etcd takes any word for the first.
  if (config.metrics != "basic" && config.metrics != "extensive") {
    return Invalid(
        fmt::format("unknown metrics option {}, supported values basic, extensive", Quoted(config.metrics)));
  }
  return absl::OkStatus();
}

absl::Status CheckAdvertised(std::string_view flag, const std::vector<Url>& urls) {
  const absl::Status status = CheckHostUrls(urls);
  if (status.ok()) return status;
  return Invalid(fmt::format("--{} {} must be \"host:port\" ({})", flag, Quoted(JoinUrls(urls)),
                             std::string(status.message())));
}

absl::Status CheckUrls(const Config& config) {
  KVORUM_RETURN_IF_ERROR(CheckBindUrls(config.listen_peer_urls));
  KVORUM_RETURN_IF_ERROR(CheckBindUrls(config.listen_client_urls));
  KVORUM_RETURN_IF_ERROR(CheckBindUrls(config.listen_client_http_urls));
  KVORUM_RETURN_IF_ERROR(CheckBindUrls(config.listen_metrics_urls));
  KVORUM_RETURN_IF_ERROR(CheckAdvertised("initial-advertise-peer-urls", config.initial_advertise_peer_urls));
  return CheckAdvertised("advertise-client-urls", config.advertise_client_urls);
}

/// What would make every request fail.
absl::Status CheckDiscoveryTimes(const Config& config) {
  if (config.discovery_request_timeout <= Duration(0)) {
    return Invalid(fmt::format("--discovery-request-timeout must be >0 (set to {})",
                               FormatDuration(config.discovery_request_timeout)));
  }
  const std::pair<std::string_view, Duration> times[] = {
      {"dial-timeout", config.discovery_dial_timeout},
      {"keepalive-time", config.discovery_keepalive_time},
      {"keepalive-timeout", config.discovery_keepalive_timeout},
  };
  for (const auto& [name, time] : times) {
    if (time >= Duration(0)) continue;
    return Invalid(fmt::format("--discovery-{} must be >=0 (set to {})", name, FormatDuration(time)));
  }
  return absl::OkStatus();
}

absl::Status CheckDiscovery(const Config& config) {
  const int sources = (config.discovery.empty() ? 0 : 1) + (config.initial_cluster.empty() ? 0 : 1) +
                      (config.discovery_srv.empty() ? 0 : 1) + (config.discovery_endpoints.empty() ? 0 : 1);
  if (sources > 1) {
    return Invalid(
        "multiple discovery or bootstrap flags are set. Choose one of \"initial-cluster\", \"discovery\", "
        "\"discovery-endpoints\" or \"discovery-srv\"");
  }
  const bool v2 = !config.discovery.empty() || !config.discovery_proxy.empty();
  const bool v3 = !config.discovery_token.empty() || !config.discovery_endpoints.empty() ||
                  !config.discovery_cert.empty() || !config.discovery_key.empty() ||
                  !config.discovery_cacert.empty() || !config.discovery_user.empty() ||
                  !config.discovery_password.empty();
  if (v2 && v3) {
    return Invalid(
        "both v2 discovery settings (discovery, discovery-proxy) and v3 discovery settings (discovery-token, "
        "discovery-endpoints, discovery-cert, discovery-key, discovery-cacert, discovery-user, "
        "discovery-password) are set");
  }
  if (v3 && config.discovery_fallback == "proxy") {
    return Invalid("v2 proxy is deprecated, and --discovery-fallback can't be configured as \"proxy\"");
  }
  if (config.discovery_token.empty() != config.discovery_endpoints.empty()) {
    return Invalid("both --discovery-token and --discovery-endpoints must be set");
  }
  for (const std::string& endpoint : config.discovery_endpoints) {
    if (endpoint.empty()) return Invalid("--discovery-endpoints must not contain empty endpoints");
  }
  // A user of whom nobody asks anything would only seem to be safe.
  const bool has_password =
      !config.discovery_password.empty() || config.discovery_user.find(':') != std::string::npos;
  if (config.discovery_user.empty() ? !config.discovery_password.empty() : !has_password) {
    return Invalid("--discovery-user and --discovery-password must both be set");
  }
  KVORUM_RETURN_IF_ERROR(CheckDiscoveryTimes(config));
  if (config.proxy != "off" && v3) {
    return Invalid("--proxy=" + config.proxy +
                   " and v3 discovery settings are set: a proxy finds its members by "
                   "\"initial-cluster\", \"discovery\" or \"discovery-srv\"");
  }
  if (config.serve_discovery && !config.enable_v2) {
    return Invalid("--serve-discovery needs the v2 API, which --enable-v2 or --v2-deprecation turns off");
  }
  return absl::OkStatus();
}

/// Whether no member, but a proxy may come of it, which advertises nothing.
bool MayBecomeProxy(const Config& config) {
  return config.proxy != "off" || (!config.discovery.empty() && config.discovery_fallback == "proxy");
}

absl::Status CheckTimes(const Config& config) {
  const uint64_t heartbeat = config.heartbeat_interval_ms;
  const uint64_t election = config.election_timeout_ms;
  if (heartbeat == 0) return Invalid("--heartbeat-interval must be >0 (set to 0ms)");
  if (election == 0) return Invalid("--election-timeout must be >0 (set to 0ms)");
  if (heartbeat > election / 5) {
    return Invalid(
        fmt::format("--election-timeout[{}ms] should be at least as 5 times as --heartbeat-interval[{}ms]",
                    election, heartbeat));
  }
  if (config.proxy_refresh_interval_ms == 0) {
    return Invalid("--proxy-refresh-interval must be >0 (set to 0ms)");
  }
  if (election > 50'000) {
    return Invalid(
        fmt::format("--election-timeout[{}ms] is too long, and should be set less than 50000ms", election));
  }
  return absl::OkStatus();
}

bool HasSecure(const std::vector<Url>& urls) {
  return std::any_of(urls.begin(), urls.end(), [](const Url& url) { return url.IsSecure(); });
}

absl::Status CheckClientTls(const Config& config) {
  const bool has_cert = !config.cert_file.empty() || !config.key_file.empty() || config.auto_tls;
  if (has_cert) return absl::OkStatus();
  if (HasSecure(config.listen_metrics_urls)) {
    return Invalid("client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url");
  }
  for (const std::vector<Url>* urls : {&config.listen_client_urls, &config.listen_client_http_urls}) {
    for (const Url& url : *urls) {
      if (!url.IsSecure()) continue;
      return Invalid(fmt::format(
          "TLS key/cert (--cert-file, --key-file) must be provided for client url {} with HTTPS scheme",
          url.Text()));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckPeerTls(const Config& config) {
  const bool has_files = !config.peer_cert_file.empty() || !config.peer_key_file.empty();
  for (const Url& url : config.listen_peer_urls) {
    if (!url.IsSecure() || has_files || config.peer_auto_tls) continue;
    return Invalid(fmt::format("cannot listen on TLS for {}: KeyFile and CertFile are not presented",
                               url.host + url.path));
  }
  const std::vector<std::string>& names = config.peer_cert_allowed_cn;
  const std::vector<std::string>& hosts = config.peer_cert_allowed_hostname;
  if (!names.empty() && !hosts.empty()) {
    return Invalid(fmt::format(
        "AllowedCNs and AllowedHostnames are mutually exclusive (cns=[\"{}\"], hostnames=[\"{}\"])",
        absl::StrJoin(names, "\" \""), absl::StrJoin(hosts, "\" \"")));
  }
  if (config.peer_auto_tls && !has_files && (!names.empty() || !hosts.empty())) {
    return Invalid(
        fmt::format("--peer-cert-allowed-{} needs certificates that are vouched for, which "
                    "--peer-auto-tls does not make",
                    names.empty() ? "hostname" : "cn"));
  }
  return absl::OkStatus();
}

absl::Status CheckTls(const Config& config) {
  for (const std::string* version : {&config.tls_min_version, &config.tls_max_version}) {
    if (version->empty() || *version == "TLS1.2" || *version == "TLS1.3") continue;
    return Invalid(
        fmt::format("unexpected TLS version {} (must be one of: TLS1.2, TLS1.3)", Quoted(*version)));
  }
  if (config.tls_min_version == "TLS1.3" && config.tls_max_version == "TLS1.2") {
    return Invalid("min version (TLS1.3) is greater than max version (TLS1.2)");
  }
  if (config.tls_min_version == "TLS1.3" && !config.cipher_suites.empty()) {
    return Invalid("cipher suites cannot be configured when only TLS1.3 is enabled");
  }
  KVORUM_RETURN_IF_ERROR(CheckClientTls(config));
  return CheckPeerTls(config);
}

absl::Status CheckFeatures(const Config& config) {
  if (config.io_threads > kMaxIoThreads) {
    return Invalid(
        fmt::format("--io-threads must be at most {} (set to {})", kMaxIoThreads, config.io_threads));
  }
  if (config.max_request_bytes > kMaxRequestBytes) {
    return Invalid(fmt::format("--max-request-bytes must be at most {} (set to {})", kMaxRequestBytes,
                               config.max_request_bytes));
  }
  KVORUM_RETURN_IF_ERROR(AutoCompaction(config).status());
  if (config.Gate("LeaseCheckpointPersist") && !config.Gate("LeaseCheckpoint")) {
    return Invalid(
        "enabling feature gate LeaseCheckpointPersist requires enabling feature gate LeaseCheckpoint");
  }
  if (config.compact_hash_check_time <= Duration(0)) {
    return Invalid(fmt::format("--compact-hash-check-time must be >0 (set to {})",
                               FormatDuration(config.compact_hash_check_time)));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Validate(const Config& config) {
  KVORUM_RETURN_IF_ERROR(CheckDiagnostics(config));
  KVORUM_RETURN_IF_ERROR(CheckUrls(config));
  if (config.initial_cluster_state != "new" && config.initial_cluster_state != "existing") {
    return Invalid(fmt::format("unexpected clusterState {}", Quoted(config.initial_cluster_state)));
  }
  KVORUM_RETURN_IF_ERROR(CheckDiscovery(config));
  KVORUM_RETURN_IF_ERROR(CheckTimes(config));
  if (!config.listen_client_urls.empty() && config.advertise_client_urls.empty() && !MayBecomeProxy(config)) {
    return Invalid("--advertise-client-urls is required when --listen-client-urls is set explicitly");
  }
  KVORUM_RETURN_IF_ERROR(CheckFeatures(config));
  return CheckTls(config);
}

absl::StatusOr<Retention> AutoCompaction(const Config& config) {
  const std::string& mode = config.auto_compaction_mode;
  if (mode.empty()) return Invalid("undefined auto-compaction-mode");
  if (mode != "periodic" && mode != "revision") {
    return Invalid(fmt::format("unknown auto-compaction-mode {}", Quoted(mode)));
  }
  Retention retention;
  const std::string& text = config.auto_compaction_retention;
  const bool digits = !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
  int64_t count = 0;
  if (digits && ParseInt(text, &count) == NumberError::kNone) {
    if (mode == "revision") {
      retention.revisions = count;
      return retention;
    }
    constexpr int64_t kMaxHours = 2'562'047;
    if (count > kMaxHours) return Invalid(fmt::format("error parsing CompactionRetention: {} hours", count));
    retention.period = std::chrono::hours(count);
    return retention;
  }
  const std::optional<Duration> period = ParseDuration(text);
  if (!period.has_value()) {
    return Invalid(fmt::format("error parsing CompactionRetention: time: invalid duration {}", Quoted(text)));
  }
  if (mode == "revision") {
    retention.revisions = period->count();
  } else {
    retention.period = *period;
  }
  return retention;
}

}  // namespace kvorum::config
