#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/planted_bug.h"
#include "raft/errors.h"
#include "raft/raft.h"

namespace kvorum::raft {

absl::Status Raft::StepFollower(Message&& message) {
  switch (message.type) {
    case MessageType::kProp:
      return ForwardProposal(std::move(message));
    case MessageType::kApp:
      Follow(message);
      HandleAppend(std::move(message));
      break;
    case MessageType::kHeartbeat:
      Follow(message);
      HandleHeartbeat(message);
      break;
    case MessageType::kSnap:
      Follow(message);
      HandleSnapshot(std::move(message));
      break;
    case MessageType::kTransferLeader:
      ForwardTransfer(std::move(message));
      break;
    case MessageType::kForgetLeader:
      HandleForgetLeader();
      break;
    case MessageType::kTimeoutNow:
      HandleTimeoutNow(message);
      break;
    case MessageType::kReadIndex:
      ForwardReadIndex(std::move(message));
      break;
    case MessageType::kReadIndexResp:
      HandleReadIndexResp(std::move(message));
      break;
    default:
      break;
  }
  return absl::OkStatus();
}

/// Whoever sends a leader's message leads this term, for a term has one leader (paper §5.2).
void Raft::Follow(const Message& message) {
  if (role_ != Role::kFollower) {
    BecomeFollower(message.term, message.from);
    return;
  }
  election_elapsed_ = 0;
  lead_ = message.from;
}

absl::Status Raft::ForwardProposal(Message&& message) {
  if (lead_ == kNoNode) {
    KVORUM_LOG(logger(), kInfo, fmt::format("{:x} no leader at term {}; dropping proposal", id_, term_));
    return MakeError(Error::kProposalDropped);
  }
  if (disable_proposal_forwarding_) {
    KVORUM_LOG(
        logger(), kInfo,
        fmt::format("{:x} not forwarding to leader {:x} at term {}; dropping proposal", id_, lead_, term_));
    return MakeError(Error::kProposalDropped);
  }
  message.to = lead_;
  message.term = Term(0);
  Send(std::move(message));
  return absl::OkStatus();
}

void Raft::ForwardTransfer(Message&& message) {
  if (lead_ == kNoNode) {
    KVORUM_LOG(logger(), kInfo,
               fmt::format("{:x} no leader at term {}; dropping leader transfer msg", id_, term_));
    return;
  }
  message.to = lead_;
  message.term = Term(0);
  Send(std::move(message));
}

void Raft::ForwardReadIndex(Message&& message) {
  if (lead_ == kNoNode) {
    KVORUM_LOG(logger(), kInfo,
               fmt::format("{:x} no leader at term {}; dropping index reading msg", id_, term_));
    return;
  }
  message.to = lead_;
  message.term = Term(0);
  Send(std::move(message));
}

void Raft::HandleForgetLeader() {
  if (read_only_ == ReadOnlyOption::kLeaseBased) {
    // It would let this node vote inside the lease that the leader reads by.
    KVORUM_LOG(logger(), kError, "ignoring MsgForgetLeader due to ReadOnlyLeaseBased");
    return;
  }
  if (lead_ == kNoNode) return;
  KVORUM_LOG(logger(), kInfo, fmt::format("{:x} forgetting leader {:x} at term {}", id_, lead_, term_));
  lead_ = kNoNode;
}

void Raft::HandleTimeoutNow(const Message& message) {
  KVORUM_LOG(logger(), kInfo,
             fmt::format("{:x} [term {}] received MsgTimeoutNow from {:x} and starts an election to get "
                         "leadership.",
                         id_, term_, message.from));
  // Never by pre-vote: the leader itself has asked (thesis §3.10).
  StartElection(Campaign::kTransfer);
}

void Raft::HandleReadIndexResp(Message&& message) {
  if (message.entries.size() != 1) {
    KVORUM_LOG(logger(), kError,
               fmt::format("{:x} invalid format of MsgReadIndexResp from {:x}, entries count: {}", id_,
                           message.from, message.entries.size()));
    return;
  }
  outbox_.read_states.push_back({.index = message.index, .context = std::move(message.entries.front().data)});
}

// Paper fig. 2, AppendEntries RPC, receiver implementation. Reply false if term < currentTerm:
// AnswerLowerTerm.
void Raft::HandleAppend(Message&& message) {
  if (message.index < log_.committed()) {
    // What is committed agrees with every leader's log.
    Send({.type = MessageType::kAppResp, .to = message.from, .index = log_.committed()});
    return;
  }
  const EntryId previous{.term = message.log_term, .index = message.index};
  if (const auto last_new = log_.MaybeAppend(previous, message.commit, std::move(message.entries))) {
    Send({.type = MessageType::kAppResp, .to = message.from, .index = *last_new});
    return;
  }
  KVORUM_LOG(logger(), kDebug,
             fmt::format("{:x} [logterm: {}, index: {}] rejected MsgApp [logterm: {}, index: {}] from {:x}",
                         id_, log_.TermAt(message.index).value_or(Term(0)), message.index, message.log_term,
                         message.index, message.from));
  // Everything here behind the hint is of a later term than the leader has at that place, so the logs cannot
  // agree there: the leader need not probe it (paper §5.3, end).
  const EntryId hint = log_.FindConflictByTerm(std::min(message.index, log_.LastIndex()), message.log_term);
  Send({.type = MessageType::kAppResp,
        .to = message.from,
        .log_term = hint.term,
        .index = message.index,
        .reject = true,
        .reject_hint = hint.index});
}

void Raft::HandleHeartbeat(const Message& message) {
  log_.CommitTo(message.commit);
  Send({.type = MessageType::kHeartbeatResp, .to = message.from, .context = message.context});
}

void Raft::HandleSnapshot(Message&& message) {
  // A message without one offers the empty snapshot, which is behind everything.
  Snapshot snapshot = message.snapshot ? *std::move(message.snapshot) : Snapshot{};
  const EntryId at{.term = snapshot.metadata.term, .index = snapshot.metadata.index};
  const bool restored = Restore(std::move(snapshot));
  KVORUM_LOG(logger(), kInfo,
             fmt::format("{:x} [commit: {}] {} snapshot [index: {}, term: {}]", id_, log_.committed(),
                         restored ? "restored" : "ignored", at.index, at.term));
  Send({.type = MessageType::kAppResp,
        .to = message.from,
        .index = restored ? log_.LastIndex() : log_.committed()});
}

bool Raft::Restore(Snapshot snapshot) {
  const EntryId at{.term = snapshot.metadata.term, .index = snapshot.metadata.index};
  if (at.index <= log_.committed()) return false;
  KVORUM_CHECK(role_ == Role::kFollower, "{} attempted to restore snapshot", RoleName(role_));

  const ConfState conf_state = snapshot.metadata.conf_state;
  const auto contains = [this](const std::vector<NodeId>& ids) {
    return std::find(ids.begin(), ids.end(), id_) != ids.end();
  };
  // A node that leaves in a joint configuration is still in it, so learners_next needs no look: they are in
  // the outgoing half.
  if (!contains(conf_state.voters) && !contains(conf_state.learners) &&
      !contains(conf_state.voters_outgoing)) {
    KVORUM_LOG(
        logger(), kWarn,
        fmt::format("{:x} attempted to restore snapshot but it is not in the ConfState {}; should never "
                    "happen",
                    id_, ToString(conf_state)));
    return false;
  }
  const auto log_line = [&](std::string_view what) {
    const EntryId last = log_.LastEntryId();
    KVORUM_LOG(logger(), kInfo,
               fmt::format("{:x} [commit: {}, lastindex: {}, lastterm: {}] {} snapshot [index: {}, term: {}]",
                           id_, log_.committed(), last.index, last.term, what, at.index, at.term));
  };
  const bool kept = IsPlanted(PlantedBug::kSnapshotKeepsLog) && at.index <= log_.LastIndex();
  if (log_.Matches(at) || kept) {
    // The log has it all; keep the entries behind it (paper fig. 13, step 6).
    log_line("fast-forwarded commit to");
    log_.CommitTo(at.index);
    return false;
  }
  absl::StatusOr<Membership> membership = RestoreMembership(conf_state, at.index, window_);
  if (!membership.ok()) {
    KVORUM_LOG(logger(), kWarn,
               fmt::format("{:x} refused snapshot [index: {}, term: {}]: {}", id_, at.index, at.term,
                           std::string(membership.status().message())));
    return false;
  }
  log_.Restore(std::move(snapshot));
  SwitchTo(*std::move(membership));
  log_line("restored");
  return true;
}

}  // namespace kvorum::raft
