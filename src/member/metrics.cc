#include "member/metrics.h"

#include "fmt/format.h"

namespace kvorum::member {
namespace {

double AsDouble(const std::atomic<uint64_t>& value) {
  return static_cast<double>(value.load(std::memory_order_relaxed));
}

std::string_view AlarmName(AlarmType type) {
  switch (type) {
    case AlarmType::kNone:
      return "NONE";
    case AlarmType::kNoSpace:
      return "NOSPACE";
    case AlarmType::kCorrupt:
      return "CORRUPT";
  }
  return "";
}

}  // namespace

std::string_view KindName(uint32_t kind) {
  switch (kind) {
    case 2:
      return "V2";
    case 3:
      return "Range";
    case 4:
      return "Put";
    case 5:
      return "DeleteRange";
    case 6:
      return "Txn";
    case 7:
      return "Compaction";
    case 8:
      return "LeaseGrant";
    case 9:
      return "LeaseRevoke";
    case 10:
      return "Alarm";
    case 11:
      return "LeaseCheckpoint";
    case 1300:
      return "ClusterVersionSet";
    case 1301:
      return "ClusterMemberAttrSet";
    case 1302:
      return "DowngradeInfoSet";
    case 9900:
      return "DowngradeVersionTest";
    default:
      return "unknown";
  }
}

Metrics::Metrics(metrics::Registry* registry, MemberId id, std::shared_ptr<const SharedState> state,
                 int64_t quota_bytes)
    : own_(registry == nullptr ? std::make_unique<metrics::Registry>() : nullptr),
      registry_(registry == nullptr ? *own_ : *registry),
      leader_changes(registry_.NewCounter("etcd_server_leader_changes_seen_total",
                                          "The number of leader changes seen.")),
      proposals_failed(registry_.NewCounter("etcd_server_proposals_failed_total",
                                            "The total number of failed proposals seen.")),
      proposals_pending(registry_.NewGauge("etcd_server_proposals_pending",
                                           "The current number of pending proposals to commit.")),
      is_learner(registry_.NewGauge("etcd_server_is_learner",
                                    "Whether or not this member is a learner. 1 if is, 0 otherwise.")),
      slow_apply(registry_.NewCounter("etcd_server_slow_apply_total",
                                      "The total number of slow apply requests (likely overloaded from "
                                      "slow disk).")),
      read_indexes_failed(registry_.NewCounter("etcd_server_read_indexes_failed_total",
                                               "The total number of failed read indexes seen.")),
      slow_read_indexes(registry_.NewCounter("etcd_server_slow_read_indexes_total",
                                             "The total number of pending read indexes not in sync with "
                                             "leader's or timed out read index requests.")),
      leases_expired(registry_.NewCounter("etcd_debugging_server_lease_expired_total",
                                          "The total number of expired leases.")),
      heartbeat_send_failures(
          registry_.NewCounter("etcd_server_heartbeat_send_failures_total",
                               "The total number of leader heartbeat send failures (likely overloaded from "
                               "slow disk).")),
      hash_duration(registry_.NewHistogram("etcd_mvcc_hash_duration_seconds",
                                           "The latency distribution of storage hash operation.", 0.01, 2,
                                           15)),
      snapshot_apply_in_progress(
          registry_.NewGauge("etcd_server_snapshot_apply_in_progress_total",
                             "1 if the server is applying the incoming snapshot. 0 if none.")),
      learner_promote_successes(registry_.NewCounter("etcd_server_learner_promote_successes",
                                                     "The total number of successful learner promotions "
                                                     "while this member is leader.")),
      learner_promote_failures(registry_.NewCounterFamily(
          "etcd_server_learner_promote_failures",
          "The total number of failed learner promotions (likely learner not ready) while this member is "
          "leader.",
          {"Reason"})),
      apply_duration_(registry_.NewHistogramFamily("etcd_server_apply_duration_seconds",
                                                   "The latency distributions of v2 apply called by backend.",
                                                   {"version", "op", "success"}, 0.0001, 2, 20)),
      cluster_version_(
          registry_.NewGaugeFamily("etcd_cluster_version",
                                   "Which version is running. 1 for 'cluster_version' label with "
                                   "current cluster version",
                                   {"cluster_version"})),
      alarms_(registry_.NewGaugeFamily("etcd_debugging_server_alarms",
                                       "Alarms for every member in cluster. 1 for 'server_id' label with "
                                       "current ID. 2 for 'alarm_type' label with type of this alarm",
                                       {"server_id", "alarm_type"})) {
  registry_.NewGaugeCallback("etcd_server_has_leader",
                             "Whether or not a leader exists. 1 is existence, 0 is not.",
                             [state] { return AsDouble(state->leader) != 0 ? 1.0 : 0.0; });
  registry_.NewGaugeCallback("etcd_server_is_leader",
                             "Whether or not this member is a leader. 1 if is, 0 otherwise.",
                             [state] { return state->is_leader() ? 1.0 : 0.0; });
  registry_.NewGaugeCallback("etcd_server_proposals_committed_total",
                             "The total number of consensus proposals committed.",
                             [state] { return AsDouble(state->committed); });
  registry_.NewGaugeCallback("etcd_server_proposals_applied_total",
                             "The total number of consensus proposals applied.",
                             [state] { return AsDouble(state->applied); });
  registry_.NewGauge("etcd_server_quota_backend_bytes", "Current backend storage quota size in bytes.")
      .Set(quota_bytes);
  registry_
      .NewGaugeFamily("etcd_server_id",
                      "Server or member ID in hexadecimal format. 1 for 'server_id' "
                      "label with current ID.",
                      {"server_id"})
      .With({cluster::IdText(id.value())})
      .Set(1);
}

void Metrics::SetClusterVersion(const std::string& version) {
  if (!version_label_.empty()) cluster_version_.With({version_label_}).Set(0);
  version_label_ = version.substr(0, version.rfind('.'));
  cluster_version_.With({version_label_}).Set(1);
}

void Metrics::SetAlarm(const Alarm& alarm, bool active) {
  alarms_.With({cluster::IdText(alarm.member.value()), std::string(AlarmName(alarm.type))})
      .Set(active ? 1 : 0);
}

metrics::Histogram& Metrics::ApplyDuration(uint32_t kind, bool success) {
  const auto find = [&]() -> metrics::Histogram& {
    return apply_duration_.With({"v3", std::string(KindName(kind)), success ? "true" : "false"});
  };
  if (kind >= apply_cache_.size()) return find();
  metrics::Histogram*& cached = apply_cache_[kind][success ? 1 : 0];
  if (cached == nullptr) cached = &find();
  return *cached;
}

}  // namespace kvorum::member
