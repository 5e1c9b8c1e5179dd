#pragma once

#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/log.h"
#include "cluster/cluster.h"
#include "raft/storage.h"
#include "raft/types.h"
#include "v2store/store.h"

namespace kvorum::member {

/// What a request of the v2 API says of the membership, where it is one of those by which members tell it: a
/// PUT without conditions (reference: v2-replication.md §1.4, §2).
struct V2MembershipPut {
  std::optional<MemberId> attributes_of;  ///< null: the cluster's version
};
std::optional<V2MembershipPut> MembershipPutOf(const v2store::RequestView& request);

/// The v2 store as the log makes it: clients' keys, and beside them the membership and the cluster's version,
/// kept as etcd 3.4 keeps them, so that the store's index is the same on every member of a cluster of both
/// (reference: v2-replication.md §2). It is in memory alone: a start takes it from the newest snapshot and
/// follows the log from there, also where the database has the entries already.
///
/// Lives on the apply executor, but for the store itself; not thread-safe.
class V2Tree {
 public:
  V2Tree(v2store::Store* store, MemberId local, ClusterId id, size_t max_learners);

  /// Puts what the snapshot's data says in the place of everything, and gives the membership that it says.
  /// Null where it says none that can be read: then the membership is that of `otherwise`, and there are no
  /// keys. REQUIRES: a snapshot
  std::optional<cluster::Roster> Recover(const raft::Snapshot& snapshot, const cluster::Cluster& otherwise,
                                         Logger& logger);
  /// Follows the entries behind the snapshot of `log`, up to `to`.
  absl::Status Replay(const raft::Storage& log, raft::Index to);

  /// What `entry` does to the store. Nothing where it cannot be decoded, or is a change of the membership
  /// that is refused.
  void Follow(const raft::Entry& entry);
  /// The same for a request of the v2 API. Nothing is replied to a MembershipPutOf: a null event.
  v2store::Result Apply(const v2store::RequestView& request);

  v2store::Store& store() const { return store_; }

 private:
  void FollowNormal(const raft::Entry& entry);
  void Change(const raft::ConfChange& change);
  void ChangeSeveral(const raft::ConfChangeV2& change);
  /// Whether the core can make the change; it is made then.
  bool SwitchTo(const raft::ConfChangeV2& change);
  void Add(const cluster::Member& member);
  void Update(MemberId id);
  void Remove(MemberId id);
  void SetAttributes(MemberId id, const cluster::Member& attributes);
  void SetVersion(std::string_view version);

  v2store::Store& store_;
  const MemberId local_;
  const ClusterId id_;
  const size_t max_learners_;
  /// The membership that the store shows, which a change is judged by: that of the database may be ahead.
  std::unique_ptr<cluster::Cluster> members_;
  raft::ConfState conf_state_;
};

}  // namespace kvorum::member
