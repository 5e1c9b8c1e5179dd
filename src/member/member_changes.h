#pragma once

#include <string>
#include <vector>

#include "cluster/cluster.h"
#include "member/member.h"
#include "member/metrics.h"
#include "member/proposer.h"
#include "member/raft_loop.h"
#include "member/shared_state.h"

namespace kvorum::member {

/// Changes of the membership that clients ask for: checked against what would risk the quorum, proposed as
/// conf changes, answered when applied (reference: apply.md §7, v3-api.md §6.10). Thread-safe.
class MemberChanges {
 public:
  using Done = Member::MembersDone;
  MemberChanges(const cluster::Cluster* cluster, Proposer* proposer, const SharedState* state,
                Metrics* metrics, const MemberOptions& options, const Ports& ports)
      : cluster_(cluster),
        proposer_(proposer),
        state_(state),
        metrics_(metrics),
        options_(options),
        ports_(ports) {}
  void Connect(RaftLoop* loop) { loop_ = loop; }
  /// Fails those who wait for a leader. On the apply executor.
  void Stop();

  // See Member. `deadline`, of all: at most options().request_timeout() from now counts.

  void Add(cluster::Member member, MonotonicTime deadline, Done done);
  void Remove(MemberId id, MonotonicTime deadline, Done done);
  void Update(MemberId id, std::vector<std::string> peer_urls, MonotonicTime deadline, Done done);
  void Promote(MemberId id, MonotonicTime deadline, Done done);
  void MoveLeader(MemberId to, MonotonicTime deadline, absl::AnyInvocable<void(absl::Status)> done);

 private:
  MonotonicTime Bound(MonotonicTime deadline) const;
  void Propose(raft::ConfChange change, MonotonicTime deadline, Done done);
  void Refuse(absl::Status status, Done done);

  absl::Status CheckAdd(const cluster::Member& member) const;
  absl::Status CheckRemove(MemberId id) const;
  absl::Status CheckPromote(MemberId id) const;
  size_t ConnectedVoters(const std::vector<cluster::Member>& voters) const;
  std::vector<cluster::Member> Voters() const;

  void PromoteAsLeader(MemberId id, MonotonicTime deadline, Done done);
  Done Counted(Done done);
  void PromoteThroughLeader(MemberId id, MonotonicTime deadline, Done done);
  void AwaitLeader(MemberId to, MonotonicTime deadline, absl::AnyInvocable<void(absl::Status)> done);
  /// Calls `again` after a little while, or at a stop. On the apply executor.
  void Later(absl::AnyInvocable<void()> again);
  void OnTimer();

  const cluster::Cluster* const cluster_;
  Proposer* const proposer_;
  const SharedState* const state_;
  Metrics* const metrics_;
  const MemberOptions options_;
  const Ports ports_;
  RaftLoop* loop_ = nullptr;

  // Owned by the apply executor.
  bool stopped_ = false;
  Executor::TimerId timer_ = 0;
  std::vector<absl::AnyInvocable<void()>> later_;  // the timer runs while there are any
};

}  // namespace kvorum::member
