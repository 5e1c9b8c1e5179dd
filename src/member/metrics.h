#pragma once

#include <array>
#include <memory>
#include <string>
#include <string_view>

#include "base/ids.h"
#include "base/metrics.h"
#include "cluster/cluster.h"
#include "member/member.h"
#include "member/shared_state.h"

namespace kvorum::member {

/// A member's own metrics (reference: metrics.md §2, etcd_server_*). Where no registry is given they are
/// counted for nobody.
class Metrics {
 public:
  Metrics(metrics::Registry* registry, MemberId id, std::shared_ptr<const SharedState> state,
          int64_t quota_bytes);

  void SetClusterVersion(const std::string& version);
  void SetAlarm(const Alarm& alarm, bool active);
  void SetLearner(bool learner) { is_learner.Set(learner ? 1 : 0); }
  metrics::Histogram& ApplyDuration(uint32_t kind, bool success);

 private:
  std::unique_ptr<metrics::Registry> own_;  // where none is given
  metrics::Registry& registry_;             // shares the state with the member, which it outlives

 public:
  metrics::Counter& leader_changes;
  metrics::Counter& proposals_failed;
  metrics::Gauge& proposals_pending;
  metrics::Gauge& is_learner;
  metrics::Counter& slow_apply;
  metrics::Counter& read_indexes_failed;
  metrics::Counter& slow_read_indexes;
  metrics::Counter& leases_expired;
  metrics::Counter& heartbeat_send_failures;
  metrics::Histogram& hash_duration;
  metrics::Gauge& snapshot_apply_in_progress;
  metrics::Counter& learner_promote_successes;
  metrics::Family<metrics::Counter>& learner_promote_failures;

 private:
  metrics::Family<metrics::Histogram>& apply_duration_;
  metrics::Family<metrics::Gauge>& cluster_version_;
  metrics::Family<metrics::Gauge>& alarms_;
  std::string version_label_;
  /// By request kind up to 11 and by success: the hot ones, looked up once.
  std::array<std::array<metrics::Histogram*, 2>, 12> apply_cache_{};
};

/// "Put" and so on: the label of a request's kind.
std::string_view KindName(uint32_t kind);

}  // namespace kvorum::member
