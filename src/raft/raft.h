#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "base/log.h"
#include "raft/config.h"
#include "raft/membership.h"
#include "raft/raft_log.h"
#include "raft/read_index.h"
#include "raft/types.h"

namespace kvorum::raft {

/// The context of a vote request that the leader asked for: it is answered also where the leader is heard of.
inline constexpr std::string_view kCampaignTransfer = "CampaignTransfer";

/// The state machine behind `RawNode`: takes messages, fills an outbox. One handler a message:
///
///   Step -> term rules -> StepFollower / StepCandidate / StepLeader -> Handle…
///
/// raft.cc has the roles, the clock and the term rules, raft_election.cc elections, raft_follower.cc what a
/// follower does, raft_leader.cc what a leader does, raft_membership.cc changes of the group. Source: the
/// Raft paper and thesis, and reference raft.md for everything that they leave open.
///
/// Invariant: a leader's lead is itself; a candidate has voted for itself.
/// Invariant: lead_transferee and pending reads are a leader's alone.
/// Invariant: a leader's progress has match < next, and entries under way only in kReplicate.
class Raft {
 public:
  /// What a step produced and nobody has taken yet.
  struct Outbox {
    std::vector<Message> messages;  ///< may leave at once
    /// Votes and append acknowledgements: promises that the disk must know first. Those to the node itself
    /// count its own vote and its own copy of an entry.
    std::vector<Message> messages_after_persist;
    std::vector<ReadState> read_states;
  };

  /// REQUIRES: config.Validate() was OK
  explicit Raft(const Config& config);

  void Tick();
  /// Any message, from another member, from the node itself, or from the local storage. Error
  /// kProposalDropped; InvalidArgument for a request of a peer that no member sends.
  absl::Status Step(Message&& message);
  /// Gives the membership after it. REQUIRES: the change can be made to the present one
  ConfState ApplyConfChange(const ConfChangeV2& change);
  /// REQUIRES: an empty log. `entries`, of term 1, are taken as agreed on.
  void StartWith(std::vector<Entry> entries);
  /// The entries up to `index` were applied: `bytes` encoded, `payload` of data.
  void AppliedTo(Index index, uint64_t bytes, uint64_t payload);

  NodeId id() const { return id_; }
  Term term() const { return term_; }
  NodeId lead() const { return lead_; }
  Role role() const { return role_; }
  NodeId lead_transferee() const { return lead_transferee_; }
  /// False where a conf change in the log may not be applied yet: another one would be dropped.
  bool MayChangeMembership() const { return pending_conf_index_ <= log_.applied(); }
  HardState hard_state() const { return {.term = term_, .vote = vote_, .commit = log_.committed()}; }
  SoftState soft_state() const { return {.lead = lead_, .role = role_}; }
  const Membership& membership() const { return membership_; }
  const RaftLog& log() const { return log_; }
  RaftLog& log() { return log_; }
  Outbox& outbox() { return outbox_; }
  const Outbox& outbox() const { return outbox_; }

  /// Fixes when the next election starts, for scenarios. REQUIRES: ticks > 0
  void SetRandomizedElectionTimeout(int ticks);

  void CheckInvariants() const;

 private:
  enum class Campaign : uint8_t { kPreElection, kElection, kTransfer };
  enum class IfEmpty : uint8_t { kSkip, kSend };

  // raft.cc: roles, clock, sending, term rules
  void Reset(Term term);
  void BecomeFollower(Term term, NodeId lead);
  void BecomePreCandidate();
  void BecomeCandidate();
  void BecomeLeader();
  void TickElection();
  void TickHeartbeat();
  void Send(Message&& message);
  /// False where the message ends here.
  bool TakeTerm(const Message& message);
  void TakeHigherTerm(const Message& message);
  void AnswerLowerTerm(const Message& message);
  bool InLease(const Message& message) const;
  absl::Status StepFollower(Message&& message);
  absl::Status StepCandidate(Message&& message);
  absl::Status StepLeader(Message&& message);
  void HandleStorageAppendResp(const Message& message);
  void HandleStorageApplyResp(const Message& message);
  void SnapshotApplied(const Snapshot& snapshot);

  // raft_election.cc
  void StartElection(Campaign kind);
  void RunCampaign(Campaign kind);
  bool HasUnappliedConfChange() const;
  bool Promotable() const;
  void HandleVoteRequest(const Message& message);
  void HandleVoteResponse(const Message& message);
  VoteResult RecordVote(const Message& message);
  bool OwnVoteCounted() const;

