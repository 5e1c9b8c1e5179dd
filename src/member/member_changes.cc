#include "member/member_changes.h"

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "member/errors.h"
#include "raft/raft.h"

namespace kvorum::member {
namespace {

using raft::ConfChangeType;

/// A connection counts once it has stood so long.
constexpr std::chrono::seconds kHealthTime(5);
constexpr std::chrono::milliseconds kRetryInterval(50);

raft::NodeId NodeOf(MemberId id) { return raft::NodeId(id.value()); }

size_t Started(const std::vector<cluster::Member>& members) {
  return static_cast<size_t>(
      std::count_if(members.begin(), members.end(), [](const auto& member) { return !member.name.empty(); }));
}

/// A learner may vote when it has nine tenths of what the leader has.
absl::Status CheckReady(const raft::RawNode& node, raft::NodeId id) {
  const raft::ProgressMap& progress = node.raft().membership().progress;
  const auto learner = progress.find(id);
  const auto leader = progress.find(node.raft().id());
  if (learner == progress.end()) return MemberNotFoundError();
  if (leader == progress.end()) return NotLeaderError();
  const auto has = static_cast<double>(learner->second.match.value());
  const auto all = static_cast<double>(leader->second.match.value());
  return has < all * 0.9 ? LearnerNotReadyError() : absl::OkStatus();
}

}  // namespace

MonotonicTime MemberChanges::Bound(MonotonicTime deadline) const {
  return std::min(deadline, ports_.clock->Now() + options_.request_timeout());
}

void MemberChanges::Refuse(absl::Status status, Done done) {
  ports_.apply_executor->Post(
      [status = std::move(status), done = std::move(done)]() mutable { done(std::move(status)); });
}

void MemberChanges::Propose(raft::ConfChange change, MonotonicTime deadline, Done done) {
  const RequestId id = proposer_->NextId();
  change.id = id.value();
  loop_->ProposeConfChange(change, {.id = id,
                                    .start = ports_.clock->Now(),
                                    .deadline = Bound(deadline),
                                    .done = [this, done = std::move(done)](ApplyResult result) mutable {
                                      if (!result.status.ok()) return done(std::move(result.status));
                                      done(cluster_->members());
                                    }});
}

// ---- What would risk the quorum (reference: apply.md §7.3).

std::vector<cluster::Member> MemberChanges::Voters() const {
  std::vector<cluster::Member> voters = cluster_->members();
  std::erase_if(voters, [](const cluster::Member& member) { return member.is_learner; });
  return voters;
}

size_t MemberChanges::ConnectedVoters(const std::vector<cluster::Member>& voters) const {
  const MonotonicTime since = ports_.clock->Now() - kHealthTime;
  return static_cast<size_t>(std::count_if(voters.begin(), voters.end(), [&](const auto& member) {
    if (member.id == cluster_->local()) return true;
    if (ports_.transport == nullptr) return false;
    const std::optional<MonotonicTime> active = ports_.transport->ActiveSince(NodeOf(member.id));
    return active && *active < since;
  }));
}

absl::Status MemberChanges::CheckAdd(const cluster::Member& member) const {
  if (!options_.strict_reconfig_check) return absl::OkStatus();
  const std::vector<cluster::Member> voters = Voters();
  const size_t started = Started(voters);
  const size_t after = voters.size() + 1;
  const bool first_growth = started == 1 && after == 2;
  if (!member.is_learner && !first_growth && started < after / 2 + 1) {
    KVORUM_LOG(*ports_.logger, kWarn, "rejecting member add request; not enough healthy members",
               LogField::Id("local-member-id", cluster_->local().value()),
               {"requested-member-add-peer-urls", member.peer_urls}, {"number-of-started-member", started},
               {"quorum", after / 2 + 1});
    return TooFewStartedError();
  }
  if (voters.size() > 1 && ConnectedVoters(voters) < (voters.size() + 1) / 2 + 1) {
    KVORUM_LOG(*ports_.logger, kWarn,
               "rejecting member add request; local member has not been connected to all peers, reconfigure "
               "breaks active quorum",
               LogField::Id("local-member-id", cluster_->local().value()),
               {"requested-member-add-peer-urls", member.peer_urls});
    return UnhealthyError();
  }
  return absl::OkStatus();
}

absl::Status MemberChanges::CheckRemove(MemberId id) const {
  if (!options_.strict_reconfig_check) return absl::OkStatus();
  const std::optional<cluster::Member> member = cluster_->Find(id);
  if (member && member->is_learner) return absl::OkStatus();
  const std::vector<cluster::Member> voters = Voters();
  std::vector<cluster::Member> rest = voters;
  std::erase_if(rest, [id](const cluster::Member& voter) { return voter.id == id; });
  if (Started(rest) < rest.size() / 2 + 1) {
    KVORUM_LOG(*ports_.logger, kWarn, "rejecting member remove request; not enough healthy members",
               LogField::Id("local-member-id", cluster_->local().value()),
               LogField::Id("requested-member-remove-id", id.value()));
    return TooFewStartedError();
  }
  // One that cannot be reached is no part of the quorum that runs.
  const bool reached = ports_.transport != nullptr && ports_.transport->ActiveSince(NodeOf(id)).has_value();
  if (id != cluster_->local() && !reached) return absl::OkStatus();
  const size_t active = ConnectedVoters(voters);
  if (active < 2 + (voters.size() - 1) / 2) {
    KVORUM_LOG(*ports_.logger, kWarn,
               "rejecting member remove request; local member has not been connected to all peers, "
               "reconfigure breaks active quorum",
               LogField::Id("local-member-id", cluster_->local().value()),
               LogField::Id("requested-member-remove", id.value()), {"active-peers", active});
    return UnhealthyError();
  }
  return absl::OkStatus();
}

absl::Status MemberChanges::CheckPromote(MemberId id) const {
  if (!options_.strict_reconfig_check) return absl::OkStatus();
  const std::vector<cluster::Member> voters = Voters();
  // The one to be promoted counts as started.
  size_t members = 1;
  size_t started = 1;
  for (const cluster::Member& voter : voters) {
    if (voter.id == id) continue;
    ++members;
    started += voter.name.empty() ? 0 : 1;
  }
  if (started >= members / 2 + 1) return absl::OkStatus();
  KVORUM_LOG(*ports_.logger, kWarn, "rejecting member promote request; not enough healthy members",
             LogField::Id("local-member-id", cluster_->local().value()),
             LogField::Id("requested-member-remove-id", id.value()));
  return TooFewStartedError();
}

// ---- The changes.

void MemberChanges::Add(cluster::Member member, MonotonicTime deadline, Done done) {
  if (absl::Status status = CheckAdd(member); !status.ok()) return Refuse(std::move(status), std::move(done));
  const auto now = ports_.clock->WallNow().time_since_epoch();
  const int64_t seconds = std::chrono::duration_cast<std::chrono::seconds>(now).count();
  std::sort(member.peer_urls.begin(), member.peer_urls.end());
  member.id = cluster::MemberIdOf(member.peer_urls, "", seconds);
  const auto type = member.is_learner ? ConfChangeType::kAddLearnerNode : ConfChangeType::kAddNode;
  Propose({.type = type, .node_id = NodeOf(member.id), .context = Bytes::Copy(cluster::ToJson(member))},
          deadline, std::move(done));
}

void MemberChanges::Remove(MemberId id, MonotonicTime deadline, Done done) {
  if (absl::Status status = CheckRemove(id); !status.ok()) {
    return Refuse(std::move(status), std::move(done));
  }
  Propose({.type = ConfChangeType::kRemoveNode, .node_id = NodeOf(id)}, deadline, std::move(done));
}

void MemberChanges::Update(MemberId id, std::vector<std::string> peer_urls, MonotonicTime deadline,
                           Done done) {
  std::sort(peer_urls.begin(), peer_urls.end());
  const cluster::Member member{.id = id, .peer_urls = std::move(peer_urls)};
  Propose({.type = ConfChangeType::kUpdateNode,
           .node_id = NodeOf(id),
           .context = Bytes::Copy(cluster::ToJson(member))},
          deadline, std::move(done));
}

void MemberChanges::Promote(MemberId id, MonotonicTime deadline, Done done) {
  deadline = Bound(deadline);
  if (state_->is_leader()) return PromoteAsLeader(id, deadline, std::move(done));
  PromoteThroughLeader(id, deadline, std::move(done));
}

MemberChanges::Done MemberChanges::Counted(Done done) {
  return [this, done = std::move(done)](absl::StatusOr<std::vector<cluster::Member>> members) mutable {
    if (members.ok()) {
      metrics_->learner_promote_successes.Add();
    } else {
      metrics_->learner_promote_failures.With({std::string(members.status().message())}).Add();
    }
    done(std::move(members));
  };
}

void MemberChanges::PromoteAsLeader(MemberId id, MonotonicTime deadline, Done done) {
  auto shared = std::make_shared<Done>(std::move(done));  // with the call, which a stopped loop drops
  const bool posted = loop_->WithCore([this, id, deadline, shared](raft::RawNode& node) {
    if (node.soft_state().role != raft::Role::kLeader) {
      return PromoteThroughLeader(id, deadline, std::move(*shared));
    }
    absl::Status status = CheckReady(node, NodeOf(id));
    if (status.ok()) status = CheckPromote(id);
    Done counted = Counted(std::move(*shared));
    if (!status.ok()) return Refuse(std::move(status), std::move(counted));
    cluster::ChangeContext context;
    context.member.id = id;
    context.is_promote = true;
    Propose({.type = ConfChangeType::kAddNode,
             .node_id = NodeOf(id),
             .context = Bytes::Copy(cluster::ToJson(context))},
            deadline, std::move(counted));
  });
  if (!posted) Refuse(StoppedError(), std::move(*shared));
}

void MemberChanges::PromoteThroughLeader(MemberId id, MonotonicTime deadline, Done done) {
  const auto again = [this, id, deadline](Done done_later) {
    ports_.apply_executor->Post([this, id, deadline, done_later = std::move(done_later)]() mutable {
      Later([this, id, deadline, done_later = std::move(done_later)]() mutable {
        if (stopped_) return done_later(StoppedError());
        Promote(id, deadline, std::move(done_later));
      });
    });
  };
  const MemberId leader(state_->leader.load(std::memory_order_acquire));
  if (ports_.clock->Now() >= deadline || ports_.calls == nullptr) {
    return Refuse(leader == MemberId(0) ? NoLeaderError() : TimeoutError(), std::move(done));
  }
  const std::optional<cluster::Member> member = cluster_->Find(leader);
  if (!member || member->peer_urls.empty() || leader == cluster_->local()) return again(std::move(done));
  ports_.calls->PromoteMember(
      member->peer_urls, id, deadline,
      [again, done = std::move(done)](absl::StatusOr<std::vector<cluster::Member>> members) mutable {
        // What the leader refuses is its answer; anything else is tried again, perhaps with another leader.
        const absl::StatusCode code = members.status().code();
        const bool final = members.ok() || code == absl::StatusCode::kFailedPrecondition ||
                           code == absl::StatusCode::kNotFound;
        if (final) return done(std::move(members));
        again(std::move(done));
      });
}

// ---- Leadership.

void MemberChanges::MoveLeader(MemberId to, MonotonicTime deadline,
                               absl::AnyInvocable<void(absl::Status)> done) {
  const std::optional<cluster::Member> member = cluster_->Find(to);
  absl::Status status;
  if (!state_->is_leader()) {
    status = NotLeaderError();
  } else if (!member || member->is_learner) {
    status = BadTransfereeError();
  } else {
    KVORUM_LOG(*ports_.logger, kInfo, "leadership transfer starting",
               LogField::Id("local-member-id", cluster_->local().value()),
               LogField::Id("current-leader-member-id", cluster_->local().value()),
               LogField::Id("transferee-member-id", to.value()));
    const bool posted = loop_->WithCore([to](raft::RawNode& node) { node.TransferLeader(NodeOf(to)); });
    if (!posted) status = StoppedError();
  }
  ports_.apply_executor->Post(
      [this, status = std::move(status), to, deadline = Bound(deadline), done = std::move(done)]() mutable {
        if (!status.ok()) return done(std::move(status));
        AwaitLeader(to, deadline, std::move(done));
      });
}

void MemberChanges::AwaitLeader(MemberId to, MonotonicTime deadline,
                                absl::AnyInvocable<void(absl::Status)> done) {
  if (state_->leader.load(std::memory_order_acquire) == to.value()) {
    KVORUM_LOG(*ports_.logger, kInfo, "leadership transfer finished",
               LogField::Id("local-member-id", cluster_->local().value()),
               LogField::Id("new-leader-member-id", to.value()));
    return done(absl::OkStatus());
  }
  if (stopped_) return done(StoppedError());
  if (ports_.clock->Now() >= deadline) return done(TransferTimeoutError());
  Later(
      [this, to, deadline, done = std::move(done)]() mutable { AwaitLeader(to, deadline, std::move(done)); });
}

void MemberChanges::Later(absl::AnyInvocable<void()> again) {
  if (stopped_) return again();
  if (later_.empty()) timer_ = ports_.apply_executor->PostAfter(kRetryInterval, [this] { OnTimer(); });
  later_.push_back(std::move(again));
}

void MemberChanges::OnTimer() {
  for (auto& again : std::exchange(later_, {})) again();
}

void MemberChanges::Stop() {
  stopped_ = true;
  ports_.apply_executor->CancelTimer(timer_);
  OnTimer();
}

}  // namespace kvorum::member
