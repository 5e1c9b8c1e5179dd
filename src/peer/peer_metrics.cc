#include "peer/peer_metrics.h"

#include "cluster/cluster.h"

namespace kvorum::peer {

namespace {
constexpr double kRoundTripStart = 0.0001;
constexpr size_t kRoundTripBuckets = 16;
constexpr double kSnapshotStart = 0.1;
constexpr size_t kSnapshotBuckets = 10;
}  // namespace

PeerMetrics::PeerMetrics(metrics::Registry& registry, raft::NodeId id)
    : local(cluster::IdText(id.value())),
      active_peers(registry.NewGaugeFamily("etcd_network_active_peers",
                                           "The current number of active peer connections.",
                                           {"Local", "Remote"})),
      disconnected_peers(registry.NewCounterFamily("etcd_network_disconnected_peers_total",
                                                   "The total number of disconnected peers.",
                                                   {"Local", "Remote"})),
      known_peers(registry.NewGaugeFamily("etcd_network_known_peers", "The current number of known peers.",
                                          {"Local", "Remote"})),
      sent_bytes(registry.NewCounterFamily("etcd_network_peer_sent_bytes_total",
                                           "The total number of bytes sent to peers.", {"To"})),
      received_bytes(registry.NewCounterFamily("etcd_network_peer_received_bytes_total",
                                               "The total number of bytes received from peers.", {"From"})),
      sent_failures(registry.NewCounterFamily("etcd_network_peer_sent_failures_total",
                                              "The total number of send failures from peers.", {"To"})),
      received_failures(registry.NewCounterFamily("etcd_network_peer_received_failures_total",
                                                  "The total number of receive failures from peers.",
                                                  {"From"})),
      round_trip_time(registry.NewHistogramFamily("etcd_network_peer_round_trip_time_seconds",
                                                  "Round-Trip-Time histogram between peers", {"To"},
                                                  kRoundTripStart, 2, kRoundTripBuckets)),
      snapshot_send_success(registry.NewCounterFamily("etcd_network_snapshot_send_success",
                                                      "Total number of successful snapshot sends", {"To"})),
      snapshot_send_failures(registry.NewCounterFamily("etcd_network_snapshot_send_failures",
                                                       "Total number of snapshot send failures", {"To"})),
      snapshot_send_inflights(registry.NewGaugeFamily("etcd_network_snapshot_send_inflights_total",
                                                      "Total number of inflight snapshot sends", {"To"})),
      snapshot_send_seconds(registry.NewHistogramFamily("etcd_network_snapshot_send_total_duration_seconds",
                                                        "Total latency distributions of v3 snapshot sends",
                                                        {"To"}, kSnapshotStart, 2, kSnapshotBuckets)),
      snapshot_receive_success(registry.NewCounterFamily(
          "etcd_network_snapshot_receive_success", "Total number of successful snapshot receives", {"From"})),
      snapshot_receive_failures(registry.NewCounterFamily(
          "etcd_network_snapshot_receive_failures", "Total number of snapshot receive failures", {"From"})),
      snapshot_receive_inflights(registry.NewGaugeFamily("etcd_network_snapshot_receive_inflights_total",
                                                         "Total number of inflight snapshot receives",
                                                         {"From"})),
      snapshot_receive_seconds(
          registry.NewHistogramFamily("etcd_network_snapshot_receive_total_duration_seconds",
                                      "Total latency distributions of v3 snapshot receives", {"From"},
                                      kSnapshotStart, 2, kSnapshotBuckets)) {}

}  // namespace kvorum::peer
