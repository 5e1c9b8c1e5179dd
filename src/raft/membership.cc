#include "raft/membership.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "base/status.h"
#include "fmt/format.h"

namespace kvorum::raft {
namespace {

template <typename... Args>
absl::Status Refuse(fmt::format_string<Args...> format, Args&&... args) {
  return absl::FailedPreconditionError(fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace

absl::Status Membership::Check() const {
  for (const IdSet& ids : {voters.All(), learners, learners_next}) {
    for (const NodeId id : ids) {
      if (!progress.contains(id)) return Refuse("no progress for {}", id);
    }
  }
  for (const NodeId id : learners_next) {
    if (!voters.outgoing.Contains(id)) return Refuse("{} is in LearnersNext, but not Voters[1]", id);
    if (progress.at(id).is_learner) {
      return Refuse("{} is in LearnersNext, but is already marked as learner", id);
    }
  }
  for (const NodeId id : learners) {
    if (voters.outgoing.Contains(id)) return Refuse("{} is in Learners and Voters[1]", id);
    if (voters.incoming.Contains(id)) return Refuse("{} is in Learners and Voters[0]", id);
    if (!progress.at(id).is_learner) return Refuse("{} is in Learners, but is not marked as learner", id);
  }
  if (!voters.joint()) {
    if (!learners_next.empty()) return Refuse("cfg.LearnersNext must be nil when not joint");
    if (auto_leave) return Refuse("AutoLeave must be false when not joint");
  }
  return absl::OkStatus();
}

ConfState Membership::ToConfState() const {
  return {.voters = voters.incoming.ids(),
          .learners = learners.ids(),
          .voters_outgoing = voters.outgoing.ids(),
          .learners_next = learners_next.ids(),
          .auto_leave = auto_leave};
}

std::string Membership::ConfigToString() const {
  std::string out = "voters=" + voters.ToString();
  if (!learners.empty()) out += " learners=" + learners.ToString();
  if (!learners_next.empty()) out += " learners_next=" + learners_next.ToString();
  if (auto_leave) out += " autoleave";
  return out;
}

absl::StatusOr<Membership> MembershipChanger::Simple(std::span<const ConfChangeSingle> changes) const {
  KVORUM_RETURN_IF_ERROR(membership_.Check());
  if (membership_.voters.joint()) return Refuse("can't apply simple config change in joint config");
  Membership to = membership_;
  KVORUM_RETURN_IF_ERROR(Apply(changes, to));
  std::vector<NodeId> changed;
  std::set_symmetric_difference(membership_.voters.incoming.begin(), membership_.voters.incoming.end(),
                                to.voters.incoming.begin(), to.voters.incoming.end(),
                                std::back_inserter(changed));
  if (changed.size() > 1) return Refuse("more than one voter changed without entering joint config");
  KVORUM_RETURN_IF_ERROR(to.Check());
  return to;
}

absl::StatusOr<Membership> MembershipChanger::EnterJoint(bool auto_leave,
                                                         std::span<const ConfChangeSingle> changes) const {
  KVORUM_RETURN_IF_ERROR(membership_.Check());
  if (membership_.voters.joint()) return Refuse("config is already joint");
  // An empty half would make the joint configuration look like a plain one.
  if (membership_.voters.incoming.empty()) return Refuse("can't make a zero-voter config joint");
  Membership to = membership_;
  to.voters.outgoing = to.voters.incoming;
  KVORUM_RETURN_IF_ERROR(Apply(changes, to));
  to.auto_leave = auto_leave;
  KVORUM_RETURN_IF_ERROR(to.Check());
  return to;
}

absl::StatusOr<Membership> MembershipChanger::LeaveJoint() const {
  KVORUM_RETURN_IF_ERROR(membership_.Check());
  if (!membership_.voters.joint()) return Refuse("can't leave a non-joint config");
  Membership to = membership_;
  for (const NodeId id : to.learners_next) {
    to.learners.Insert(id);
    to.progress.at(id).is_learner = true;
  }
  to.learners_next.Clear();
  for (const NodeId id : to.voters.outgoing) {
    if (!to.voters.incoming.Contains(id) && !to.learners.Contains(id)) to.progress.erase(id);
  }
  to.voters.outgoing.Clear();
  to.auto_leave = false;
  KVORUM_RETURN_IF_ERROR(to.Check());
  return to;
}

absl::Status MembershipChanger::Apply(std::span<const ConfChangeSingle> changes, Membership& to) const {
  for (const ConfChangeSingle& change : changes) {
    // A change that was refused after it had been agreed on is applied with its node id zeroed.
    if (change.node_id == kNoNode) continue;
    switch (change.type) {
      case ConfChangeType::kAddNode:
        MakeVoter(change.node_id, to);
        break;
      case ConfChangeType::kAddLearnerNode:
        MakeLearner(change.node_id, to);
        break;
      case ConfChangeType::kRemoveNode:
        Remove(change.node_id, to);
        break;
      case ConfChangeType::kUpdateNode:
        break;
    }
  }
  if (to.voters.incoming.empty()) return Refuse("removed all voters");
  return absl::OkStatus();
}

void MembershipChanger::MakeVoter(NodeId id, Membership& to) const {
  const auto known = to.progress.find(id);
  if (known == to.progress.end()) {
    AddProgress(id, /*is_learner=*/false, to);
  } else {
    known->second.is_learner = false;
  }
  to.learners.Erase(id);
  to.learners_next.Erase(id);
  to.voters.incoming.Insert(id);
}

void MembershipChanger::MakeLearner(NodeId id, Membership& to) const {
  const auto known = to.progress.find(id);
  if (known == to.progress.end()) {
    AddProgress(id, /*is_learner=*/true, to);
    to.learners.Insert(id);
    return;
  }
  if (known->second.is_learner) return;
  to.voters.incoming.Erase(id);
  to.learners_next.Erase(id);
  if (to.voters.outgoing.Contains(id)) {
    to.learners_next.Insert(id);
  } else {
    known->second.is_learner = true;
    to.learners.Insert(id);
  }
}

void MembershipChanger::Remove(NodeId id, Membership& to) const {
  to.voters.incoming.Erase(id);
  to.learners.Erase(id);
  to.learners_next.Erase(id);
  // Its progress is still needed where it votes in the outgoing half.
  if (!to.voters.outgoing.Contains(id)) to.progress.erase(id);
}

void MembershipChanger::AddProgress(NodeId id, bool is_learner, Membership& to) const {
  // Taken for active at first: a leader must not step down for a member that it had no time to hear from.
  to.progress[id] = {.next = std::max(last_index_, Index(1)),
                     .recent_active = true,
                     .is_learner = is_learner,
                     .inflights = window_};
}

absl::StatusOr<Membership> RestoreMembership(const ConfState& state, Index last_index,
                                             const Inflights& window) {
  Membership membership;
  const auto apply_each = [&](const std::vector<NodeId>& ids, ConfChangeType type) -> absl::Status {
    for (const NodeId id : ids) {
      const ConfChangeSingle change{type, id};
      KVORUM_ASSIGN_OR_RETURN(
          membership, MembershipChanger(membership, last_index, window).Simple(std::span(&change, 1)));
    }
    return absl::OkStatus();
  };
  if (state.voters_outgoing.empty()) {
    KVORUM_RETURN_IF_ERROR(apply_each(state.voters, ConfChangeType::kAddNode));
    KVORUM_RETURN_IF_ERROR(apply_each(state.learners, ConfChangeType::kAddLearnerNode));
    KVORUM_RETURN_IF_ERROR(apply_each(state.learners_next, ConfChangeType::kAddLearnerNode));
  } else {
    // First the configuration before the change, then the change.
    KVORUM_RETURN_IF_ERROR(apply_each(state.voters_outgoing, ConfChangeType::kAddNode));
    std::vector<ConfChangeSingle> changes;
    const auto add = [&changes](const std::vector<NodeId>& ids, ConfChangeType type) {
      for (const NodeId id : ids) changes.push_back({type, id});
    };
    add(state.voters_outgoing, ConfChangeType::kRemoveNode);
    add(state.voters, ConfChangeType::kAddNode);
    add(state.learners, ConfChangeType::kAddLearnerNode);
    add(state.learners_next, ConfChangeType::kAddLearnerNode);
    KVORUM_ASSIGN_OR_RETURN(
        membership, MembershipChanger(membership, last_index, window).EnterJoint(state.auto_leave, changes));
  }
  if (!Equivalent(membership.ToConfState(), state)) {
    return Refuse("no membership is described by {}", ToString(state));
  }
  return membership;
}

bool Equivalent(ConfState a, ConfState b) {
  for (ConfState* state : {&a, &b}) {
    for (std::vector<NodeId>* ids :
         {&state->voters, &state->learners, &state->voters_outgoing, &state->learners_next}) {
      std::sort(ids->begin(), ids->end());
    }
  }
  return a == b;
}

ConfChangeV2 ToV2(const ConfChange& change) {
  return {.changes = {{change.type, change.node_id}}, .context = change.context};
}

bool LeavesJoint(const ConfChangeV2& change) {
  return change.transition == ConfChangeTransition::kAuto && change.changes.empty();
}

bool EntersJoint(const ConfChangeV2& change) {
  return change.transition != ConfChangeTransition::kAuto || change.changes.size() > 1;
}

bool AutoLeaves(const ConfChangeV2& change) {
  return change.transition != ConfChangeTransition::kJointExplicit;
}

namespace {

std::string_view TypeName(ConfChangeType type) {
  switch (type) {
    case ConfChangeType::kAddNode:
      return "ConfChangeAddNode";
    case ConfChangeType::kRemoveNode:
      return "ConfChangeRemoveNode";
    case ConfChangeType::kUpdateNode:
      return "ConfChangeUpdateNode";
    case ConfChangeType::kAddLearnerNode:
      return "ConfChangeAddLearnerNode";
  }
  return "ConfChangeUnknown";
}

std::string_view TransitionName(ConfChangeTransition transition) {
  switch (transition) {
    case ConfChangeTransition::kAuto:
      return "ConfChangeTransitionAuto";
    case ConfChangeTransition::kJointImplicit:
      return "ConfChangeTransitionJointImplicit";
    case ConfChangeTransition::kJointExplicit:
      return "ConfChangeTransitionJointExplicit";
  }
  return "ConfChangeTransitionUnknown";
}

std::string Quoted(const Bytes& data) {
  return fmt::format("\"{}\"", absl::CHexEscape(absl::string_view(data.data(), data.size())));
}

}  // namespace

std::string ToString(const ConfChangeV2& change) {
  std::string out = fmt::format("transition:{}", TransitionName(change.transition));
  for (const ConfChangeSingle& single : change.changes) {
    out += fmt::format(" changes:{{type:{} node_id:{}}}", TypeName(single.type), single.node_id);
  }
  if (!change.context.is_null()) out += " context:" + Quoted(change.context);
  return out;
}

std::string ToString(const ConfChange& change) {
  std::string out = fmt::format("type:{} node_id:{}", TypeName(change.type), change.node_id);
  if (!change.context.is_null()) out += " context:" + Quoted(change.context);
  if (change.id != 0) out += fmt::format(" id:{}", change.id);
  return out;
}

std::string ToString(const ConfState& state) {
  std::string out;
  const auto list = [&out](std::string_view name, const std::vector<NodeId>& ids) {
    for (const NodeId id : ids) out += fmt::format("{}:{} ", name, id);
  };
  list("voters", state.voters);
  list("learners", state.learners);
  list("voters_outgoing", state.voters_outgoing);
  list("learners_next", state.learners_next);
  return out + fmt::format("auto_leave:{}", state.auto_leave);
}

}  // namespace kvorum::raft
