#pragma once

#include <deque>
#include <functional>
#include <vector>

#include "cluster/cluster.h"
#include "lease/lessor.h"
#include "member/alarm_store.h"
#include "member/compactor.h"
#include "member/entry_applier.h"
#include "member/membership_applier.h"
#include "member/raft_loop.h"
#include "member/snapshot_installer.h"
#include "member/v2_gate.h"
#include "member/v2_tree.h"
#include "member/waiters.h"
#include "mvcc/store.h"

namespace kvorum::member {

/// The one writer of the database, on the apply executor: applies committed entries in order, tells those who
/// wait for them, runs compactions between them, and says when a snapshot is due. Public methods are
/// thread-safe.
class Applier final : public RaftLoop::Applier {
 public:
  struct Parts {
    mvcc::Store* store = nullptr;
    lease::Lessor* lessor = nullptr;
    cluster::Cluster* cluster = nullptr;
    AlarmStore* alarms = nullptr;
    EntryApplier* entries = nullptr;
    MembershipApplier* membership = nullptr;
    V2Tree* v2 = nullptr;
    V2Gate* v2_gate = nullptr;
    SnapshotInstaller* installer = nullptr;
    Compactor* compactor = nullptr;
    SharedState* state = nullptr;
    Metrics* metrics = nullptr;
    raft::Index snapshot_index;  ///< where the log begins
    /// This member leads, and everything from before its term was applied. Called on the apply executor.
    std::function<void()> on_leading;
  };
  Applier(const Parts& parts, const MemberOptions& options, const Ports& ports);

  /// Before Start: where committed entries come from.
  void Connect(RaftLoop* loop) { loop_ = loop; }

  /// A compaction that was interrupted goes on.
  void Start();
  /// Fails everybody who waits and calls `done`, on the apply executor.
  void Stop(absl::AnyInvocable<void()> done);

  void Apply(std::vector<raft::Entry> entries, std::vector<Waiter> waiters,
             absl::AnyInvocable<void()> applied) override;
  void OnLeadershipLost() override;
  void SendSnapshot(raft::Message message) override;
  void Install(raft::Snapshot snapshot, absl::AnyInvocable<void()> installed) override;

 private:
  struct Delivery {
    Waiter waiter;
    ApplyResult result;
  };

  // On the apply executor.
  /// False where the member cannot go on.
  bool ApplyNow(const std::vector<raft::Entry>& entries);
  absl::Status ApplyEntry(const raft::Entry& entry);
  absl::Status ApplyNormal(const raft::Entry& entry);
  absl::Status ApplyV2(const raft::Entry& entry, const v2store::RequestView& request);
  absl::Status ApplyConfChange(const raft::Entry& entry);
  void OnFirstOfTerm(raft::Term term);
  void Finish(Waiter waiter, ApplyResult result, uint32_t kind);
  void Deliver();
  void DeliverConfChanges();
  void AddWaiters(std::vector<Waiter> waiters);
  void ArmTimeouts();
  void OnTimeoutCheck();
  absl::Status TimeoutOf(const Waiter& waiter) const;
  void CutIfDue(raft::Term term);
  void InstallNext();
  SnapshotPoint PointHere(raft::Term term);
  void Save(SnapshotPoint point);
  void SendHere(raft::Message message, bool with_v2_keys);
  /// Gives `point` with the v2 store of now as its data, which is written in the background: that takes the
  /// longer, the more keys there are.
  void WithData(SnapshotPoint point, absl::AnyInvocable<void(SnapshotPoint)> done);

  // Constant after Connect.
  const Parts parts_;
  const MemberOptions options_;
  const Ports ports_;
  RaftLoop* loop_ = nullptr;

  // Owned by the apply executor.
  WaiterTable waiters_;
  std::vector<Delivery> deliveries_;
  std::vector<Delivery> conf_deliveries_;  // once the core has taken the changes
  MonotonicTime entry_start_;              // of the entry being applied
  bool stopped_ = false;
  bool timeouts_armed_ = false;
  Executor::TimerId timeout_timer_ = 0;
  uint64_t last_snapshot_ = 0;
  uint64_t last_cut_ = 0;
  uint64_t bytes_since_cut_ = 0;
  bool snapshot_running_ = false;
  struct Installation {
    raft::Snapshot snapshot;
    absl::AnyInvocable<void()> installed;
  };
  std::deque<Installation> installations_;  // the first one is under way
};

}  // namespace kvorum::member
