#pragma once

#include <functional>

#include "cluster/cluster.h"
#include "member/metrics.h"
#include "member/ports.h"
#include "member/request.h"
#include "raft/types.h"

namespace kvorum::member {

/// The effect of conf-change entries on who is in the cluster, on the raft configuration, and on which peers
/// there are connections to (reference: apply.md §7). Lives on the apply executor; not thread-safe.
class MembershipApplier {
 public:
  struct Parts {
    cluster::Cluster* cluster = nullptr;
    Metrics* metrics = nullptr;
    /// This member applied its own removal from the cluster.
    std::function<void()> on_removed;
  };
  /// `conf_state`: as of the applied position.
  MembershipApplier(Parts parts, raft::ConfState conf_state, const Ports& ports)
      : parts_(std::move(parts)), ports_(ports), conf_state_(std::move(conf_state)) {}

  struct Outcome {
    RequestId id;         ///< of the proposal
    absl::Status status;  ///< why the change was refused
    raft::ConfChangeV2 for_core;
  };
  /// An error: the entry cannot be applied at all, and the member must not go on. REQUIRES: a conf change
  absl::StatusOr<Outcome> Apply(const raft::Entry& entry);

  const raft::ConfState& conf_state() const { return conf_state_; }

  /// The database and its membership were replaced by what came with `snapshot`, when `before` were members.
  void OnRestored(const raft::Snapshot& snapshot, const std::vector<cluster::Member>& before);

 private:
  absl::StatusOr<Outcome> ApplyOne(const raft::Entry& entry);
  absl::StatusOr<Outcome> ApplySeveral(const raft::Entry& entry);
  absl::Status SwitchTo(const raft::ConfChangeV2& change);
  void Change(const raft::ConfChange& change);
  void ChangeOne(const raft::ConfChangeSingle& change, const cluster::Member& context);
  void Add(const cluster::Member& member);
  void Remove(MemberId id);
  void TellTransport(MemberId id);

  const Parts parts_;
  const Ports ports_;
  raft::ConfState conf_state_;
};

/// What the core makes of a change of the configuration; the error says why it cannot be made.
absl::StatusOr<raft::ConfState> NextConfState(const raft::ConfState& state, const raft::ConfChangeV2& change);

/// The raft configuration at the applied position of the backend, by what it says and by the membership.
absl::StatusOr<raft::ConfState> AppliedConfState(backend::Backend& backend, const cluster::Cluster& cluster);

}  // namespace kvorum::member
