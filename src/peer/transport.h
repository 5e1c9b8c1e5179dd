#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/log.h"
#include "base/metrics.h"
#include "cluster/cluster.h"
#include "http/handler.h"
#include "http/loop.h"
#include "http/tls.h"
#include "member/ports.h"
#include "member/traffic_stats.h"

namespace kvorum::peer {

struct TransportOptions {
  MemberId local;
  ClusterId cluster;
  std::vector<std::string> advertise_peer_urls;
  /// 1 s and the election timeout.
  std::chrono::nanoseconds dial_timeout = std::chrono::seconds(2);
  std::shared_ptr<const http::TlsContext> tls;  ///< for URLs of https; null: as the system trusts
  std::string snap_dir;                         ///< where databases that are received go: `%016x.snap.db`
  Env* env = nullptr;                           ///< borrowed, as all that follow
  /// Its connections: one loop of their own, so that no client's request stands before a heartbeat.
  http::Loop* loop = nullptr;
  Logger* logger = nullptr;
  metrics::Registry* metrics = nullptr;
};

/// The wire between members (reference: peer-protocol.md): to each peer two streams, a pipeline, snapshots
/// and probes; and the handler that answers those of the peers. Everything of PeerTransport may be called
/// before Start.
class Transport : public member::PeerTransport {
 public:
  static std::unique_ptr<Transport> Create(const TransportOptions& options);
  ~Transport() override = default;

  /// Messages go to `receiver` from now on; `cluster` says who was removed, and must be the receiver's. Both
  /// are borrowed until Stop.
  virtual void Start(member::PeerReceiver* receiver, const cluster::Cluster* cluster) = 0;
  /// Closes every connection; nothing is told to the receiver after it. Not from the loop.
  virtual void Stop() = 0;

  /// Answers /raft, /raft/stream/…, /raft/snapshot and /raft/probing. 503 before Start and after Stop.
  virtual http::Handler& handler() = 0;

  /// What it counts. Thread-safe; lives as long as the transport.
  virtual const member::TrafficStats& stats() const = 0;
};

}  // namespace kvorum::peer
