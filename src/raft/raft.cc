#include "raft/raft.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/planted_bug.h"

namespace kvorum::raft {
namespace {

/// What a step sends, to the storage too.
constexpr size_t kUsualMessages = 4;

std::string JoinHex(const IdSet& ids) {
  std::string out;
  for (const NodeId id : ids) {
    if (!out.empty()) out += ',';
    out += fmt::format("{:x}", id);
  }
  return out;
}

bool IsVoteMessage(MessageType type) {
  return type == MessageType::kVote || type == MessageType::kVoteResp || type == MessageType::kPreVote ||
         type == MessageType::kPreVoteResp;
}

/// Whoever empties the box takes its memory as well.
void Put(std::vector<Message>& box, Message&& message) {
  if (box.capacity() == 0) box.reserve(kUsualMessages);
  box.push_back(std::move(message));
}

bool IsFromLeader(MessageType type) {
  return type == MessageType::kApp || type == MessageType::kHeartbeat || type == MessageType::kSnap;
}

}  // namespace

Raft::Raft(const Config& config)
    : id_(config.id),
      logger_(config.logger),
      random_(config.random),
      election_ticks_(config.election_ticks),
      heartbeat_ticks_(config.heartbeat_ticks),
      max_size_per_message_(config.max_size_per_message),
      max_committed_size_per_ready_(config.max_committed_size_per_ready),
      max_uncommitted_size_(config.max_uncommitted_entries_size),
      check_quorum_(config.check_quorum),
      pre_vote_(config.pre_vote),
      read_only_(config.read_only),
      disable_proposal_forwarding_(config.disable_proposal_forwarding),
      disable_conf_change_validation_(config.disable_conf_change_validation),
      step_down_on_removal_(config.step_down_on_removal),
      window_(static_cast<size_t>(config.max_inflight_messages), config.max_inflight_bytes),
      log_(*config.storage, *config.logger, config.max_committed_size_per_ready,
           config.async_storage_writes ? RaftLog::ApplyUnstable::kNo : RaftLog::ApplyUnstable::kYes) {
  const absl::StatusOr<Storage::InitialState> initial = config.storage->GetInitialState();
  KVORUM_CHECK(initial.ok(), "the storage's initial state: {}", initial.status().ToString());
  absl::StatusOr<Membership> membership = RestoreMembership(initial->conf_state, log_.LastIndex(), window_);
  KVORUM_CHECK(membership.ok(), "unable to restore config {}: {}", ToString(initial->conf_state),
               membership.status().ToString());
  SwitchTo(*std::move(membership));
  if (const HardState& state = initial->hard_state; !state.empty()) {
    KVORUM_CHECK(log_.committed() <= state.commit && state.commit <= log_.LastIndex(),
                 "{:x} state.commit {} is out of range [{}, {}]", id_, state.commit, log_.committed(),
                 log_.LastIndex());
    log_.CommitTo(state.commit);
    term_ = state.term;
    vote_ = state.vote;
  }
  if (config.applied > Index(0)) log_.AppliedTo(config.applied, 0);
  BecomeFollower(term_, kNoNode);
  const EntryId last = log_.LastEntryId();
  KVORUM_LOG(logger(), kInfo,
             fmt::format("newRaft {:x} [peers: [{}], term: {}, commit: {}, applied: {}, lastindex: {}, "
                         "lastterm: {}]",
                         id_, JoinHex(membership_.voters.All()), term_, log_.committed(), log_.applied(),
                         last.index, last.term));
}

// ---- roles ----

void Raft::Reset(Term term) {
  KVORUM_CHECK(term >= term_, "the term would fall from {} to {}", term_, term);
  if (term != term_) {
    term_ = term;
    vote_ = kNoNode;
  }
  lead_ = kNoNode;
  election_elapsed_ = 0;
  heartbeat_elapsed_ = 0;
  randomized_election_timeout_ =
      election_ticks_ + static_cast<int>(random_->Below(static_cast<uint64_t>(election_ticks_)));
  lead_transferee_ = kNoNode;
  votes_.clear();
  const Index last = log_.LastIndex();
  for (auto& [id, progress] : membership_.progress) {
    progress = {.match = id == id_ ? last : Index(0),
                .next = last + 1,
                .is_learner = progress.is_learner,
                .inflights = window_};
  }
  pending_conf_index_ = Index(0);
  uncommitted_size_ = 0;
  reads_.Clear();
}

void Raft::BecomeFollower(Term term, NodeId lead) {
  Reset(term);
  lead_ = lead;
  role_ = Role::kFollower;
  KVORUM_LOG(logger(), kInfo, fmt::format("{:x} became follower at term {}", id_, term_));
}

void Raft::BecomePreCandidate() {
  KVORUM_CHECK(role_ != Role::kLeader, "invalid transition [leader -> pre-candidate]");
  // Term and vote stay: a pre-vote promises nothing (thesis §9.6).
  votes_.clear();
  lead_ = kNoNode;
  role_ = Role::kPreCandidate;
  KVORUM_LOG(logger(), kInfo, fmt::format("{:x} became pre-candidate at term {}", id_, term_));
}

void Raft::BecomeCandidate() {
  KVORUM_CHECK(role_ != Role::kLeader, "invalid transition [leader -> candidate]");
  Reset(term_ + 1);
  vote_ = id_;
  role_ = Role::kCandidate;
  KVORUM_LOG(logger(), kInfo, fmt::format("{:x} became candidate at term {}", id_, term_));
}

void Raft::BecomeLeader() {
  KVORUM_CHECK(role_ != Role::kFollower, "invalid transition [follower -> leader]");
  Reset(term_);
  lead_ = id_;
  role_ = Role::kLeader;
  if (const auto own = membership_.progress.find(id_); own != membership_.progress.end()) {
    own->second.BecomeReplicate();
    own->second.recent_active = true;
  }
  // What is in the log's end and not applied may be a conf change.
  pending_conf_index_ = log_.LastIndex();
  // An entry of the own term, behind which those of earlier terms commit (paper §8).
  KVORUM_CHECK(AppendEntries(std::vector<Entry>(1)), "empty entry was dropped");
  KVORUM_LOG(logger(), kInfo, fmt::format("{:x} became leader at term {}", id_, term_));
}

// ---- clock ----

void Raft::SetRandomizedElectionTimeout(int ticks) {
  KVORUM_CHECK(ticks > 0, "an election timeout of {} ticks", ticks);
  randomized_election_timeout_ = ticks;
}

void Raft::Tick() {
  if (role_ == Role::kLeader) {
    TickHeartbeat();
  } else {
    TickElection();
  }
}

void Raft::TickElection() {
  ++election_elapsed_;
  if (!Promotable() || election_elapsed_ < randomized_election_timeout_) return;
  election_elapsed_ = 0;
  StartElection(pre_vote_ ? Campaign::kPreElection : Campaign::kElection);
}

void Raft::TickHeartbeat() {
  ++heartbeat_elapsed_;
  ++election_elapsed_;
  if (election_elapsed_ >= election_ticks_) {
    election_elapsed_ = 0;
    if (check_quorum_) CheckQuorum();
    if (role_ == Role::kLeader) lead_transferee_ = kNoNode;
  }
  if (role_ != Role::kLeader) return;
  if (heartbeat_elapsed_ >= heartbeat_ticks_) {
    heartbeat_elapsed_ = 0;
    BroadcastHeartbeat();
  }
}

// ---- sending ----

void Raft::Send(Message&& message) {
  if (message.from == kNoNode) message.from = id_;
  if (IsVoteMessage(message.type)) {
    // A pre-vote's term is one that the sender is not in yet, so only the sender knows it.
    KVORUM_CHECK(message.term != Term(0), "term should be set when sending {}",
                 MessageTypeName(message.type));
  } else {
    KVORUM_CHECK(message.term == Term(0), "term should not be set when sending {} (was {})",
                 MessageTypeName(message.type), message.term);
    // These two are forwarded to the leader and treated as local there.
    if (message.type != MessageType::kProp && message.type != MessageType::kReadIndex) message.term = term_;
  }
  switch (message.type) {
    case MessageType::kAppResp:
    case MessageType::kVoteResp:
    case MessageType::kPreVoteResp: {
      const bool early = IsPlanted(message.type == MessageType::kAppResp ? PlantedBug::kAckBeforeDisk
                                                                         : PlantedBug::kVoteBeforeDisk);
      return Put(early && message.to != id_ ? outbox_.messages : outbox_.messages_after_persist,
                 std::move(message));
    }
    default:
      KVORUM_CHECK(message.to != id_, "message should not be self-addressed when sending {}",
                   MessageTypeName(message.type));
      Put(outbox_.messages, std::move(message));
  }
}

// ---- steps ----

absl::Status Raft::Step(Message&& message) {
  if (!TakeTerm(message)) return absl::OkStatus();
  switch (message.type) {
    case MessageType::kHup:
      StartElection(pre_vote_ ? Campaign::kPreElection : Campaign::kElection);
      return absl::OkStatus();
    case MessageType::kStorageAppendResp:
      HandleStorageAppendResp(message);
      return absl::OkStatus();
    case MessageType::kStorageApplyResp:
      HandleStorageApplyResp(message);
      return absl::OkStatus();
    case MessageType::kVote:
    case MessageType::kPreVote:
      HandleVoteRequest(message);
      return absl::OkStatus();
    default:
      break;
  }
  switch (role_) {
    case Role::kFollower:
      return StepFollower(std::move(message));
    case Role::kCandidate:
    case Role::kPreCandidate:
      return StepCandidate(std::move(message));
    case Role::kLeader:
      return StepLeader(std::move(message));
  }
  return absl::OkStatus();
}

bool Raft::InLease(const Message& message) const {
  if (message.type != MessageType::kVote && message.type != MessageType::kPreVote) return false;
  const bool transfer = message.context.view() == kCampaignTransfer;
  return !transfer && check_quorum_ && lead_ != kNoNode && election_elapsed_ < election_ticks_;
}

bool Raft::TakeTerm(const Message& message) {
  if (message.term == Term(0)) return true;  // local
  if (message.term > term_) {
    if (InLease(message)) {
      // A server does not help to depose a leader that it hears from (thesis §4.2.3).
      const EntryId last = log_.LastEntryId();
      KVORUM_LOG(
          logger(), kInfo,
          fmt::format(
              "{:x} [logterm: {}, index: {}, vote: {:x}] ignored {} from {:x} [logterm: {}, index: {}] "
              "at term {}: lease is not expired (remaining ticks: {})",
              id_, last.term, last.index, vote_, MessageTypeName(message.type), message.from,
              message.log_term, message.index, term_, election_ticks_ - election_elapsed_));
      return false;
    }
    TakeHigherTerm(message);
    return true;
  }
  if (message.term < term_) {
    AnswerLowerTerm(message);
    return false;
  }
  return true;
}

void Raft::TakeHigherTerm(const Message& message) {
  // A pre-vote changes nobody's term; a granted one comes back with the term that was asked for.
  if (message.type == MessageType::kPreVote) return;
  if (message.type == MessageType::kPreVoteResp && !message.reject) return;
  KVORUM_LOG(logger(), kInfo,
             fmt::format("{:x} [term: {}] received a {} message with higher term from {:x} [term: {}]", id_,
                         term_, MessageTypeName(message.type), message.from, message.term));
  BecomeFollower(message.term, IsFromLeader(message.type) ? message.from : kNoNode);
}

void Raft::AnswerLowerTerm(const Message& message) {
  if ((check_quorum_ || pre_vote_) &&
      (message.type == MessageType::kHeartbeat || message.type == MessageType::kApp)) {
    // Whoever leads an earlier term cannot hear of this one by a vote request, for with check-quorum or
    // pre-vote those are ignored: this answer makes it step down, and lets a node with a higher term rejoin.
    Send({.type = MessageType::kAppResp, .to = message.from});
    return;
  }
  if (message.type == MessageType::kPreVote) {
    // Without an answer, a candidate with a longer log at a lower term and one with a shorter log at a higher
    // term could block each other.
    const EntryId last = log_.LastEntryId();
    KVORUM_LOG(
        logger(), kInfo,
        fmt::format("{:x} [logterm: {}, index: {}, vote: {:x}] rejected {} from {:x} [logterm: {}, index: "
                    "{}] at term {}",
                    id_, last.term, last.index, vote_, MessageTypeName(message.type), message.from,
                    message.log_term, message.index, term_));
    Send({.type = MessageType::kPreVoteResp, .to = message.from, .term = term_, .reject = true});
    return;
  }
  if (message.type == MessageType::kStorageAppendResp) {
    // The entries may have been replaced since, so that they say nothing of what is on disk; a snapshot is
    // of committed entries and stays true.
    if (message.index != Index(0)) {
      KVORUM_LOG(
          logger(), kInfo,
          fmt::format("{:x} [term: {}] ignored entry appends from a {} message with lower term [term: {}]",
                      id_, term_, MessageTypeName(message.type), message.term));
    }
    if (message.snapshot) SnapshotApplied(*message.snapshot);
    return;
  }
  KVORUM_LOG(logger(), kInfo,
             fmt::format("{:x} [term: {}] ignored a {} message with lower term from {:x} [term: {}]", id_,
                         term_, MessageTypeName(message.type), message.from, message.term));
}

// ---- the local storage's answers ----

void Raft::HandleStorageAppendResp(const Message& message) {
  if (message.index != Index(0)) log_.StableTo({.term = message.log_term, .index = message.index});
  if (message.snapshot) SnapshotApplied(*message.snapshot);
}

void Raft::HandleStorageApplyResp(const Message& message) {
  if (message.entries.empty()) return;
  AppliedTo(message.entries.back().index, EncodedSize(message.entries), PayloadSize(message.entries));
}

void Raft::SnapshotApplied(const Snapshot& snapshot) {
  const Index index = snapshot.metadata.index;
  log_.StableSnapshotTo(index);
  AppliedTo(index, 0, 0);
}

void Raft::AppliedTo(Index index, uint64_t bytes, uint64_t payload) {
  log_.AppliedTo(std::max(index, log_.applied()), bytes);
  MaybeLeaveJoint();
  uncommitted_size_ -= std::min(uncommitted_size_, payload);
}

void Raft::StartWith(std::vector<Entry> entries) {
  KVORUM_CHECK(log_.LastIndex() == Index(0), "a log up to {}", log_.LastIndex());
  BecomeFollower(Term(1), kNoNode);
  log_.CommitTo(log_.Append(std::move(entries)));
}

void Raft::CheckInvariants() const {
  log_.CheckInvariants();
  const absl::Status membership = membership_.Check();
  KVORUM_CHECK(membership.ok(), "{}", membership.ToString());
  KVORUM_CHECK(role_ != Role::kLeader || lead_ == id_, "leader {:x} takes {:x} for the leader", id_, lead_);
  KVORUM_CHECK(role_ != Role::kCandidate || vote_ == id_, "candidate {:x} voted for {:x}", id_, vote_);
  KVORUM_CHECK(role_ == Role::kLeader || (lead_transferee_ == kNoNode && reads_.empty()),
               "{:x} has a leader's state", id_);
  KVORUM_CHECK(randomized_election_timeout_ > 0, "an election timeout of {}", randomized_election_timeout_);
  if (role_ != Role::kLeader) return;
  for (const auto& [id, progress] : membership_.progress) {
    KVORUM_CHECK(progress.match < progress.next, "{:x} of {:x}: {}", id, id_, progress.ToString());
    KVORUM_CHECK(progress.state == ProgressState::kReplicate || progress.inflights.count() == 0,
                 "{:x} of {:x}: {}", id, id_, progress.ToString());
    KVORUM_CHECK((progress.state == ProgressState::kSnapshot) == (progress.pending_snapshot != Index(0)),
                 "{:x} of {:x}: {}", id, id_, progress.ToString());
  }
}

}  // namespace kvorum::raft
