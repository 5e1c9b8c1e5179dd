#include "cmd/kvorum/startup_log.h"

#include <thread>

#include "absl/strings/str_join.h"
#include "base/version.h"
#include "git_revision.h"

namespace kvorum::cmd {
namespace {

constexpr std::string_view kNoGo = "none";

std::string Milliseconds(uint64_t count) {
  return FormatDuration(std::chrono::milliseconds(static_cast<int64_t>(count)));
}

}  // namespace

std::string VersionText() {
  return fmt::format(
      "etcd Version: {}\nGit SHA: {}\nGo Version: {}\nGo OS/Arch: linux/amd64\nKvorum Version: {}\n",
      kApiVersion, kGitRevision, kNoGo, kKvorumVersion);
}

void WriteNote(const config::Note& note, Logger& logger) {
  if (!logger.Enabled(note.level)) return;
  const auto& fields = note.fields;
  const auto field = [&](size_t i) { return LogField(fields[i].first, fields[i].second); };
  switch (fields.size()) {
    case 0:
      return logger.Write(note.level, __FILE__, __LINE__, note.message, {});
    case 1:
      return logger.Write(note.level, __FILE__, __LINE__, note.message, {field(0)});
    default:
      return logger.Write(note.level, __FILE__, __LINE__, note.message, {field(0), field(1)});
  }
}

void LogStarting(const config::Config& config, bool initialized, Logger& logger) {
  const int64_t cpus = std::thread::hardware_concurrency();
  const std::string member_dir = config.data_dir + "/member";
  KVORUM_LOG(
      logger, kInfo, "starting an etcd server", {"etcd-version", kApiVersion},
      {"kvorum-version", kKvorumVersion}, {"git-sha", kGitRevision}, {"go-version", kNoGo},
      {"go-os", "linux"}, {"go-arch", "amd64"}, {"max-cpu-set", cpus}, {"max-cpu-available", cpus},
      {"member-initialized", initialized}, {"name", config.name}, {"data-dir", config.data_dir},
      {"wal-dir", config.wal_dir}, {"wal-dir-dedicated", config.wal_dir}, {"member-dir", member_dir},
      {"force-new-cluster", config.force_new_cluster},
      {"heartbeat-interval", Milliseconds(config.heartbeat_interval_ms)},
      {"election-timeout", Milliseconds(config.election_timeout_ms)},
      {"initial-election-tick-advance", config.initial_election_tick_advance},
      {"snapshot-count", config.snapshot_count}, {"max-wals", config.max_wals},
      {"max-snapshots", config.max_snapshots}, {"snapshot-catchup-entries", config.snapshot_catchup_entries},
      {"initial-advertise-peer-urls", config::Texts(config.initial_advertise_peer_urls)},
      {"listen-peer-urls", config::Texts(config.listen_peer_urls)},
      {"advertise-client-urls", config::Texts(config.advertise_client_urls)},
      {"listen-client-urls", config::Texts(config.listen_client_urls)},
      {"listen-metrics-urls", config::Texts(config.listen_metrics_urls)}, {"cors", config.cors},
      {"host-whitelist", config.host_whitelist}, {"initial-cluster", config.initial_cluster},
      {"initial-cluster-state", config.initial_cluster_state},
      {"initial-cluster-token", config.initial_cluster_token},
      {"quota-backend-bytes", config.quota_backend_bytes}, {"max-request-bytes", config.max_request_bytes},
      {"max-concurrent-streams", config.max_concurrent_streams}, {"pre-vote", config.pre_vote},
      {"initial-corrupt-check", config.Gate("InitialCorruptCheck")},
      {"corrupt-check-time-interval", config.corrupt_check_time},
      {"compact-check-time-interval", config.compact_hash_check_time},
      {"auto-compaction-mode", config.auto_compaction_mode},
      {"auto-compaction-retention", config.auto_compaction_retention}, {"discovery-url", config.discovery},
      {"discovery-proxy", config.discovery_proxy}, {"discovery-token", config.discovery_token},
      {"discovery-endpoints", config.discovery_endpoints},
      {"discovery-dial-timeout", config.discovery_dial_timeout},
      {"discovery-request-timeout", config.discovery_request_timeout},
      {"discovery-keepalive-time", config.discovery_keepalive_time},
      {"discovery-keepalive-timeout", config.discovery_keepalive_timeout},
      {"discovery-insecure-transport", config.discovery_insecure_transport},
      {"discovery-insecure-skip-tls-verify", config.discovery_insecure_skip_tls_verify},
      {"discovery-cert", config.discovery_cert}, {"discovery-key", config.discovery_key},
      {"discovery-cacert", config.discovery_cacert},
      {"discovery-user", config.discovery_user.substr(0, config.discovery_user.find(':'))},
      {"discovery-srv", config.discovery_srv}, {"serve-discovery", config.serve_discovery},
      {"downgrade-check-interval", config.downgrade_check_time}, {"max-learners", config.max_learners},
      {"v2-deprecation", config.v2_deprecation});
}

}  // namespace kvorum::cmd
