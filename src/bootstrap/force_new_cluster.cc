#include "bootstrap/force_new_cluster.h"

#include <algorithm>
#include <utility>

#include "absl/synchronization/notification.h"
#include "base/status.h"
#include "bootstrap/follow.h"
#include "cluster/cluster.h"
#include "fmt/format.h"
#include "member/errors.h"
#include "raft/codec.h"

namespace kvorum::bootstrap {
namespace {

using cluster::Cluster;
using raft::ConfChangeType;
using raft::Index;

bool IsAlone(const Cluster& cluster) {
  const std::vector<cluster::Member> members = cluster.members();
  return members.size() == 1 && members[0].id == cluster.local() && !members[0].is_learner;
}

raft::Entry EntryOf(ConfChangeType type, MemberId id, std::string_view context) {
  const raft::ConfChange change{
      .type = type, .node_id = raft::NodeId(id.value()), .context = Bytes::Copy(context)};
  return {.type = raft::EntryType::kConfChange, .data = Bytes::Copy(raft::Encode(change))};
}

/// The entries that leave nobody but `self`; without terms and indexes.
std::vector<raft::Entry> TakingOthersOut(const Cluster& cluster, const cluster::Member& self) {
  std::vector<raft::Entry> entries;
  const std::optional<cluster::Member> known = cluster.Find(self.id);
  if (!known) {
    entries.push_back(EntryOf(ConfChangeType::kAddNode, self.id, cluster::ToJson(self)));
  } else if (known->is_learner) {
    entries.push_back(EntryOf(ConfChangeType::kAddNode, self.id,
                              cluster::ToJson(cluster::ChangeContext{.member = self, .is_promote = true})));
  }
  for (const cluster::Member& member : cluster.members()) {
    if (member.id != self.id) entries.push_back(EntryOf(ConfChangeType::kRemoveNode, member.id, {}));
  }
  return entries;
}

absl::Status WriteMembership(backend::Backend& backend, const Cluster& before, const cluster::Member& self) {
  Cluster after(before.local(), before.id(), &backend);
  KVORUM_RETURN_IF_ERROR(after.Load());
  for (const cluster::Member& member : before.members()) {
    if (member.id != self.id) after.RemoveMember(member.id, Cluster::Persist::kYes);
  }
  after.AddMember(self, Cluster::Persist::kYes);
  absl::Notification committed;
  absl::Status result;
  backend.Commit([&](absl::Status status) {
    result = std::move(status);
    committed.Notify();
  });
  committed.WaitForNotification();
  return result;
}

/// Where the log ends for the forced cluster; `cluster` becomes the membership there. A member that is alone
/// has agreed to whatever it wrote down.
absl::StatusOr<Index> FindCommit(const raft::MemoryStorage& log, Index applied, Index known_commit,
                                 Cluster* cluster) {
  Index commit = applied;
  while (commit < log.LastIndex()) {
    if (commit >= known_commit && !IsAlone(*cluster)) break;
    KVORUM_ASSIGN_OR_RETURN(const std::vector<raft::Entry> entries,
                            log.Entries(commit + 1, log.LastIndex() + 1, uint64_t{1} << 20));
    for (const raft::Entry& entry : entries) {
      if (commit >= known_commit && !IsAlone(*cluster)) break;
      KVORUM_RETURN_IF_ERROR(FollowConfChange(entry, cluster));
      commit = entry.index;
    }
  }
  return commit;
}

}  // namespace

absl::Status ForceNewCluster(const Options& options, backend::Backend& backend, Prepared& prepared) {
  member::StartState& start = prepared.start;
  raft::MemoryStorage& log = *start.log;
  const Index applied(backend.applied().index);
  if (applied > log.LastIndex() || applied + 1 < log.FirstIndex()) {
    return absl::DataLossError(fmt::format("the database stands at log index {}, but the log has {} to {}",
                                           applied, log.FirstIndex(), log.LastIndex()));
  }
  KVORUM_ASSIGN_OR_RETURN(raft::Storage::InitialState initial, log.GetInitialState());
  Cluster cluster(start.id, start.cluster_id, &backend);
  KVORUM_RETURN_IF_ERROR(cluster.Load());
  KVORUM_ASSIGN_OR_RETURN(const Index commit, FindCommit(log, applied, initial.hard_state.commit, &cluster));
  if (cluster.IsRemoved(start.id)) {
    return member::RemovedError();
  }

  const Index last = log.LastIndex();
  if (commit < last) {
    KVORUM_LOG(*options.wal.logger, kInfo, "discarding uncommitted WAL entries",
               {"commit-index", commit.value()},
               {"number-of-discarded-entries", last.value() - commit.value()});
  }
  if (!IsAlone(cluster)) {
    cluster::Member self = cluster.Find(start.id).value_or(
        cluster::Member{.id = start.id, .peer_urls = options.advertise_peer_urls});
    self.is_learner = false;
    std::vector<raft::Entry> entries = TakingOthersOut(cluster, self);
    Index index = commit;
    for (raft::Entry& entry : entries) {
      entry.index = ++index;
      entry.term = initial.hard_state.term;
    }
    initial.hard_state.commit = index;
    const wal::Batch batch{.hard_state = initial.hard_state, .entries = entries};
    KVORUM_RETURN_IF_ERROR(prepared.wal->Save(std::span(&batch, 1)));
    KVORUM_RETURN_IF_ERROR(prepared.wal->Sync());
    log.Append(std::move(entries));
    log.SetHardState(initial.hard_state);
    // A database without a past gets its members from the log alone.
    if (applied > Index(0)) KVORUM_RETURN_IF_ERROR(WriteMembership(backend, cluster, self));
  }
  KVORUM_LOG(*options.wal.logger, kInfo, "forcing restart member",
             LogField::Id("cluster-id", start.cluster_id.value()),
             LogField::Id("local-member-id", start.id.value()),
             {"commit-index", initial.hard_state.commit.value()});
  return absl::OkStatus();
}

}  // namespace kvorum::bootstrap
