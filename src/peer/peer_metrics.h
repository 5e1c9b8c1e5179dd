#pragma once

#include "base/metrics.h"
#include "raft/types.h"

namespace kvorum::peer {

/// The etcd_network_* families of what goes between members (reference: metrics.md §2.4). Thread-safe.
struct PeerMetrics {
  PeerMetrics(metrics::Registry& registry, raft::NodeId local);

  const std::string local;  ///< the local member's id as a label
  metrics::Family<metrics::Gauge>& active_peers;
  metrics::Family<metrics::Counter>& disconnected_peers;
  metrics::Family<metrics::Gauge>& known_peers;
  metrics::Family<metrics::Counter>& sent_bytes;
  metrics::Family<metrics::Counter>& received_bytes;
  metrics::Family<metrics::Counter>& sent_failures;
  metrics::Family<metrics::Counter>& received_failures;
  metrics::Family<metrics::Histogram>& round_trip_time;
  metrics::Family<metrics::Counter>& snapshot_send_success;
  metrics::Family<metrics::Counter>& snapshot_send_failures;
  metrics::Family<metrics::Gauge>& snapshot_send_inflights;
  metrics::Family<metrics::Histogram>& snapshot_send_seconds;
  metrics::Family<metrics::Counter>& snapshot_receive_success;
  metrics::Family<metrics::Counter>& snapshot_receive_failures;
  metrics::Family<metrics::Gauge>& snapshot_receive_inflights;
  metrics::Family<metrics::Histogram>& snapshot_receive_seconds;
};

}  // namespace kvorum::peer
