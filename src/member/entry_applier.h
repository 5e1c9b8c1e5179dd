#pragma once

#include <functional>

#include "cluster/cluster.h"
#include "lease/lessor.h"
#include "member/alarm_store.h"
#include "member/kv.h"
#include "member/member.h"
#include "member/metrics.h"
#include "member/quota.h"
#include "mvcc/store.h"
#include "raft/types.h"

namespace kvorum::member {

/// The effect of one request of the log on the member's state, and its reply (reference: apply.md §4). Every
/// member of a cluster comes to the same effect from the same state. Writer only.
class EntryApplier {
 public:
  struct Parts {
    mvcc::Store* store = nullptr;
    const mvcc::LeaseBinder* leases = nullptr;
    lease::Lessor* lessor = nullptr;
    cluster::Cluster* cluster = nullptr;
    AlarmStore* alarms = nullptr;
    Quota* quota = nullptr;
    backend::Backend* backend = nullptr;
    Metrics* metrics = nullptr;
    Logger* logger = nullptr;
    /// A compaction was accepted.
    std::function<void()> on_compaction;
  };
  explicit EntryApplier(const Parts& parts) : parts_(parts) {}

  /// Applies a request. The result has no term yet. An error: the entry cannot be applied at all, and the
  /// member must not go on.
  absl::StatusOr<ApplyResult> Apply(const EntryView& entry, Want want);
  /// What a request of the v2 API says of the membership; the v2 store itself is not touched. An error: as
  /// above.
  absl::Status ApplyMembershipPut(const v2store::RequestView& request);

  /// Whether `entry` is of a kind that this release applies; what stands in a log is asked before it is taken
  /// over. Errors: FailedPrecondition, which names the index.
  static absl::Status CheckAppliable(const raft::Entry& entry);

 private:
  absl::Status Gate(uint32_t kind) const;
  absl::StatusOr<KvReply> Dispatch(const EntryView& entry, Want want);
  absl::StatusOr<KvReply> Put(const EntryView& entry, Want want);
  absl::StatusOr<KvReply> DeleteRange(const EntryView& entry, Want want);
  absl::StatusOr<KvReply> Txn(const EntryView& entry, Want want);
  absl::StatusOr<KvReply> Compact(const EntryView& entry);
  absl::StatusOr<KvReply> GrantLease(const EntryView& entry);
  absl::StatusOr<KvReply> RevokeLease(const EntryView& entry);
  absl::StatusOr<KvReply> CheckpointLeases(const EntryView& entry);
  absl::StatusOr<KvReply> ChangeAlarm(const EntryView& entry);
  absl::StatusOr<KvReply> SetClusterVersion(const EntryView& entry);
  absl::StatusOr<KvReply> SetAttributes(const EntryView& entry);
  absl::StatusOr<KvReply> SetDowngrade(const EntryView& entry);
  absl::Status SetVersion(std::string version);
  /// By the id; the peer URLs are not looked at.
  absl::Status UpdateAttributes(cluster::Member member);
  KvReply Reply(std::string body = {}) const;

  const Parts parts_;
};

}  // namespace kvorum::member
