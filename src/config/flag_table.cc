#include "config/flag_table.h"

#include "absl/strings/ascii.h"
#include "base/check.h"

namespace kvorum::config {
namespace {

constexpr std::string_view kRotationDefault =
    R"({"maxsize": 100, "maxage": 0, "maxbackups": 0, "localtime": false, "compress": false})";

/// A flag of a part that is not built; `part` as the refusal names it.
Flag NotBuilt(std::string_view name, Kind kind, std::string_view default_text, std::string_view file_key,
              std::string_view part, Target target = {}) {
  return {.name = name,
          .kind = kind,
          .default_text = default_text,
          .file_key = file_key,
          .target = target,
          .help = part,
          .built = false};
}

Flag Choice(std::string_view name, std::string_view default_text, std::string Config::*target,
            std::string_view choices, std::string_view help) {
  return {.name = name,
          .kind = Kind::kString,
          .default_text = default_text,
          .file_key = name,
          .target = target,
          .help = help,
          .choices = choices};
}

Flag Renamed(std::string_view name, std::string_view replaced_by) {
  return {.name = name,
          .kind = Kind::kString,  // read as the flag that replaces it
          .default_text = "",
          .file_key = name,
          .target = {},
          .help = "",
          .replaced_by = replaced_by};
}

Flag RenamedGate(std::string_view name, std::string_view default_text, std::string_view gate) {
  return {.name = name,
          .kind = Kind::kBool,
          .default_text = default_text,
          .file_key = name,
          .target = {},
          .help = "",
          .replaced_by_gate = gate};
}

Flag Ignored(std::string_view name) {
  return {.name = name, .kind = Kind::kIgnored, .default_text = "", .file_key = "", .target = {}, .help = ""};
}

FlagSection MemberSection() {
  return {
      "Member",
      {
          {"name", Kind::kString, "default", "name", &Config::name, "Human-readable name of this member."},
          {"data-dir", Kind::kString, "", "data-dir", &Config::data_dir,
           "Path of the data directory; empty: the member's name and '.etcd'."},
          {"wal-dir", Kind::kString, "", "wal-dir", &Config::wal_dir,
           "Path of a directory of its own for the write-ahead log."},
          {"snapshot-count", Kind::kUint, "10000", "snapshot-count", &Config::snapshot_count,
           "Applied entries after which a snapshot is made."},
          {"snapshot-catchup-entries", Kind::kUint, "5000", "snapshot-catchup-entries",
           &Config::snapshot_catchup_entries, "Entries that a snapshot leaves in memory for slow followers."},
          {"heartbeat-interval", Kind::kUint, "100", "heartbeat-interval", &Config::heartbeat_interval_ms,
           "Milliseconds between heartbeats of the leader."},
          {"election-timeout", Kind::kUint, "1000", "election-timeout", &Config::election_timeout_ms,
           "Milliseconds without a leader after which an election begins."},
          {"initial-election-tick-advance", Kind::kBool, "true", "initial-election-tick-advance",
           &Config::initial_election_tick_advance, "Wait less for the first election after a start."},
          {"listen-peer-urls", Kind::kUrls, "http://localhost:2380", "listen-peer-urls",
           &Config::listen_peer_urls, "URLs to listen on for other members."},
          {"listen-client-urls", Kind::kUrls, "http://localhost:2379", "listen-client-urls",
           &Config::listen_client_urls, "URLs to listen on for clients, gRPC and HTTP."},
          {"listen-client-http-urls", Kind::kOptionalUrls, "", "listen-client-http-urls",
           &Config::listen_client_http_urls,
           "URLs for HTTP clients alone; the client URLs then serve gRPC only."},
          {"max-snapshots", Kind::kUint, "5", "max-snapshots", &Config::max_snapshots,
           "Snapshot files to keep (0: all)."},
          {"max-wals", Kind::kUint, "5", "max-wals", &Config::max_wals, "Log segments to keep (0: all)."},
          {"memory-mlock", Kind::kBool, "false", "memory-mlock", &Config::memory_mlock,
           "Keep the process's memory from being swapped out."},
          {"quota-backend-bytes", Kind::kInt, "0", "quota-backend-bytes", &Config::quota_backend_bytes,
           "Size of the database at which writes end with an alarm (0: 2 GiB; negative: no limit)."},
          {"backend-bbolt-freelist-type", Kind::kString, "", "backend-bbolt-freelist-type",
           &Config::backend_bbolt_freelist_type,
           "array or map: taken for etcd's sake, of no effect, for the database keeps its free pages itself.",
           true, "|array|map"},
          {"backend-batch-interval", Kind::kDuration, "0s", "backend-batch-interval",
           &Config::backend_batch_interval, "Longest time before the database commits (0: 100ms)."},
          {"backend-batch-limit", Kind::kInt, "0", "backend-batch-limit", &Config::backend_batch_limit,
           "Most writes before the database commits (0: 10000)."},
          {"max-txn-ops", Kind::kUint, "128", "max-txn-ops", &Config::max_txn_ops,
           "Most operations in one list of a transaction."},
          {"max-request-bytes", Kind::kUint, "1572864", "max-request-bytes", &Config::max_request_bytes,
           "Largest request of a client."},
          {"max-concurrent-streams", Kind::kUint32, "4294967295", "max-concurrent-streams",
           &Config::max_concurrent_streams, "Most streams that a client opens at a time on one connection."},
          {"grpc-keepalive-min-time", Kind::kDuration, "5s", "grpc-keepalive-min-time",
           &Config::grpc_keepalive_min_time, "Shortest time between pings of a client."},
          {"grpc-keepalive-interval", Kind::kDuration, "2h0m0s", "grpc-keepalive-interval",
           &Config::grpc_keepalive_interval, "Idle time after which a client is pinged (0: never)."},
          {"grpc-keepalive-timeout", Kind::kDuration, "20s", "grpc-keepalive-timeout",
           &Config::grpc_keepalive_timeout, "Time to wait for the answer to a ping (0: for ever)."},
          {"socket-reuse-port", Kind::kBool, "false", "socket-options.reuse-port", &Config::socket_reuse_port,
           "Listen with SO_REUSEPORT."},
          {"socket-reuse-address", Kind::kBool, "false", "socket-options.reuse-address",
           &Config::socket_reuse_address, "Listen with SO_REUSEADDR."},
          {"io-threads", Kind::kUint, "0", "io-threads", &Config::io_threads,
           "Threads that serve connections (0: as many as there are cores)."},
          NotBuilt("raft-read-timeout", Kind::kDuration, "5s", "",
                   "other time limits for connections between members"),
          NotBuilt("raft-write-timeout", Kind::kDuration, "5s", "",
                   "other time limits for connections between members"),
      }};
}

FlagSection ClusteringSection() {
  return {
      "Clustering",
      {
          {"initial-advertise-peer-urls", Kind::kUrls, "http://localhost:2380", "initial-advertise-peer-urls",
           &Config::initial_advertise_peer_urls, "This member's peer URLs, for the rest of the cluster."},
          {"initial-cluster", Kind::kString, "default=http://localhost:2380", "initial-cluster",
           &Config::initial_cluster, "The first members, 'name=url,name=url'."},
          Choice("initial-cluster-state", "new", &Config::initial_cluster_state, "new|existing",
                 "Whether the cluster is 'new' or 'existing'."),
          {"initial-cluster-token", Kind::kString, "etcd-cluster", "initial-cluster-token",
           &Config::initial_cluster_token, "What tells this cluster's ids from those of others."},
          {"advertise-client-urls", Kind::kUrls, "http://localhost:2379", "advertise-client-urls",
           &Config::advertise_client_urls,
           "This member's client URLs, for the world; needed where --listen-client-urls is set."},
          {"pre-vote", Kind::kBool, "true", "pre-vote", &Config::pre_vote,
           "Ask before an election whether it could be won."},
          {"auto-compaction-retention", Kind::kString, "0", "auto-compaction-retention",
           &Config::auto_compaction_retention,
           "History that is kept: hours, a duration, or with mode 'revision' a count (0: all)."},
          Choice("auto-compaction-mode", "periodic", &Config::auto_compaction_mode, "",
                 "What the retention counts: 'periodic' or 'revision'."),
          Choice(
              "cluster-version-limit", "", &Config::cluster_version_limit, "|3.4|3.5|3.6",
              "Keep the cluster's version from rising beyond this, so that members of etcd of that release "
              "may join, or come back."),
          {"enable-v2", Kind::kBool, "true", "enable-v2", &Config::enable_v2,
           "Serve the v2 API; its keys are replicated either way."},
          Choice("v2-deprecation", kV2NotYet, &Config::v2_deprecation,
                 "not-yet|write-only|write-only-skip-check|write-only-drop-data|gone",
                 "Stage of the v2 API's removal; from 'write-only' on as --enable-v2=false."),
          {"strict-reconfig-check", Kind::kBool, "true", "strict-reconfig-check",
           &Config::strict_reconfig_check, "Refuse membership changes that would put the quorum at risk."},
          {"max-learners", Kind::kInt, "1", "max-learners", &Config::max_learners,
           "Most learners that the cluster may have at a time."},
          {"discovery", Kind::kString, "", "discovery", &Config::discovery,
           "URL of a new cluster's token at a discovery service (v2 protocol)."},
          {"discovery-proxy", Kind::kString, "", "discovery-proxy", &Config::discovery_proxy,
           "HTTP proxy through which the v2 discovery service is asked."},
          Choice("discovery-fallback", "exit", &Config::discovery_fallback, "exit|proxy",
                 "What a member beyond the size of the v2 discovery token becomes."),
          {"discovery-token", Kind::kString, "", "discovery-config.token", &Config::discovery_token,
           "A new cluster's token at a discovery service (v3 protocol)."},
          {"discovery-endpoints", Kind::kList, "", "discovery-config.client.endpoints",
           &Config::discovery_endpoints, "Client URLs of the v3 discovery service."},
          {"discovery-dial-timeout", Kind::kDuration, "2s", "discovery-config.client.dial-timeout",
           &Config::discovery_dial_timeout, "Time that a connection to the v3 discovery service may take."},
          {"discovery-request-timeout", Kind::kDuration, "5s", "discovery-config.client.request-timeout",
           &Config::discovery_request_timeout, "Time that a request to the v3 discovery service may take."},
          {"discovery-keepalive-time", Kind::kDuration, "2s", "discovery-config.client.keepalive-time",
           &Config::discovery_keepalive_time, "Idle time after which the v3 discovery service is pinged."},
          {"discovery-keepalive-timeout", Kind::kDuration, "6s", "discovery-config.client.keepalive-timeout",
           &Config::discovery_keepalive_timeout, "Time that its answer to a ping may take."},
          {"discovery-insecure-transport", Kind::kBool, "true",
           "discovery-config.client.secure.insecure-transport", &Config::discovery_insecure_transport,
           "Ask the v3 discovery service without TLS."},
          {"discovery-insecure-skip-tls-verify", Kind::kBool, "false",
           "discovery-config.client.secure.insecure-skip-tls-verify",
           &Config::discovery_insecure_skip_tls_verify, "Take any certificate of the v3 discovery service."},
          {"discovery-cert", Kind::kString, "", "discovery-config.client.secure.cert",
           &Config::discovery_cert, "Certificate to show to the v3 discovery service."},
          {"discovery-key", Kind::kString, "", "discovery-config.client.secure.key", &Config::discovery_key,
           "Its private key."},
          {"discovery-cacert", Kind::kString, "", "discovery-config.client.secure.cacert",
           &Config::discovery_cacert, "Authority of the v3 discovery service's certificate."},
          {"discovery-user", Kind::kString, "", "discovery-config.client.auth.username",
           &Config::discovery_user, "User, or user:password, at the v3 discovery service."},
          {"discovery-password", Kind::kString, "", "discovery-config.client.auth.password",
           &Config::discovery_password, "The user's password."},
          {"discovery-srv", Kind::kString, "", "discovery-srv", &Config::discovery_srv,
           "DNS domain whose SRV records name the first members."},
          {"discovery-srv-name", Kind::kString, "", "discovery-srv-name", &Config::discovery_srv_name,
           "Suffix of the service's name in those records."},
          {"dns-server", Kind::kString, "", "dns-server", &Config::dns_server,
           "Address of the DNS server to ask, 'host:port' (empty: the system's)."},
          {"serve-discovery", Kind::kBool, "false", "serve-discovery", &Config::serve_discovery,
           "Be a discovery service: GET /new?size=N on the client URLs makes a token."},
      }};
}

FlagSection ProxySection() {
  return {
      "Proxy",
      {
          Choice("proxy", "off", &Config::proxy, "off|readonly|on",
                 "Be no member, but a proxy to the cluster's."),
          {"proxy-failure-wait", Kind::kUint, "5000", "proxy-failure-wait", &Config::proxy_failure_wait_ms,
           "Milliseconds for which a member that failed is not asked."},
          {"proxy-refresh-interval", Kind::kUint, "30000", "proxy-refresh-interval",
           &Config::proxy_refresh_interval_ms, "Milliseconds between looks at who the members are."},
          {"proxy-dial-timeout", Kind::kUint, "1000", "proxy-dial-timeout", &Config::proxy_dial_timeout_ms,
           "Milliseconds that a connection to a member may take (0: no limit)."},
          {"proxy-write-timeout", Kind::kUint, "5000", "proxy-write-timeout", &Config::proxy_write_timeout_ms,
           "Milliseconds for which a member may take nothing of a request (0: no limit)."},
          {"proxy-read-timeout", Kind::kUint, "0", "proxy-read-timeout", &Config::proxy_read_timeout_ms,
           "Milliseconds for which a member may send nothing (0: no limit, as watches need)."},
      }};
}

FlagSection SecuritySection() {
  constexpr std::string_view kAuth = "authentication";
  return {
      "Security",
      {
          {"cors", Kind::kOrigins, "*", "cors", &Config::cors,
           "Origins that browsers may call from ('*': all)."},
          {"host-whitelist", Kind::kList, "*", "host-whitelist", &Config::host_whitelist,
           "Host names accepted on connections without TLS ('*': all)."},
          {"cert-file", Kind::kString, "", "client-transport-security.cert-file", &Config::cert_file,
           "Certificate that clients are shown (PEM, with its chain); read again when it changes."},
          {"key-file", Kind::kString, "", "client-transport-security.key-file", &Config::key_file,
           "Its private key."},
          {"client-cert-file", Kind::kString, "", "client-transport-security.client-cert-file",
           &Config::client_cert_file,
           "Certificate that a proxy shows to members' client URLs, in place of --cert-file's; a member "
           "needs none."},
          {"client-key-file", Kind::kString, "", "client-transport-security.client-key-file",
           &Config::client_key_file, "Its private key."},
          {"client-cert-auth", Kind::kBool, "false", "client-transport-security.client-cert-auth",
           &Config::client_cert_auth, "Take only clients with a certificate."},
          {"client-crl-file", Kind::kString, "", "", &Config::client_crl_file,
           "List of revoked certificates, of clients (PEM or DER)."},
          {"client-cert-allowed-hostname", Kind::kList, "", "client-transport-security.allowed-hostname",
           &Config::client_cert_allowed_hostname, "Hosts of which one must be in a client's certificate."},
          {"trusted-ca-file", Kind::kString, "", "client-transport-security.trusted-ca-file",
           &Config::trusted_ca_file, "Authorities of clients' certificates; given, clients must show one."},
          {"auto-tls", Kind::kBool, "false", "client-transport-security.auto-tls", &Config::auto_tls,
           "Make a certificate for clients to be shown, where none is given."},
          {"peer-cert-file", Kind::kString, "", "peer-transport-security.cert-file", &Config::peer_cert_file,
           "Certificate that other members are shown; read again when it changes."},
          {"peer-key-file", Kind::kString, "", "peer-transport-security.key-file", &Config::peer_key_file,
           "Its private key."},
          {"peer-client-cert-file", Kind::kString, "", "peer-transport-security.client-cert-file",
           &Config::peer_client_cert_file,
           "Certificate that other members are shown when they are dialled, in place of --peer-cert-file's."},
          {"peer-client-key-file", Kind::kString, "", "peer-transport-security.client-key-file",
           &Config::peer_client_key_file, "Its private key."},
          {"peer-client-cert-auth", Kind::kBool, "false", "peer-transport-security.client-cert-auth",
           &Config::peer_client_cert_auth, "Take only members with a certificate."},
          {"peer-trusted-ca-file", Kind::kString, "", "peer-transport-security.trusted-ca-file",
           &Config::peer_trusted_ca_file,
           "Authorities of members' certificates; given, members must show one."},
          {"peer-auto-tls", Kind::kBool, "false", "peer-transport-security.auto-tls", &Config::peer_auto_tls,
           "Make a certificate for other members to be shown, where none is given, and take any of theirs."},
          {"self-signed-cert-validity", Kind::kUint, "1", "self-signed-cert-validity",
           &Config::self_signed_cert_validity, "Years for which certificates that are made here are good."},
          {"peer-crl-file", Kind::kString, "", "", &Config::peer_crl_file,
           "List of revoked certificates, of members (PEM or DER)."},
          {"peer-cert-allowed-cn", Kind::kList, "", "peer-transport-security.allowed-cn",
           &Config::peer_cert_allowed_cn, "Common names of which a member's certificate must have one."},
          {"peer-cert-allowed-hostname", Kind::kList, "", "peer-transport-security.allowed-hostname",
           &Config::peer_cert_allowed_hostname, "Hosts of which one must be in a member's certificate."},
          {"peer-skip-client-san-verification", Kind::kBool, "false",
           "peer-transport-security.skip-client-san-verification", &Config::peer_skip_client_san_verification,
           "Take a member's certificate from other addresses than it names."},
          {"cipher-suites", Kind::kList, "", "cipher-suites", &Config::cipher_suites,
           "Cipher suites of TLS 1.2 that may be used, by Go's names (empty: the library's)."},
          {"tls-min-version", Kind::kString, "TLS1.2", "tls-min-version", &Config::tls_min_version,
           "TLS1.2 or TLS1.3."},
          {"tls-max-version", Kind::kString, "", "tls-max-version", &Config::tls_max_version,
           "TLS1.2 or TLS1.3 (empty: the newest)."},
          NotBuilt("auth-token", Kind::kString, "simple", "auth-token", kAuth),
          NotBuilt("bcrypt-cost", Kind::kUint, "10", "bcrypt-cost", kAuth),
          NotBuilt("auth-token-ttl", Kind::kUint, "300", "auth-token-ttl", kAuth),
      }};
}

FlagSection MonitoringSection() {
  return {"Monitoring",
          {
              Choice("metrics", "basic", &Config::metrics, "",
                     "'basic', or 'extensive' for histograms of each call."),
              {"listen-metrics-urls", Kind::kOptionalUrls, "", "listen-metrics-urls",
               &Config::listen_metrics_urls, "Further URLs for /metrics and the health endpoints."},
              NotBuilt("enable-pprof", Kind::kBool, "false", "enable-pprof", "profiles over HTTP"),
          }};
}

FlagSection LoggingSection() {
  return {"Logging",
          {
              {"logger", Kind::kString, "zap", "logger", &Config::logger,
               "'zap': the form of the log lines; the only one."},
              {"log-outputs", Kind::kList, "default", "log-outputs", &Config::log_outputs,
               "Where log lines go: 'stderr', 'stdout', 'systemd/journal' or files; 'default' is standard "
               "error, or the journal under systemd."},
              {"log-level", Kind::kString, "info", "log-level", &Config::log_level,
               "debug, info, warn, error, panic or fatal."},
              {"log-format", Kind::kString, "json", "log-format", &Config::log_format, "json or console."},
              {"enable-log-rotation", Kind::kBool, "false", "enable-log-rotation",
               &Config::enable_log_rotation, "Rotate the one file of --log-outputs."},
              {"log-rotation-config-json", Kind::kString, kRotationDefault, "log-rotation-config-json",
               &Config::log_rotation_config_json,
               "How: MiB a file, days and number of old ones kept (0: all), names in local time, gzip."},
              {"warning-apply-duration", Kind::kDuration, "100ms", "warning-apply-duration",
               &Config::warning_apply_duration, "Log an entry that took longer than this to apply."},
              {"warning-unary-request-duration", Kind::kDuration, "300ms", "warning-unary-request-duration",
               &Config::warning_unary_request_duration, "Log a call that took longer than this."},
          }};
}

FlagSection FeatureSection() {
  constexpr std::string_view kTracing = "distributed tracing";
  return {"Features",
          {
              {"feature-gates", Kind::kGates, "", "feature-gates", &Config::feature_gates,
               "'Gate=true,Gate=false'; CompactHashCheck and InitialCorruptCheck can be changed."},
              {"enable-grpc-gateway", Kind::kBool, "true", "enable-grpc-gateway",
               &Config::enable_grpc_gateway, "Serve the v3 API as JSON over HTTP, under /v3/."},
              {"compaction-batch-limit", Kind::kInt, "0", "compaction-batch-limit",
               &Config::compaction_batch_limit, "Revisions that one step of a compaction removes (0: 1000)."},
              {"compaction-sleep-interval", Kind::kDuration, "0s", "compaction-sleep-interval",
               &Config::compaction_sleep_interval, "Pause between the steps of a compaction (0: 10ms)."},
              {"watch-progress-notify-interval", Kind::kDuration, "0s", "watch-progress-notify-interval",
               &Config::watch_progress_notify_interval, "Time between progress notifications (0: 10m)."},
              {"bootstrap-defrag-threshold-megabytes", Kind::kUint, "0",
               "bootstrap-defrag-threshold-megabytes", &Config::bootstrap_defrag_threshold_megabytes,
               "Defragment at the start where that much would be freed (0: never)."},
              {"corrupt-check-time", Kind::kDuration, "0s", "corrupt-check-time", &Config::corrupt_check_time,
               "Time between comparisons of the members' hashes (0: never)."},
              {"compact-hash-check-time", Kind::kDuration, "1m0s", "compact-hash-check-time",
               &Config::compact_hash_check_time,
               "Time between comparisons of compactions' hashes, with the gate CompactHashCheck."},
              {"downgrade-check-time", Kind::kDuration, "5s", "downgrade-check-time",
               &Config::downgrade_check_time, "Time between looks at whether a downgrade has ended."},
              NotBuilt("enable-distributed-tracing", Kind::kBool, "false", "enable-distributed-tracing",
                       kTracing),
              NotBuilt("distributed-tracing-address", Kind::kString, "localhost:4317",
                       "distributed-tracing-address", kTracing),
              NotBuilt("distributed-tracing-service-name", Kind::kString, "etcd",
                       "distributed-tracing-service-name", kTracing),
              NotBuilt("distributed-tracing-instance-id", Kind::kString, "",
                       "distributed-tracing-instance-id", kTracing),
              NotBuilt("distributed-tracing-sampling-rate", Kind::kInt, "0",
                       "distributed-tracing-sampling-rate", kTracing),
          }};
}

FlagSection UnsafeSection() {
  return {"Unsafe",
          {
              {"force-new-cluster", Kind::kBool, "false", "force-new-cluster", &Config::force_new_cluster,
               "Go on from the data directory as a cluster of this member alone; for one start."},
              {"unsafe-no-fsync", Kind::kBool, "false", "unsafe-no-fsync", &Config::unsafe_no_fsync,
               "Never wait for the disk: what was acknowledged may be lost."},
          }};
}

/// Names of releases up to 3.6, and what of older ones is known by name.
FlagSection OlderSection() {
  constexpr std::string_view kV2v3 = "the v2 API on keys of the v3 API";
  return {"",
          {
              Renamed("experimental-compact-hash-check-time", "compact-hash-check-time"),
              Renamed("experimental-corrupt-check-time", "corrupt-check-time"),
              Renamed("experimental-compaction-batch-limit", "compaction-batch-limit"),
              Renamed("experimental-watch-progress-notify-interval", "watch-progress-notify-interval"),
              Renamed("experimental-warning-apply-duration", "warning-apply-duration"),
              Renamed("experimental-bootstrap-defrag-threshold-megabytes",
                      "bootstrap-defrag-threshold-megabytes"),
              Renamed("experimental-memory-mlock", "memory-mlock"),
              Renamed("experimental-snapshot-catchup-entries", "snapshot-catchup-entries"),
              Renamed("experimental-compaction-sleep-interval", "compaction-sleep-interval"),
              Renamed("experimental-downgrade-check-time", "downgrade-check-time"),
              Renamed("experimental-peer-skip-client-san-verification", "peer-skip-client-san-verification"),
              Renamed("experimental-enable-distributed-tracing", "enable-distributed-tracing"),
              Renamed("experimental-distributed-tracing-address", "distributed-tracing-address"),
              Renamed("experimental-distributed-tracing-service-name", "distributed-tracing-service-name"),
              Renamed("experimental-distributed-tracing-instance-id", "distributed-tracing-instance-id"),
              Renamed("experimental-distributed-tracing-sampling-rate", "distributed-tracing-sampling-rate"),
              Renamed("experimental-warning-unary-request-duration", "warning-unary-request-duration"),
              RenamedGate("experimental-initial-corrupt-check", "false", "InitialCorruptCheck"),
              RenamedGate("experimental-compact-hash-check-enabled", "false", "CompactHashCheck"),
              RenamedGate("experimental-enable-lease-checkpoint", "false", "LeaseCheckpoint"),
              RenamedGate("experimental-enable-lease-checkpoint-persist", "false", "LeaseCheckpointPersist"),
              RenamedGate("experimental-txn-mode-write-with-shared-buffer", "true",
                          "TxnModeWriteWithSharedBuffer"),
              RenamedGate("experimental-stop-grpc-service-on-defrag", "false", "StopGRPCServiceOnDefrag"),
              NotBuilt("experimental-enable-v2v3", Kind::kString, "", "experimental-enable-v2v3", kV2v3),
              Ignored("cluster-active-size"),
              Ignored("cluster-remove-delay"),
              Ignored("cluster-sync-interval"),
              Ignored("config"),
              Ignored("force"),
              Ignored("max-result-buffer"),
              Ignored("max-retry-attempts"),
              Ignored("peer-heartbeat-interval"),
              Ignored("peer-election-timeout"),
              Ignored("retry-interval"),
              Ignored("snapshot"),
              Ignored("v"),
              Ignored("vv"),
              Ignored("test.coverprofile"),
              Ignored("test.outputdir"),
          }};
}

}  // namespace

std::string Flag::EnvironmentName() const {
  std::string name_in_capitals = absl::AsciiStrToUpper(std::string(name));
  std::replace(name_in_capitals.begin(), name_in_capitals.end(), '-', '_');
  return "ETCD_" + name_in_capitals;
}

const std::vector<FlagSection>& FlagSections() {
  static const auto* const sections = new std::vector<FlagSection>{
      MemberSection(),  ClusteringSection(), ProxySection(),  SecuritySection(), MonitoringSection(),
      LoggingSection(), FeatureSection(),    UnsafeSection(), OlderSection()};
  return *sections;
}

const Flag* FindFlag(std::string_view name) {
  static const auto* const by_name = [] {
    auto* map = new std::map<std::string_view, const Flag*>();
    for (const FlagSection& section : FlagSections()) {
      for (const Flag& flag : section.flags) {
        KVORUM_CHECK(map->emplace(flag.name, &flag).second, "two flags are named {}", flag.name);
      }
    }
    return map;
  }();
  const auto found = by_name->find(name);
  return found == by_name->end() ? nullptr : found->second;
}

const Gates& DefaultGates() {
  static const auto* const gates = new Gates{{"AllAlpha", false},
                                             {"AllBeta", false},
                                             {"CompactHashCheck", false},
                                             {"FastLeaseKeepAlive", true},
                                             {"InitialCorruptCheck", false},
                                             {"LeaseCheckpoint", false},
                                             {"LeaseCheckpointPersist", false},
                                             {"PriorityRequest", false},
                                             {"SetMemberLocalAddr", false},
                                             {"StopGRPCServiceOnDefrag", false},
                                             {"TxnModeWriteWithSharedBuffer", true}};
  return *gates;
}

bool IsBuiltGate(std::string_view gate) {
  return gate == "CompactHashCheck" || gate == "InitialCorruptCheck";
}

}  // namespace kvorum::config
