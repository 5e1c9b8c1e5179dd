#pragma once

#include <cstdint>
#include <functional>
#include <memory>
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
#include "cluster/cluster.h"
#include "lease/lessor.h"
#include "mvcc/store.h"
#include "raft/types.h"
#include "snap/snapshotter.h"
#include "wal/log_storage.h"

namespace kvorum::member {

/// A snapshot on its way to a member that is too far behind for the log.
struct OutgoingSnapshot {
  raft::Message message;  ///< a kSnap; its metadata say which position `database` stands at
  std::unique_ptr<backend::ReadView> database;
};

/// Where raft messages to other members leave. Nothing here blocks.
class PeerTransport {
 public:
  virtual ~PeerTransport() = default;
  /// No kSnap is among them. In order for each receiver, as far as the wire allows; may be lost. Thread-safe:
  /// called on the raft executor, and for reads on the thread that asks or answers.
  virtual void Send(std::vector<raft::Message> messages) = 0;
  /// Streams the database; what became of it is told by PeerReceiver::ReportSnapshot, always. Thread-safe.
  virtual void SendSnapshot(OutgoingSnapshot snapshot) = 0;
  /// The members to keep connections to changed. Called on the apply executor, or before the member starts. A
  /// peer that is known already takes the new URLs.
  virtual void AddPeer(raft::NodeId id, const std::vector<std::string>& peer_urls) = 0;
  virtual void RemovePeer(raft::NodeId id) = 0;
  virtual void UpdatePeer(raft::NodeId id, const std::vector<std::string>& peer_urls) = 0;
  /// Since when there has been a connection to the member without a break; null: there is none. Thread-safe.
  virtual std::optional<MonotonicTime> ActiveSince(raft::NodeId id) const = 0;
};

/// What the transport tells a member. Thread-safe; nothing here blocks.
class PeerReceiver {
 public:
  virtual ~PeerReceiver() = default;
  /// A message from another member, kSnap excepted.
  virtual void Receive(raft::Message message) = 0;
  /// A kSnap, whose database lies with the SnapshotStorage by now, durably. `done` once the message is taken
  /// in (not: installed).
  virtual void ReceiveSnapshot(raft::Message message, absl::AnyInvocable<void(absl::Status)> done) = 0;
  /// A message to `id` was dropped or failed.
  virtual void ReportUnreachable(raft::NodeId id) = 0;
  virtual void ReportSnapshot(raft::NodeId id, bool finished) = 0;
  /// Another member says that this one was removed from the cluster.
  virtual void OnRemoved() = 0;
};

/// What other members show of themselves on their peer URLs.
struct PeerVersions {
  std::string server;   ///< "3.7.1"
  std::string cluster;  ///< "3.7.0", or "not_decided"
  std::string kvorum;   ///< Kvorum's own version; empty: a member of etcd
};
struct PeerMembers {
  ClusterId cluster_id;
  std::vector<cluster::Member> members;
};

/// Questions to other members over their peer URLs (reference: peer-protocol.md §6). The URLs are tried in
/// turn, once, until one answers; the caller tries again where that makes sense. Errors besides the answer's
/// own: Unavailable where none could be reached, DeadlineExceeded. Thread-safe; nothing blocks; `done` runs
/// on any thread, once.
class PeerCalls {
 public:
  using Urls = std::vector<std::string>;
  template <typename T>
  using Done = absl::AnyInvocable<void(absl::StatusOr<T>)>;
  virtual ~PeerCalls() = default;

  virtual void RenewLease(Urls urls, LeaseId id, MonotonicTime deadline, Done<int64_t> done) = 0;
  virtual void LeaseTimeToLive(Urls urls, LeaseId id, bool with_keys, MonotonicTime deadline,
                               Done<lease::LeaseView> done) = 0;
  /// The members after the promotion.
  virtual void PromoteMember(Urls urls, MemberId id, MonotonicTime deadline,
                             Done<std::vector<cluster::Member>> done) = 0;
  virtual void HashKv(Urls urls, ClusterId cluster, int64_t revision, MonotonicTime deadline,
                      Done<mvcc::HashResult> done) = 0;
  virtual void Members(Urls urls, MonotonicTime deadline, Done<PeerMembers> done) = 0;
  virtual void Versions(Urls urls, MonotonicTime deadline, Done<PeerVersions> done) = 0;
  virtual void DowngradeEnabled(Urls urls, MonotonicTime deadline, Done<bool> done) = 0;
};

/// Where the member's snapshots are kept: asynchronous, for a snapshot is a file that is synced.
class SnapshotStorage {
 public:
  virtual ~SnapshotStorage() = default;
  /// `done` runs on the storage's thread. Thread-safe.
  virtual void Save(raft::Snapshot snapshot, absl::AnyInvocable<void(absl::Status)> done) = 0;
  /// The database that was received with the snapshot at `index`. NotFound where there is none, DataLoss
  /// where it is damaged. `done` runs on the storage's thread. Thread-safe.
  virtual void OpenDatabase(
      raft::Index index,
      absl::AnyInvocable<void(absl::StatusOr<std::unique_ptr<backend::ReadView>>)> done) = 0;
  /// The databases of snapshots up to `index` are not needed any more. Thread-safe.
  virtual void ReleaseDatabases(raft::Index index) = 0;
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
  /// Null: nobody is asked. Whoever owns it lets no `done` run any more before the member is destroyed.
  PeerCalls* calls = nullptr;
  Random* random = nullptr;  ///< used on the raft executor only
  Logger* logger = nullptr;
  metrics::Registry* metrics = nullptr;
  /// The log, a snapshot or the database failed: nothing is acknowledged any more and the process has to
  /// stop. Called once, from any thread, without locks; must return at once.
  std::function<void(absl::Status)> on_fatal;
  /// This member was removed from the cluster for good and has said so in the log: the process has to end,
  /// with exit status 0. Called once, from any thread, without locks; must return at once. Null: as on_fatal.
  std::function<void()> on_removed;
};

}  // namespace kvorum::member