  // raft_follower.cc
  void Follow(const Message& message);
  absl::Status ForwardProposal(Message&& message);
  void ForwardTransfer(Message&& message);
  void ForwardReadIndex(Message&& message);
  void HandleForgetLeader();
  void HandleTimeoutNow(const Message& message);
  void HandleReadIndexResp(Message&& message);
  void HandleAppend(Message&& message);
  void HandleHeartbeat(const Message& message);
  void HandleSnapshot(Message&& message);
  bool Restore(Snapshot snapshot);

  // raft_leader.cc: proposals and reads
  absl::Status HandleProposal(Message&& message);
  absl::Status GateConfChange(Entry& entry, size_t position);
  bool AppendEntries(std::vector<Entry> entries);
  absl::Status HandleReadIndex(Message&& message);
  void StartReadRound(Message&& request);
  void AnswerRead(const Message& request, Index index);
  void ReleaseHeldReads();
  bool CommittedInTerm() const;
  bool DecidesAlone() const;

  // raft_leader.cc: replication
  void BroadcastAppend();
  void BroadcastHeartbeat();
  void ForEachPeer(absl::FunctionRef<void(NodeId, Progress&)> visit);
  bool MaybeSendAppend(NodeId to, Progress& progress, IfEmpty if_empty);
  bool MaybeSendSnapshot(NodeId to, Progress& progress);
  bool MaybeCommit();

  // raft_leader.cc: answers of followers
  void HandleAppendResp(const Message& message, Progress& progress);
  void HandleAppendRejected(const Message& message, Progress& progress);
  void HandleAppendAccepted(const Message& message, Progress& progress);
  void HandleHeartbeatResp(const Message& message, Progress& progress);
  void HandleSnapStatus(const Message& message, Progress& progress);
  void HandleUnreachable(const Message& message, Progress& progress);
  void HandleTransferLeader(const Message& message, Progress& progress);
  void CheckQuorum();
  void SendTimeoutNow(NodeId to);

  // raft_membership.cc
  ConfState SwitchTo(Membership membership);
  void MaybeLeaveJoint();

  Logger& logger() const { return *logger_; }

  // ---- constant after construction ----
  const NodeId id_;
  Logger* const logger_;  // borrowed
  Random* const random_;  // borrowed
  const int election_ticks_;
  const int heartbeat_ticks_;
  const uint64_t max_size_per_message_;
  const uint64_t max_committed_size_per_ready_;
  const uint64_t max_uncommitted_size_;
  const bool check_quorum_;
  const bool pre_vote_;
  const ReadOnlyOption read_only_;
  const bool disable_proposal_forwarding_;
  const bool disable_conf_change_validation_;
  const bool step_down_on_removal_;
  const Inflights window_;  ///< empty; what a new progress starts with

  // ---- persistent state (paper fig. 2), handed out as HardState ----
  /// Latest term seen; never falls. Written by Reset and at construction.
  Term term_;
  /// Who got the vote in term_. Written by Reset, BecomeCandidate and HandleVoteRequest.
  NodeId vote_;
  RaftLog log_;

  // ---- volatile state ----
  Role role_ = Role::kFollower;
  /// Leader of term_, where it is known.
  NodeId lead_;
  /// Written by SwitchTo; the progress in it by the leader's handlers.
  Membership membership_;
  /// Votes that a (pre-)candidate has heard; the first of each node counts.
  Votes votes_;
  /// Ticks since a leader was heard of or, on a leader, since quorum was checked.
  int election_elapsed_ = 0;
  /// Ticks since the last round of heartbeats, on a leader.
  int heartbeat_elapsed_ = 0;
  /// When a follower campaigns: in [election_ticks_, 2 * election_ticks_). Drawn by Reset.
  int randomized_election_timeout_ = 0;

  // ---- leader's state, emptied by Reset ----
  /// Who is to lead next; proposals are dropped meanwhile.
  NodeId lead_transferee_;
  /// Only one conf change may be in the log and not applied (thesis §4.1): none is taken while this index is
  /// beyond what is applied. Conservative: also where the entry there is none.
  Index pending_conf_index_;
  /// Payload of what was appended in this term and not applied yet.
  uint64_t uncommitted_size_ = 0;
  ReadIndexQueue reads_;
  /// Reads that came before the first commit of the term. Not emptied by Reset: where the node leads again,
  /// it answers them then.
  std::vector<Message> held_reads_;

  Outbox outbox_;
};

}  // namespace kvorum::raft
