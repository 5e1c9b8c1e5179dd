#include <utility>

#include "base/check.h"
#include "raft/raft.h"

// Changes of the group: thesis chapter 4.

namespace kvorum::raft {

ConfState Raft::ApplyConfChange(const ConfChangeV2& change) {
  // No entry is handed out while a snapshot waits to become durable. So this one was before, and the
  // snapshot, whose membership is in force already, has it.
  if (log_.HasUnstableSnapshot()) return membership_.ToConfState();
  const MembershipChanger changer(membership_, log_.LastIndex(), window_);
  absl::StatusOr<Membership> next = LeavesJoint(change) ? changer.LeaveJoint()
                                    : EntersJoint(change)
                                        ? changer.EnterJoint(AutoLeaves(change), change.changes)
                                        : changer.Simple(change.changes);
  KVORUM_CHECK(next.ok(), "conf change {} at config {}: {}", ToString(change), membership_.ConfigToString(),
               next.status().ToString());
  return SwitchTo(*std::move(next));
}

ConfState Raft::SwitchTo(Membership membership) {
  membership_ = std::move(membership);
  KVORUM_LOG(logger(), kInfo,
             fmt::format("{:x} switched to configuration {}", id_, membership_.ConfigToString()));
  ConfState conf_state = membership_.ToConfState();
  const auto own = membership_.progress.find(id_);
  const bool votes = own != membership_.progress.end() && !own->second.is_learner;
  if (role_ != Role::kLeader) return conf_state;

  if (!votes) {
    // Where it stays, it goes on replicating until a new leader takes over: it counts no vote of its own.
    if (step_down_on_removal_) BecomeFollower(term_, kNoNode);
    return conf_state;
  }
  if (conf_state.voters.empty()) return conf_state;
  if (MaybeCommit()) {
    // A smaller quorum may have what was not committed before.
    ReleaseHeldReads();
    BroadcastAppend();
  } else {
    // New members hear at once.
    ForEachPeer([this](NodeId id, Progress& progress) { MaybeSendAppend(id, progress, IfEmpty::kSkip); });
  }
  if (lead_transferee_ != kNoNode && !membership_.voters.Contains(lead_transferee_)) {
    lead_transferee_ = kNoNode;
  }
  return conf_state;
}

void Raft::MaybeLeaveJoint() {
  if (role_ != Role::kLeader || !membership_.auto_leave || log_.applied() < pending_conf_index_) return;
  // Null data is the change that asks for nothing but to leave. Where it is dropped, the next entry that is
  // applied tries again.
  std::vector<Entry> entries(1);
  entries[0].type = EntryType::kConfChangeV2;
  const absl::Status status =
      HandleProposal({.type = MessageType::kProp, .from = id_, .entries = std::move(entries)});
  if (status.ok()) {
    KVORUM_LOG(logger(), kInfo,
               fmt::format("initiating automatic transition out of joint configuration {}",
                           membership_.ConfigToString()));
  } else {
    KVORUM_LOG(logger(), kDebug,
               fmt::format("not initiating automatic transition out of joint configuration {}: {}",
                           membership_.ConfigToString(), std::string(status.message())));
  }
}

}  // namespace kvorum::raft
