#include "member/membership_applier.h"

#include <utility>

#include "base/check.h"
#include "base/status.h"
#include "raft/codec.h"
#include "raft/membership.h"

namespace kvorum::member {
namespace {

using cluster::Cluster;
using raft::ConfChangeType;

constexpr std::string_view kConfStateKey = "confState";

absl::Status Undecodable(const raft::Entry& entry) {
  return absl::InternalError(fmt::format("the conf change of log entry {} cannot be decoded", entry.index));
}

}  // namespace

absl::StatusOr<raft::ConfState> NextConfState(const raft::ConfState& state,
                                              const raft::ConfChangeV2& change) {
  const raft::Inflights window(1, 0);
  KVORUM_ASSIGN_OR_RETURN(const raft::Membership now, raft::RestoreMembership(state, raft::Index(0), window));
  const raft::MembershipChanger changer(now, raft::Index(0), window);
  absl::StatusOr<raft::Membership> next = raft::LeavesJoint(change) ? changer.LeaveJoint()
                                          : raft::EntersJoint(change)
                                              ? changer.EnterJoint(raft::AutoLeaves(change), change.changes)
                                              : changer.Simple(change.changes);
  KVORUM_RETURN_IF_ERROR(next.status());
  return next->ToConfState();
}

absl::StatusOr<raft::ConfState> AppliedConfState(backend::Backend& backend, const Cluster& cluster) {
  const std::unique_ptr<backend::ReadView> view = backend.NewReadView();
  KVORUM_ASSIGN_OR_RETURN(const std::optional<std::string_view> stored,
                          view->Get(backend::Bucket::kMeta, kConfStateKey));
  if (stored) {
    KVORUM_ASSIGN_OR_RETURN(raft::ConfState state, cluster::ConfStateFromJson(*stored));
    // Only a joint configuration is more than the membership says.
    if (!state.voters_outgoing.empty()) return state;
  }
  return cluster.conf_state();
}

absl::StatusOr<MembershipApplier::Outcome> MembershipApplier::Apply(const raft::Entry& entry) {
  return entry.type == raft::EntryType::kConfChange ? ApplyOne(entry) : ApplySeveral(entry);
}

absl::StatusOr<MembershipApplier::Outcome> MembershipApplier::ApplyOne(const raft::Entry& entry) {
  absl::StatusOr<raft::ConfChange> change = raft::DecodeConfChange(entry.data.view());
  if (!change.ok()) return Undecodable(entry);
  Outcome outcome{.id = RequestId(change->id), .status = parts_.cluster->Validate(*change), .for_core = {}};
  if (outcome.status.code() == absl::StatusCode::kDataLoss) {
    return absl::InternalError(
        fmt::format("log entry {}: {}", entry.index, std::string(outcome.status.message())));
  }
  if (outcome.status.ok()) outcome.status = SwitchTo(raft::ToV2(*change));
  if (outcome.status.ok()) {
    Change(*change);
  } else {
    // The core only has to learn that the change is over.
    change->node_id = raft::kNoNode;
  }
  outcome.for_core = raft::ToV2(*change);
  return outcome;
}

absl::StatusOr<MembershipApplier::Outcome> MembershipApplier::ApplySeveral(const raft::Entry& entry) {
  absl::StatusOr<raft::ConfChangeV2> change = raft::DecodeConfChangeV2(entry.data.view());
  if (!change.ok()) return Undecodable(entry);
  Outcome outcome{.id = RequestId(0), .status = SwitchTo(*change), .for_core = {}};
  if (!outcome.status.ok()) {
    outcome.for_core = raft::ToV2(raft::ConfChange{});
    return outcome;
  }
  // Whom a change of several adds is said by the context, where it says a member.
  cluster::Member context;
  if (const auto parsed = cluster::ChangeContextFromJson(change->context.view()); parsed.ok()) {
    context = parsed->member;
  }
  for (const raft::ConfChangeSingle& one : change->changes) ChangeOne(one, context);
  outcome.for_core = *std::move(change);
  return outcome;
}

absl::Status MembershipApplier::SwitchTo(const raft::ConfChangeV2& change) {
  KVORUM_ASSIGN_OR_RETURN(conf_state_, NextConfState(conf_state_, change));
  ports_.backend->Put(backend::Bucket::kMeta, kConfStateKey, Bytes::Copy(cluster::ToJson(conf_state_)));
  return absl::OkStatus();
}

void MembershipApplier::Change(const raft::ConfChange& change) {
  const MemberId id(change.node_id.value());
  Cluster& cluster = *parts_.cluster;
  if (change.type == ConfChangeType::kRemoveNode) return Remove(id);
  absl::StatusOr<cluster::ChangeContext> context = cluster::ChangeContextFromJson(change.context.view());
  KVORUM_CHECK(context.ok(), "{}", context.status().ToString());
  if (change.type == ConfChangeType::kUpdateNode) {
    cluster.UpdatePeerUrls(id, std::move(context->member.peer_urls), Cluster::Persist::kYes);
    TellTransport(id);
  } else if (context->is_promote) {
    cluster.Promote(id, Cluster::Persist::kYes);
  } else {
    context->member.id = id;
    context->member.is_learner = change.type == ConfChangeType::kAddLearnerNode;
    Add(context->member);
  }
  parts_.metrics->SetLearner(cluster.IsLocalLearner());
}

void MembershipApplier::ChangeOne(const raft::ConfChangeSingle& change, const cluster::Member& context) {
  const MemberId id(change.node_id.value());
  const bool learner = change.type == ConfChangeType::kAddLearnerNode;
  const std::optional<cluster::Member> known = parts_.cluster->Find(id);
  if (change.type == ConfChangeType::kUpdateNode) return;
  if (change.type == ConfChangeType::kRemoveNode) {
    if (known) Remove(id);
    return;
  }
  cluster::Member member = known.value_or(context.id == id ? context : cluster::Member{});
  member.id = id;
  member.is_learner = learner;
  if (known) {
    parts_.cluster->AddMember(member, Cluster::Persist::kYes);
  } else {
    Add(member);
  }
  parts_.metrics->SetLearner(parts_.cluster->IsLocalLearner());
}

void MembershipApplier::Add(const cluster::Member& member) {
  Cluster& cluster = *parts_.cluster;
  KVORUM_LOG(*ports_.logger, kInfo, "added member", LogField::Id("cluster-id", cluster.id().value()),
             LogField::Id("local-member-id", cluster.local().value()),
             LogField::Id("added-peer-id", member.id.value()), {"added-peer-peer-urls", member.peer_urls});
  cluster.AddMember(member, Cluster::Persist::kYes);
  if (ports_.transport == nullptr || member.id == cluster.local()) return;
  ports_.transport->AddPeer(raft::NodeId(member.id.value()), member.peer_urls);
}

void MembershipApplier::Remove(MemberId id) {
  Cluster& cluster = *parts_.cluster;
  cluster.RemoveMember(id, Cluster::Persist::kYes);
  KVORUM_LOG(*ports_.logger, kInfo, "removed member", LogField::Id("cluster-id", cluster.id().value()),
             LogField::Id("local-member-id", cluster.local().value()),
             LogField::Id("removed-remote-peer-id", id.value()));
  if (id == cluster.local()) {
    parts_.on_removed();
  } else if (ports_.transport != nullptr) {
    ports_.transport->RemovePeer(raft::NodeId(id.value()));
  }
}

void MembershipApplier::TellTransport(MemberId id) {
  if (ports_.transport == nullptr || id == parts_.cluster->local()) return;
  ports_.transport->UpdatePeer(raft::NodeId(id.value()), parts_.cluster->Find(id)->peer_urls);
}

void MembershipApplier::OnRestored(const raft::Snapshot& snapshot,
                                   const std::vector<cluster::Member>& before) {
  conf_state_ = snapshot.metadata.conf_state;
  ports_.backend->Put(backend::Bucket::kMeta, kConfStateKey, Bytes::Copy(cluster::ToJson(conf_state_)));
  parts_.metrics->SetLearner(parts_.cluster->IsLocalLearner());
  if (const std::string version = parts_.cluster->version(); !version.empty()) {
    parts_.metrics->SetClusterVersion(version);
  }
  if (ports_.transport == nullptr) return;
  for (const cluster::Member& member : before) {
    if (member.id == parts_.cluster->local() || parts_.cluster->Find(member.id)) continue;
    ports_.transport->RemovePeer(raft::NodeId(member.id.value()));
  }
  for (const cluster::Member& member : parts_.cluster->members()) {
    if (member.id == parts_.cluster->local()) continue;
    ports_.transport->AddPeer(raft::NodeId(member.id.value()), member.peer_urls);
  }
}

}  // namespace kvorum::member
