#pragma once

#include <memory>
#include <vector>

#include "cluster/cluster.h"
#include "lease/lessor.h"
#include "member/alarm_store.h"
#include "member/compactor.h"
#include "member/membership_applier.h"
#include "member/ports.h"
#include "member/shared_state.h"
#include "member/v2_tree.h"
#include "mvcc/store.h"

namespace kvorum::member {

/// Puts the database that came with a snapshot in the place of everything. By then its file, the snapshot's
/// and the log's note of it are durable, so that a crash at any point leaves either the old database, which
/// the next start replaces, or the new one:
///
///   OpenDatabase -> Store::BeginReload -> Backend::Replace -> leases, keys, alarms, v2 store, membership ->
///   applied
///
/// Reads and watchers go on with the old content meanwhile; nothing is applied and nothing compacted. Lives
/// on the apply executor; one at a time.
class SnapshotInstaller {
 public:
  struct Parts {
    mvcc::Store* store = nullptr;
    lease::Lessor* lessor = nullptr;
    cluster::Cluster* cluster = nullptr;
    AlarmStore* alarms = nullptr;
    MembershipApplier* membership = nullptr;
    V2Tree* v2 = nullptr;
    Compactor* compactor = nullptr;
    SharedState* state = nullptr;
    Metrics* metrics = nullptr;
  };
  SnapshotInstaller(const Parts& parts, const Ports& ports) : parts_(parts), ports_(ports) {}

  /// `done` runs on the apply executor. An error: the member cannot go on.
  void Run(raft::Snapshot snapshot, absl::AnyInvocable<void(absl::Status)> done);

 private:
  /// One snapshot on its way in; shared by the callbacks of its steps.
  struct Job {
    raft::Snapshot snapshot;
    absl::AnyInvocable<void(absl::Status)> done;
    MonotonicTime start;
  };

  void Replace(std::shared_ptr<Job> job, absl::StatusOr<std::unique_ptr<backend::ReadView>> database);
  void TakeOver(const std::shared_ptr<Job>& job, absl::Status status);
  absl::Status Reload(const raft::Snapshot& snapshot);
  absl::Status ReloadAlarms();

  const Parts parts_;
  const Ports ports_;
};

}  // namespace kvorum::member
