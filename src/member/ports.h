#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "backend/backend.h"
#include "base/clock.h"
#include "base/executor.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/random.h"
#include "raft/types.h"
#include "snap/snapshotter.h"
#include "wal/log_storage.h"

namespace kvorum::member {

/// Where raft messages to other members leave. Called on the raft executor; must not block.
class PeerTransport {
 public:
  virtual ~PeerTransport() = default;
  virtual void Send(std::vector<raft::Message> messages) = 0;
  /// The members to keep connections to changed.
  virtual void AddPeer(raft::NodeId id, const std::vector<std::string>& peer_urls) = 0;
  virtual void RemovePeer(raft::NodeId id) = 0;
  virtual void UpdatePeer(raft::NodeId id, const std::vector<std::string>& peer_urls) = 0;
  /// Since when there has been a connection to the member without a break; null: there is none. Thread-safe.
  virtual std::optional<MonotonicTime> ActiveSince(raft::NodeId id) const = 0;
};

/// Where the member's snapshots are kept: asynchronous, for a snapshot is a file that is synced.
class SnapshotStorage {
 public:
  virtual ~SnapshotStorage() = default;
  /// `done` runs on the storage's thread. Thread-safe.
  virtual void Save(raft::Snapshot snapshot, absl::AnyInvocable<void(absl::Status)> done) = 0;
};

/// Everything a member needs of the outside: the real program plugs in threads, disk and network, the
/// simulator its own. All borrowed, and living longer than the member.
struct Ports {
  const Clock* clock = nullptr;
  Executor* raft_executor = nullptr;        ///< owns the consensus core
  Executor* apply_executor = nullptr;       ///< the one writer of store, leases and membership
  Executor* background_executor = nullptr;  ///< long reads: watch catch-up, hashes
  wal::LogStorage* log = nullptr;
  SnapshotStorage* snapshots = nullptr;
  backend::Backend* backend = nullptr;
  PeerTransport* transport = nullptr;  ///< null: a member without peers
  Random* random = nullptr;            ///< used on the raft executor only
  Logger* logger = nullptr;
  metrics::Registry* metrics = nullptr;
  /// The log, a snapshot or the database failed: nothing is acknowledged any more and the process has to
  /// stop. Called once, from any thread, without locks; must return at once.
  std::function<void(absl::Status)> on_fatal;
};

}  // namespace kvorum::member
