#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/planted_bug.h"
#include "raft/codec.h"
#include "raft/errors.h"
#include "raft/raft.h"

namespace kvorum::raft {

absl::Status Raft::StepLeader(Message&& message) {
  switch (message.type) {
    case MessageType::kProp:
      return HandleProposal(std::move(message));
    case MessageType::kReadIndex:
      return HandleReadIndex(std::move(message));
    case MessageType::kAppResp:
    case MessageType::kHeartbeatResp:
    case MessageType::kSnapStatus:
    case MessageType::kUnreachable:
    case MessageType::kTransferLeader:
      break;
    default:
      return absl::OkStatus();
  }
  const auto from = membership_.progress.find(message.from);
  if (from == membership_.progress.end()) {
    KVORUM_LOG(logger(), kDebug, fmt::format("{:x} no progress available for {:x}", id_, message.from));
    return absl::OkStatus();
  }
  Progress& progress = from->second;
  switch (message.type) {
    case MessageType::kAppResp:
      HandleAppendResp(message, progress);
      break;
    case MessageType::kHeartbeatResp:
      HandleHeartbeatResp(message, progress);
      break;
    case MessageType::kSnapStatus:
      HandleSnapStatus(message, progress);
      break;
    case MessageType::kUnreachable:
      HandleUnreachable(message, progress);
      break;
    default:
      HandleTransferLeader(message, progress);
      break;
  }
  return absl::OkStatus();
}

// ---- proposals ----

absl::Status Raft::HandleProposal(Message&& message) {
  if (message.entries.empty()) return absl::InvalidArgumentError("raft: a proposal without an entry");
  // A leader that was removed goes on for what is in its log, not for more.
  if (!membership_.progress.contains(id_)) return MakeError(Error::kProposalDropped);
  if (lead_transferee_ != kNoNode) {
    KVORUM_LOG(logger(), kDebug,
               fmt::format("{:x} [term {}] transfer leadership to {:x} is in progress; dropping proposal",
                           id_, term_, lead_transferee_));
    return MakeError(Error::kProposalDropped);
  }
  for (size_t i = 0; i < message.entries.size(); ++i) {
    Entry& entry = message.entries[i];
    if (entry.type == EntryType::kNormal) continue;
    if (absl::Status status = GateConfChange(entry, i); !status.ok()) return status;
  }
  if (!AppendEntries(std::move(message.entries))) return MakeError(Error::kProposalDropped);
  BroadcastAppend();
  return absl::OkStatus();
}

/// Puts an empty entry in the place of a conf change that must not enter the log now. The log stays as long,
/// so that the proposal still has its place in the batch.
absl::Status Raft::GateConfChange(Entry& entry, size_t position) {
  ConfChangeV2 change;
  std::string text;
  if (entry.type == EntryType::kConfChange) {
    absl::StatusOr<ConfChange> v1 = DecodeConfChange(entry.data.view());
    if (!v1.ok()) return v1.status();
    change = ToV2(*v1);
    text = ToString(*v1);
  } else {
    absl::StatusOr<ConfChangeV2> v2 = DecodeConfChangeV2(entry.data.view());
    if (!v2.ok()) return v2.status();
    change = *std::move(v2);
    text = ToString(change);
  }
  std::string reason;
  if (pending_conf_index_ > log_.applied()) {
    reason = fmt::format("possible unapplied conf change at index {} (applied to {})", pending_conf_index_,
                         log_.applied());
  } else if (membership_.voters.joint() && !change.changes.empty()) {
    reason = "must transition out of joint config first";
  } else if (!membership_.voters.joint() && change.changes.empty()) {
    reason = "not in joint state; refusing empty conf change";
  }
  if (!reason.empty() && !disable_conf_change_validation_) {
    KVORUM_LOG(logger(), kInfo,
               fmt::format("{:x} ignoring conf change {} at config {}: {}", id_, text,
                           membership_.ConfigToString(), reason));
    entry = Entry{};
  } else {
    pending_conf_index_ = log_.LastIndex() + position + 1;
  }
  return absl::OkStatus();
}

bool Raft::AppendEntries(std::vector<Entry> entries) {
  const uint64_t payload = PayloadSize(entries);
  // The first one always fits, so that an oversized proposal is not refused for ever; and empty ones, for a
  // new leader's own and the one that leaves a joint configuration must get in.
  if (uncommitted_size_ > 0 && payload > 0 && uncommitted_size_ + payload > max_uncommitted_size_) {
    KVORUM_LOG(
        logger(), kWarn,
        fmt::format("{:x} appending new entries to log would exceed uncommitted entry size limit; dropping "
                    "proposal",
                    id_));
    return false;
  }
  uncommitted_size_ += payload;
  Index next = log_.LastIndex() + 1;
  for (Entry& entry : entries) {
    entry.term = term_;
    entry.index = next;
    ++next;
  }
  const Index last = log_.Append(std::move(entries));
  // The leader's own copy counts when it is on disk: this leaves with what waits for that, and comes back as
  // an acknowledgement like a follower's (thesis §10.2.1).
  Send({.type = MessageType::kAppResp, .to = id_, .index = last});
  return true;
}

// ---- reads: thesis §6.4 ----

bool Raft::CommittedInTerm() const { return log_.TermAt(log_.committed()) == term_; }

bool Raft::DecidesAlone() const {
  // Not where the one voter is another: a leader that was removed knows nothing of what that one decides.
  return membership_.voters.IsSingleton() && membership_.voters.Contains(id_);
}

absl::Status Raft::HandleReadIndex(Message&& message) {
  if (message.entries.size() != 1) return absl::InvalidArgumentError("raft: MsgReadIndex without a context");
  if (!CommittedInTerm() && !IsPlanted(PlantedBug::kReadBeforeTermCommit)) {
    // It may not know yet how far earlier leaders committed (§6.4 step 1). Nor may one that decides alone:
    // the commit index is not synced by itself, so a restart can put it back behind what was answered before.
    held_reads_.push_back(std::move(message));
  } else {
    StartReadRound(std::move(message));
  }
  return absl::OkStatus();
}

void Raft::StartReadRound(Message&& request) {
  if (DecidesAlone() || IsPlanted(PlantedBug::kReadUnconfirmed)) {
    AnswerRead(request, log_.committed());
    return;
  }
  switch (read_only_) {
    case ReadOnlyOption::kSafe: {
      if (!reads_.Add(log_.committed(), std::move(request))) return;
      reads_.Acknowledge(id_, reads_.LastContext());
      BroadcastHeartbeat();
      return;
    }
    case ReadOnlyOption::kLeaseBased:
      AnswerRead(request, log_.committed());
      return;
  }
}

void Raft::AnswerRead(const Message& request, Index index) {
  if (request.from == kNoNode || request.from == id_) {
    outbox_.read_states.push_back({.index = index, .context = request.entries.front().data});
    return;
  }
  Send({.type = MessageType::kReadIndexResp, .to = request.from, .index = index, .entries = request.entries});
}

void Raft::ReleaseHeldReads() {
  if (held_reads_.empty()) return;
  KVORUM_CHECK(CommittedInTerm(),
               "pending MsgReadIndex should be released only after first commit in current term");
  for (Message& request : std::exchange(held_reads_, {})) StartReadRound(std::move(request));
}

// ---- replication ----

void Raft::ForEachPeer(absl::FunctionRef<void(NodeId, Progress&)> visit) {
  for (auto& [id, progress] : membership_.progress) {
    if (id != id_) visit(id, progress);
  }
}

void Raft::BroadcastAppend() {
  ForEachPeer([this](NodeId id, Progress& progress) { MaybeSendAppend(id, progress, IfEmpty::kSend); });
}

void Raft::BroadcastHeartbeat() {
  const Bytes context = reads_.LastContext();
  ForEachPeer([&](NodeId id, Progress& progress) {
    // Not beyond the match: the follower may not have the entries, or others in their places.
    const Index limit = IsPlanted(PlantedBug::kCommitBeyondMatch) ? log_.LastIndex() : progress.match;
    const Index commit = std::min(limit, log_.committed());
    Send({.type = MessageType::kHeartbeat, .to = id, .commit = commit, .context = context});
    progress.sent_commit = commit;
  });
}

bool Raft::MaybeSendAppend(NodeId to, Progress& progress, IfEmpty if_empty) {
  if (progress.IsPaused()) return false;
  const Index previous = progress.next - 1;
  const std::optional<Term> previous_term = log_.TermAt(previous);
  if (!previous_term) return MaybeSendSnapshot(to, progress);

  std::vector<Entry> entries;
  // With a full window, empty appends find out whether the entries under way were lost.
  if (progress.state != ProgressState::kReplicate || !progress.inflights.full()) {
    absl::StatusOr<std::vector<Entry>> fetched = log_.EntriesFrom(progress.next, max_size_per_message_);
    if (!fetched.ok()) return MaybeSendSnapshot(to, progress);
    entries = *std::move(fetched);
  }
  if (entries.empty() && if_empty == IfEmpty::kSkip) return false;

  const size_t count = entries.size();
  const uint64_t payload = PayloadSize(entries);
  Send({.type = MessageType::kApp,
        .to = to,
        .log_term = *previous_term,
        .index = previous,
        .entries = std::move(entries),
        .commit = log_.committed()});
  progress.SentEntries(count, payload);
  progress.sent_commit = log_.committed();
  return true;
}

bool Raft::MaybeSendSnapshot(NodeId to, Progress& progress) {
  if (!progress.recent_active) {
    KVORUM_LOG(logger(), kDebug,
               fmt::format("ignore sending snapshot to {:x} since it is not recently active", to));
    return false;
  }
  absl::StatusOr<Snapshot> snapshot = log_.GetSnapshot();
  if (!snapshot.ok()) {
    KVORUM_CHECK(ErrorCode(snapshot.status()) == Error::kSnapshotTemporarilyUnavailable, "the snapshot: {}",
                 snapshot.status().ToString());
    KVORUM_LOG(logger(), kDebug,
               fmt::format("{:x} failed to send snapshot to {:x} because snapshot is temporarily unavailable",
                           id_, to));
    return false;
  }
  KVORUM_CHECK(!snapshot->empty(), "need non-empty snapshot");
  const SnapshotMetadata& metadata = snapshot->metadata;
  KVORUM_LOG(logger(), kDebug,
             fmt::format("{:x} [firstindex: {}, commit: {}] sent snapshot[index: {}, term: {}] to {:x} [{}]",
                         id_, log_.FirstIndex(), log_.committed(), metadata.index, metadata.term, to,
                         progress.ToString()));
  progress.BecomeSnapshot(metadata.index);
  KVORUM_LOG(
      logger(), kDebug,
      fmt::format("{:x} paused sending replication messages to {:x} [{}]", id_, to, progress.ToString()));
  Send({.type = MessageType::kSnap, .to = to, .snapshot = *std::move(snapshot)});
  return true;
}

/// Paper fig. 2, rules for leaders: if a majority has index N and the entry there is of the current term, N
/// is committed (§5.3, §5.4.2).
bool Raft::MaybeCommit() {
  const Index index = membership_.voters.Committed([this](NodeId id) -> std::optional<Index> {
    const auto progress = membership_.progress.find(id);
    if (progress == membership_.progress.end()) return std::nullopt;
    Index match = progress->second.match;
    if (IsPlanted(PlantedBug::kLearnerCounted)) {
      for (const NodeId learner : membership_.learners)
        match = std::max(match, membership_.progress.at(learner).match);
    }
    return match;
  });
  const bool of_term =
      log_.Matches({.term = term_, .index = index}) || IsPlanted(PlantedBug::kCommitOlderTerm);
  if (index <= log_.committed() || !of_term) return false;
  log_.CommitTo(index);
  return true;
}

// ---- answers of followers ----

void Raft::HandleAppendResp(const Message& message, Progress& progress) {
  progress.recent_active = true;
  if (message.reject) {
    HandleAppendRejected(message, progress);
  } else {
    HandleAppendAccepted(message, progress);
  }
}

void Raft::HandleAppendRejected(const Message& message, Progress& progress) {
  KVORUM_LOG(
      logger(), kDebug,
      fmt::format("{:x} received MsgAppResp(rejected, hint: (index {}, term {})) from {:x} for index {}", id_,
                  message.reject_hint, message.log_term, message.from, message.index));
  Index probe = message.reject_hint;
  // The follower's log up to the hint has terms of at most the hint's, so nothing here of a later term
  // agrees.
  if (message.log_term > Term(0)) {
    probe = log_.FindConflictByTerm(message.reject_hint, message.log_term).index;
  }
  if (!progress.MaybeDecreaseTo(message.index, probe)) return;
  KVORUM_LOG(logger(), kDebug,
             fmt::format("{:x} decreased progress of {:x} to [{}]", id_, message.from, progress.ToString()));
  if (progress.state == ProgressState::kReplicate) progress.BecomeProbe();
  MaybeSendAppend(message.from, progress, IfEmpty::kSend);
}

void Raft::HandleAppendAccepted(const Message& message, Progress& progress) {
  // A probe is over also where it tells nothing new.
  const bool probe_over = progress.match == message.index && progress.state == ProgressState::kProbe;
  if (!progress.MaybeUpdate(message.index) && !probe_over) return;
  switch (progress.state) {
    case ProgressState::kProbe:
      progress.BecomeReplicate();
      break;
    case ProgressState::kSnapshot:
      // However it came to have so much, the log here goes on from there.
      if (progress.match + 1 >= log_.FirstIndex()) {
        KVORUM_LOG(
            logger(), kDebug,
            fmt::format("{:x} recovered from needing snapshot, resumed sending replication messages to "
                        "{:x} [{}]",
                        id_, message.from, progress.ToString()));
        progress.BecomeProbe();
        progress.BecomeReplicate();
      }
      break;
    case ProgressState::kReplicate:
      progress.inflights.FreeThrough(message.index);
      break;
  }

  const bool is_self = message.from == id_;
  if (MaybeCommit()) {
    ReleaseHeldReads();
    BroadcastAppend();
  } else if (!is_self && progress.CanBumpCommit(log_.committed())) {
    MaybeSendAppend(message.from, progress, IfEmpty::kSend);
  }
  if (is_self) return;
  // The window may have opened for more than one message.
  while (MaybeSendAppend(message.from, progress, IfEmpty::kSkip)) {
  }
  if (message.from == lead_transferee_ && progress.match == log_.LastIndex()) {
    KVORUM_LOG(logger(), kInfo,
               fmt::format("{:x} sent MsgTimeoutNow to {:x} after received MsgAppResp", id_, message.from));
    SendTimeoutNow(message.from);
  }
}

void Raft::HandleHeartbeatResp(const Message& message, Progress& progress) {
  progress.recent_active = true;
  progress.append_flow_paused = false;
  if (progress.match < log_.LastIndex() || progress.state == ProgressState::kProbe) {
    MaybeSendAppend(message.from, progress, IfEmpty::kSend);
  }
  if (read_only_ != ReadOnlyOption::kSafe || message.context.empty()) return;
  const Votes* acknowledged = reads_.Acknowledge(message.from, message.context);
  if (acknowledged == nullptr || membership_.voters.Vote(*acknowledged) != VoteResult::kWon) return;
  for (const ReadIndexQueue::Read& read : reads_.Confirm(message.context)) {
    AnswerRead(read.request, read.index);
  }
}

void Raft::HandleSnapStatus(const Message& message, Progress& progress) {
  if (progress.state != ProgressState::kSnapshot) return;
  // One that failed leaves the follower where it was.
  if (message.reject) progress.pending_snapshot = Index(0);
  progress.BecomeProbe();
  KVORUM_LOG(logger(), kDebug,
             fmt::format("{:x} snapshot {}, resumed sending replication messages to {:x} [{}]", id_,
                         message.reject ? "failed" : "succeeded", message.from, progress.ToString()));
  // Done: wait for the follower's acknowledgement. Failed: wait for a heartbeat's answer before trying again.
  progress.append_flow_paused = true;
}

void Raft::HandleUnreachable(const Message& message, Progress& progress) {
  // What was sent ahead is probably lost.
  if (progress.state == ProgressState::kReplicate) progress.BecomeProbe();
  KVORUM_LOG(logger(), kDebug,
             fmt::format("{:x} failed to send message to {:x} because it is unreachable [{}]", id_,
                         message.from, progress.ToString()));
}

/// Thesis §3.10. The transferee asks, or somebody for it: `from` is who is to lead.
void Raft::HandleTransferLeader(const Message& message, Progress& progress) {
  const NodeId transferee = message.from;
  if (progress.is_learner) {
    KVORUM_LOG(logger(), kDebug, fmt::format("{:x} is learner. Ignored transferring leadership", id_));
    return;
  }
  if (lead_transferee_ != kNoNode) {
    if (lead_transferee_ == transferee) {
      KVORUM_LOG(
          logger(), kInfo,
          fmt::format("{:x} [term {}] transfer leadership to {:x} is in progress, ignores request to same "
                      "node {:x}",
                      id_, term_, transferee, transferee));
      return;
    }
    KVORUM_LOG(logger(), kInfo,
               fmt::format("{:x} [term {}] abort previous transferring leadership to {:x}", id_, term_,
                           lead_transferee_));
    lead_transferee_ = kNoNode;
  }
  if (transferee == id_) {
    KVORUM_LOG(logger(), kDebug,
               fmt::format("{:x} is already leader. Ignored transferring leadership to self", id_));
    return;
  }
  KVORUM_LOG(logger(), kInfo,
             fmt::format("{:x} [term {}] starts to transfer leadership to {:x}", id_, term_, transferee));
  // It has an election timeout to succeed.
  election_elapsed_ = 0;
  lead_transferee_ = transferee;
  if (progress.match == log_.LastIndex()) {
    SendTimeoutNow(transferee);
    KVORUM_LOG(logger(), kInfo,
               fmt::format("{:x} sends MsgTimeoutNow to {:x} immediately as {:x} already has up-to-date log",
                           id_, transferee, transferee));
  } else {
    MaybeSendAppend(transferee, progress, IfEmpty::kSend);
  }
}

void Raft::SendTimeoutNow(NodeId to) { Send({.type = MessageType::kTimeoutNow, .to = to}); }

/// A leader that a majority does not answer steps down, so that clients do not wait for it (thesis §6.2).
void Raft::CheckQuorum() {
  Votes active;
  for (const auto& [id, progress] : membership_.progress) {
    if (!progress.is_learner) active[id] = progress.recent_active;
  }
  if (membership_.voters.Vote(active) != VoteResult::kWon) {
    KVORUM_LOG(logger(), kWarn, fmt::format("{:x} stepped down to follower since quorum is not active", id_));
    BecomeFollower(term_, kNoNode);
  }
  ForEachPeer([](NodeId, Progress& progress) { progress.recent_active = false; });
}

}  // namespace kvorum::raft
