#include <utility>

#include "base/check.h"
#include "base/planted_bug.h"
#include "raft/raft.h"

// Elections: paper §5.2 and §5.4.1, pre-vote of thesis §9.6.

namespace kvorum::raft {

bool Raft::Promotable() const {
  const auto own = membership_.progress.find(id_);
  return own != membership_.progress.end() && !own->second.is_learner && !log_.HasUnstableSnapshot();
}

bool Raft::HasUnappliedConfChange() const {
  if (log_.applied() >= log_.committed()) return false;
  return log_.AnyEntry(log_.applied() + 1, log_.committed() + 1, max_committed_size_per_ready_,
                       [](const Entry& entry) { return entry.type != EntryType::kNormal; });
}

void Raft::StartElection(Campaign kind) {
  if (role_ == Role::kLeader) {
    KVORUM_LOG(logger(), kDebug, fmt::format("{:x} ignoring MsgHup because already leader", id_));
    return;
  }
  if (!Promotable()) {
    KVORUM_LOG(logger(), kWarn, fmt::format("{:x} is unpromotable and can not campaign", id_));
    return;
  }
  // Who voted for whom must be counted in a configuration that is in force.
  if (HasUnappliedConfChange()) {
    KVORUM_LOG(
        logger(), kWarn,
        fmt::format("{:x} cannot campaign at term {} since there are still pending configuration changes "
                    "to apply",
                    id_, term_));
    return;
  }
  KVORUM_LOG(logger(), kInfo, fmt::format("{:x} is starting a new election at term {}", id_, term_));
  RunCampaign(kind);
}

void Raft::RunCampaign(Campaign kind) {
  if (!Promotable()) {
    KVORUM_LOG(logger(), kWarn, fmt::format("{:x} is unpromotable; campaign() should have been called", id_));
  }
  MessageType request = MessageType::kVote;
  MessageType response = MessageType::kVoteResp;
  Term term;
  if (kind == Campaign::kPreElection) {
    BecomePreCandidate();
    request = MessageType::kPreVote;
    response = MessageType::kPreVoteResp;
    term = term_ + 1;  // the term it would campaign in
  } else {
    BecomeCandidate();
    term = term_;
  }
  const EntryId last = log_.LastEntryId();
  const Bytes context = kind == Campaign::kTransfer ? Bytes::Copy(kCampaignTransfer) : Bytes();
  for (const NodeId id : membership_.voters.All()) {
    if (id == id_) {
      // The own vote counts once it is on disk, like anybody's.
      Send({.type = response, .to = id, .term = term});
      continue;
    }
    KVORUM_LOG(logger(), kInfo,
               fmt::format("{:x} [logterm: {}, index: {}] sent {} request to {:x} at term {}", id_, last.term,
                           last.index, MessageTypeName(request), id, term_));
    Send({.type = request,
          .to = id,
          .term = term,
          .log_term = last.term,
          .index = last.index,
          .context = context});
  }
}

void Raft::HandleVoteRequest(const Message& message) {
  const bool pre_vote = message.type == MessageType::kPreVote;
  const EntryId last = log_.LastEntryId();
  // One vote a term; a pre-vote is asked for a term to come, in which nobody voted yet.
  const bool can_vote = vote_ == message.from ||
                        ((vote_ == kNoNode || IsPlanted(PlantedBug::kTwoVotes)) && lead_ == kNoNode) ||
                        (pre_vote && message.term > term_);
  const bool up_to_date = log_.IsUpToDate({.term = message.log_term, .index = message.index});
  const bool granted = can_vote && (up_to_date || IsPlanted(PlantedBug::kVoteForShorterLog));
  // A learner votes too: whoever asks may know a later configuration, in which it is a voter.
  KVORUM_LOG(
      logger(), kInfo,
      fmt::format("{:x} [logterm: {}, index: {}, vote: {:x}] {} {} {} {:x} [logterm: {}, index: {}] at "
                  "term {}",
                  id_, last.term, last.index, vote_, granted ? "cast" : "rejected",
                  MessageTypeName(message.type), granted ? "for" : "from", message.from, message.log_term,
                  message.index, term_));
  const MessageType response = pre_vote ? MessageType::kPreVoteResp : MessageType::kVoteResp;
  if (!granted) {
    Send({.type = response, .to = message.from, .term = term_, .reject = true});
    return;
  }
  // The term that was asked for: a pre-vote's answer with the own one would be dropped as stale.
  Send({.type = response, .to = message.from, .term = message.term});
  if (!pre_vote) {
    election_elapsed_ = 0;
    vote_ = message.from;
  }
}

VoteResult Raft::RecordVote(const Message& message) {
  const std::string_view type = MessageTypeName(message.type);
  KVORUM_LOG(logger(), kInfo,
             fmt::format("{:x} received {}{} from {:x} at term {}", id_, type,
                         message.reject ? " rejection" : "", message.from, term_));
  votes_.try_emplace(message.from, !message.reject);
  int granted = 0;
  int rejected = 0;
  for (const auto& [id, progress] : membership_.progress) {
    if (progress.is_learner) continue;
    if (const auto vote = votes_.find(id); vote != votes_.end()) ++(vote->second ? granted : rejected);
  }
  KVORUM_LOG(
      logger(), kInfo,
      fmt::format("{:x} has received {} {} votes and {} vote rejections", id_, granted, type, rejected));
  return membership_.voters.Vote(votes_);
}

/// With asynchronous storage writes the others' votes may be a majority before the own one is durable.
/// Without waiting for it (test RaftPaperTest.ACandidateLeadsOnlyOnceItsOwnVoteIsDurable):
///   1. The candidate of term t wins by the others' votes, and sends an entry of term t.
///   2. It crashes. Its disk knows neither term t nor the entry.
///   3. It campaigns in term t again, and the others have voted for it, so it wins again.
///   4. It writes another entry of term t in the same place: the logs do not match any more.
bool Raft::OwnVoteCounted() const {
  if (IsPlanted(PlantedBug::kLeadBeforeOwnVote)) return true;
  return votes_.contains(id_) || !membership_.voters.Contains(id_);
}

void Raft::HandleVoteResponse(const Message& message) {
  const MessageType counted =
      role_ == Role::kPreCandidate ? MessageType::kPreVoteResp : MessageType::kVoteResp;
  if (message.type != counted) return;
  switch (RecordVote(message)) {
    case VoteResult::kPending:
      return;
    case VoteResult::kWon:
      if (role_ == Role::kPreCandidate) {
        RunCampaign(Campaign::kElection);
      } else if (OwnVoteCounted()) {
        BecomeLeader();
        BroadcastAppend();
      }
      return;
    case VoteResult::kLost:
      // The term of a pre-vote's rejection may be the voter's own, so it is no reason to take it.
      BecomeFollower(term_, kNoNode);
      return;
  }
}

absl::Status Raft::StepCandidate(Message&& message) {
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
    case MessageType::kVoteResp:
    case MessageType::kPreVoteResp:
      HandleVoteResponse(message);
      break;
    case MessageType::kTimeoutNow:
      KVORUM_LOG(logger(), kDebug,
                 fmt::format("{:x} [term {} state {}] ignored MsgTimeoutNow from {:x}", id_, term_,
                             RoleName(role_), message.from));
      break;
    default:
      break;
  }
  return absl::OkStatus();
}

}  // namespace kvorum::raft
