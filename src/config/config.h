#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/log_format.h"
#include "base/log_sink.h"
#include "config/command_line.h"
#include "config/url.h"

namespace kvorum::config {

using Duration = std::chrono::nanoseconds;

/// Everything that flags, environment or file set. The names are the flags'; defaults stand in the flag table
/// (flag_table.cc) alone, so a Config is made by `Defaults()` or `Load()`.
struct Config {
  // Member.
  std::string name;
  std::string data_dir;  ///< after Load never empty
  std::string wal_dir;   ///< empty: below the data directory
  uint64_t snapshot_count;
  uint64_t snapshot_catchup_entries;
  uint64_t heartbeat_interval_ms;
  uint64_t election_timeout_ms;
  bool initial_election_tick_advance;
  std::vector<Url> listen_peer_urls;
  std::vector<Url> listen_client_urls;
  std::vector<Url> listen_client_http_urls;
  uint64_t max_snapshots;
  uint64_t max_wals;
  bool memory_mlock;
  int64_t quota_backend_bytes;
  std::string backend_bbolt_freelist_type;
  Duration backend_batch_interval;
  int64_t backend_batch_limit;
  uint64_t max_txn_ops;
  uint64_t max_request_bytes;
  uint64_t max_concurrent_streams;
  Duration grpc_keepalive_min_time;
  Duration grpc_keepalive_interval;
  Duration grpc_keepalive_timeout;
  bool socket_reuse_port;
  bool socket_reuse_address;
  uint64_t io_threads;  ///< 0: as many as there are cores

  // Clustering.
  std::vector<Url> initial_advertise_peer_urls;
  std::vector<Url> advertise_client_urls;
  std::string initial_cluster;
  std::string initial_cluster_state;
  std::string initial_cluster_token;
  std::string discovery;
  std::string discovery_proxy;
  std::string discovery_srv;
  std::string discovery_srv_name;
  std::string dns_server;  ///< empty: the system's
  bool serve_discovery;
  std::string discovery_token;
  std::vector<std::string> discovery_endpoints;
  std::string discovery_cert;
  std::string discovery_key;
  std::string discovery_cacert;
  std::string discovery_user;
  std::string discovery_password;
  Duration discovery_dial_timeout;
  Duration discovery_request_timeout;
  Duration discovery_keepalive_time;
  Duration discovery_keepalive_timeout;
  bool discovery_insecure_transport;
  bool discovery_insecure_skip_tls_verify;
  std::string discovery_fallback;
  bool pre_vote;
  bool strict_reconfig_check;
  std::string cluster_version_limit;
  int64_t max_learners;
  std::string auto_compaction_mode;
  std::string auto_compaction_retention;
  bool enable_v2;  ///< whether the v2 API is served, by --enable-v2 and --v2-deprecation
  std::string v2_deprecation;

  // Proxy mode.
  std::string proxy;  ///< "off", "readonly", "on"
  uint64_t proxy_failure_wait_ms;
  uint64_t proxy_refresh_interval_ms;
  uint64_t proxy_dial_timeout_ms;
  uint64_t proxy_write_timeout_ms;
  uint64_t proxy_read_timeout_ms;

  // Security.
  std::string cert_file;
  std::string key_file;
  std::string client_cert_file;
  std::string client_key_file;
  bool client_cert_auth;
  std::string client_crl_file;
  std::vector<std::string> client_cert_allowed_hostname;
  std::string trusted_ca_file;
  bool auto_tls;
  std::string peer_cert_file;
  std::string peer_key_file;
  std::string peer_client_cert_file;
  std::string peer_client_key_file;
  bool peer_client_cert_auth;
  std::string peer_trusted_ca_file;
  bool peer_auto_tls;
  uint64_t self_signed_cert_validity;  ///< years
  std::string peer_crl_file;
  std::vector<std::string> peer_cert_allowed_cn;
  std::vector<std::string> peer_cert_allowed_hostname;
  bool peer_skip_client_san_verification;
  std::vector<std::string> cipher_suites;
  std::string tls_min_version;
  std::string tls_max_version;
  std::vector<std::string> cors;
  std::vector<std::string> host_whitelist;

  // Monitoring and logging.
  std::string metrics;
  std::vector<Url> listen_metrics_urls;
  std::string logger;
  std::vector<std::string> log_outputs;
  std::string log_level;
  std::string log_format;
  bool enable_log_rotation;
  std::string log_rotation_config_json;
  Duration warning_apply_duration;
  Duration warning_unary_request_duration;

  // Features.
  std::map<std::string, bool> feature_gates;  ///< every gate there is
  bool enable_grpc_gateway;
  Duration corrupt_check_time;
  Duration compact_hash_check_time;
  int64_t compaction_batch_limit;
  Duration compaction_sleep_interval;
  Duration watch_progress_notify_interval;
  Duration downgrade_check_time;
  uint64_t bootstrap_defrag_threshold_megabytes;
  bool force_new_cluster;
  bool unsafe_no_fsync;

  std::string WalDirectory() const { return wal_dir.empty() ? data_dir + "/member/wal" : wal_dir; }
  /// The gate's value. REQUIRES: it exists
  bool Gate(std::string_view name) const;
};

/// What the flag table says.
Config Defaults();

/// A log line that has to wait until there is a logger.
struct Note {
  LogLevel level;
  std::string message;
  std::vector<std::pair<std::string_view, std::string>> fields;  ///< keys of static lifetime
};

struct Loaded {
  Config config = Defaults();
  std::vector<Note> notes;  ///< also where `status` is an error
  /// An operator's mistake, in etcd's words where etcd has them; the exit status is 1.
  absl::Status status;
};

/// The outside, for tests.
struct Sources {
  std::vector<std::string> environment;  ///< "NAME=value"
  std::function<absl::StatusOr<std::string>(const std::string& path)> read_file;
  /// The address that the default route leaves from; empty where there is none.
  std::function<std::string()> default_host;
};

/// Brings command line, environment and file together (reference: flags.md §2), checks everything (§4), and
/// refuses what belongs to a part that is not built. Reads nothing but the config file.
Loaded Load(const CommandLine& command_line, const Sources& sources);

/// The members of a text like --initial-cluster with their sorted peer URLs. Errors: InvalidArgument.
absl::StatusOr<std::map<std::string, std::vector<Url>>> ParseCluster(std::string_view text);
/// The same of --initial-cluster, with etcd's words around the error.
absl::StatusOr<std::map<std::string, std::vector<Url>>> InitialCluster(const Config& config);

/// The retention of --auto-compaction-*: hours or a duration; or, with mode "revision", a count of revisions
/// in `revisions`. Both 0: off.
struct Retention {
  Duration period{0};
  int64_t revisions = 0;
};
absl::StatusOr<Retention> AutoCompaction(const Config& config);

/// --log-rotation-config-json. Errors: InvalidArgument.
absl::StatusOr<LogRotation> ParseLogRotation(const std::string& json);

/// REQUIRES: the config passed Validate
LogLevel LogLevelOf(const Config& config);
LogFormat LogFormatOf(const Config& config);

/// The checks of reference flags.md §4, the first failing one's text.
absl::Status Validate(const Config& config);

}  // namespace kvorum::config
