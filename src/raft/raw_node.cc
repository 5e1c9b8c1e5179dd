#include "raft/raw_node.h"

#include <utility>

#include "base/check.h"
#include "raft/codec.h"
#include "raft/errors.h"
#include "raft/raft.h"

namespace kvorum::raft {
namespace {

bool IsLocal(MessageType type) {
  switch (type) {
    case MessageType::kHup:
    case MessageType::kBeat:
    case MessageType::kUnreachable:
    case MessageType::kSnapStatus:
    case MessageType::kCheckQuorum:
    case MessageType::kStorageAppend:
    case MessageType::kStorageAppendResp:
    case MessageType::kStorageApply:
    case MessageType::kStorageApplyResp:
      return true;
    default:
      return false;
  }
}

bool IsResponse(MessageType type) {
  switch (type) {
    case MessageType::kAppResp:
    case MessageType::kVoteResp:
    case MessageType::kHeartbeatResp:
    case MessageType::kUnreachable:
    case MessageType::kReadIndexResp:
    case MessageType::kPreVoteResp:
    case MessageType::kStorageAppendResp:
    case MessageType::kStorageApplyResp:
      return true;
    default:
      return false;
  }
}

/// An answer of the storage; nothing else comes from there.
bool IsFromStorage(const Message& message) {
  return (message.from == kAppendThread || message.from == kApplyThread) && IsResponse(message.type);
}

/// Every entry stands where the message's index and its place say.
bool IsContiguous(const Message& message) {
  Index expected = message.index;
  for (const Entry& entry : message.entries) {
    if (entry.index != ++expected) return false;
  }
  return expected >= message.index;
}

}  // namespace

absl::StatusOr<std::unique_ptr<RawNode>> RawNode::Create(Config config) {
  if (absl::Status status = config.Validate(); !status.ok()) return status;
  return std::unique_ptr<RawNode>(new RawNode(config));
}

RawNode::RawNode(const Config& config)
    : raft_(std::make_unique<Raft>(config)),
      async_storage_writes_(config.async_storage_writes),
      previous_soft_state_(raft_->soft_state()),
      previous_hard_state_(raft_->hard_state()) {}

RawNode::~RawNode() = default;

absl::Status RawNode::Bootstrap(std::span<const Peer> peers) {
  if (peers.empty()) return absl::InvalidArgumentError("must provide at least one peer to Bootstrap");
  if (raft_->log().LastIndex() != Index(0)) {
    return absl::FailedPreconditionError("can't bootstrap a nonempty Storage");
  }
  // So that the first Ready has the term and the commit index.
  previous_hard_state_ = {};
  std::vector<Entry> entries;
  for (const Peer& peer : peers) {
    const ConfChange change{.type = ConfChangeType::kAddNode, .node_id = peer.id, .context = peer.context};
    entries.push_back({.type = EntryType::kConfChange,
                       .term = Term(1),
                       .index = Index(entries.size() + 1),
                       .data = Bytes::Copy(Encode(change))});
  }
  raft_->StartWith(std::move(entries));
  // At once, so that the node may campaign before the user has applied the entries. That the user applies
  // them again changes nothing.
  for (const Peer& peer : peers) {
    ApplyConfChange(ConfChange{.type = ConfChangeType::kAddNode, .node_id = peer.id});
  }
  return absl::OkStatus();
}

void RawNode::Tick() { raft_->Tick(); }

absl::Status RawNode::Campaign() { return raft_->Step({.type = MessageType::kHup}); }

absl::Status RawNode::Propose(Bytes data) {
  std::vector<Bytes> batch;
  batch.push_back(std::move(data));
  return ProposeBatch(std::move(batch));
}

absl::Status RawNode::ProposeBatch(std::vector<Bytes> data) {
  if (data.empty()) return absl::OkStatus();
  std::vector<Entry> entries;
  entries.reserve(data.size());
  for (Bytes& each : data) entries.push_back({.data = std::move(each)});
  return raft_->Step({.type = MessageType::kProp, .from = raft_->id(), .entries = std::move(entries)});
}

namespace {

template <typename Change>
Message ConfChangeProposal(EntryType type, const Change& change) {
  std::vector<Entry> entries;
  entries.push_back({.type = type, .data = Bytes::Copy(Encode(change))});
  return {.type = MessageType::kProp, .entries = std::move(entries)};
}

}  // namespace

absl::Status RawNode::ProposeConfChange(const ConfChange& change) {
  return raft_->Step(ConfChangeProposal(EntryType::kConfChange, change));
}

absl::Status RawNode::ProposeConfChange(const ConfChangeV2& change) {
  return raft_->Step(ConfChangeProposal(EntryType::kConfChangeV2, change));
}

ConfState RawNode::ApplyConfChange(const ConfChange& change) { return ApplyConfChange(ToV2(change)); }

ConfState RawNode::ApplyConfChange(const ConfChangeV2& change) { return raft_->ApplyConfChange(change); }

absl::Status RawNode::Step(Message&& message) {
  if (IsLocal(message.type) && !IsFromStorage(message)) return MakeError(Error::kStepLocalMessage);
  if (IsResponse(message.type) && !IsFromStorage(message) &&
      !raft_->membership().progress.contains(message.from)) {
    return MakeError(Error::kStepPeerNotFound);
  }
  if (message.type == MessageType::kApp && !IsContiguous(message)) {
    return absl::InvalidArgumentError("raft: MsgApp with entries out of place");
  }
  return raft_->Step(std::move(message));
}

bool RawNode::HasReady() const {
  const Raft& raft = *raft_;
  const Raft::Outbox& outbox = raft.outbox();
  if (!outbox.messages.empty() || !outbox.messages_after_persist.empty() || !outbox.read_states.empty()) {
    return true;
  }
  if (raft.soft_state() != previous_soft_state_) return true;
  if (const HardState state = raft.hard_state(); !state.empty() && state != previous_hard_state_) return true;
  const RaftLog& log = raft.log();
  return log.NextUnstableSnapshot() != nullptr || !log.NextUnstableEntries().empty() ||
         log.HasNextCommittedEntries();
}

Ready RawNode::GetReady() {
  KVORUM_CHECK(!advance_pending_, "two accepted Ready structs without call to Advance");
  Raft::Outbox& outbox = raft_->outbox();
  RaftLog& log = raft_->log();
  Ready ready;
  if (const SoftState state = raft_->soft_state(); state != previous_soft_state_) {
    ready.soft_state = previous_soft_state_ = state;
  }
  const HardState state = raft_->hard_state();
  const auto next_entries = log.NextUnstableEntries();
  ready.must_sync = !next_entries.empty() || state.term != previous_hard_state_.term ||
                    state.vote != previous_hard_state_.vote;
  if (state != previous_hard_state_) ready.hard_state = state;
  if (!ready.hard_state.empty()) previous_hard_state_ = state;
  ready.read_states = std::exchange(outbox.read_states, {});
  ready.entries.assign(next_entries.begin(), next_entries.end());
  if (const Snapshot* snapshot = log.NextUnstableSnapshot()) ready.snapshot = *snapshot;
  ready.committed_entries = log.NextCommittedEntries();
  ready.messages = std::exchange(outbox.messages, {});

  if (!ready.committed_entries.empty()) {
    log.AcceptApplying(ready.committed_entries.back().index, EncodedSize(ready.committed_entries));
  }
  if (async_storage_writes_) {
    AddStorageMessages(ready);
  } else {
    PrepareAdvance(ready);
  }
  log.AcceptUnstable();
  return ready;
}

void RawNode::AddStorageAppendResponse(const Ready& ready, std::vector<Message>& out) const {
  const RaftLog& log = raft_->log();
  if (!log.HasUnstableEntries() && ready.snapshot.empty()) return;
  // Of this term: once another leader has changed the log, the answer does not say any more what of it is
  // durable, even where index and term agree (an entry may have gone and come back meanwhile).
  Message& response = out.emplace_back();
  response.type = MessageType::kStorageAppendResp;
  response.to = raft_->id();
  response.from = kAppendThread;
  response.term = raft_->term();
  if (log.HasUnstableEntries()) {
    const EntryId last = log.LastEntryId();
    response.log_term = last.term;
    response.index = last.index;
  }
  if (!ready.snapshot.empty()) response.snapshot = ready.snapshot;
}

void RawNode::PrepareAdvance(Ready& ready) {
  advance_pending_ = true;
  for (Message& message : std::exchange(raft_->outbox().messages_after_persist, {})) {
    auto& list = message.to == raft_->id() ? steps_on_advance_ : ready.messages_after_persist;
    list.push_back(std::move(message));
  }
  AddStorageAppendResponse(ready, steps_on_advance_);
  if (!ready.committed_entries.empty()) {
    applied_on_advance_ = Applied{.index = ready.committed_entries.back().index,
                                  .bytes = EncodedSize(ready.committed_entries),
                                  .payload = PayloadSize(ready.committed_entries)};
  }
}

void RawNode::AddStorageMessages(Ready& ready) {
  std::vector<Message> responses = std::exchange(raft_->outbox().messages_after_persist, {});
  if (!ready.entries.empty() || !ready.hard_state.empty() || !ready.snapshot.empty() || !responses.empty()) {
    AddStorageAppendResponse(ready, responses);
    Message& append = ready.messages.emplace_back();
    append.type = MessageType::kStorageAppend;
    append.to = kAppendThread;
    append.from = raft_->id();
    append.term = ready.hard_state.term;
    append.entries = std::exchange(ready.entries, {});
    append.commit = ready.hard_state.commit;
    append.vote = ready.hard_state.vote;
    append.responses = std::move(responses);
    if (!ready.snapshot.empty()) append.snapshot = ready.snapshot;
  }
  if (!ready.committed_entries.empty()) {
    Message& apply = ready.messages.emplace_back();
    apply.type = MessageType::kStorageApply;
    apply.to = kApplyThread;
    apply.from = raft_->id();
    Message& applied = apply.responses.emplace_back();
    applied.type = MessageType::kStorageApplyResp;
    applied.to = raft_->id();
    applied.from = kApplyThread;
    applied.entries = ready.committed_entries;
    apply.entries = std::exchange(ready.committed_entries, {});
  }
}

void RawNode::Advance() {
  KVORUM_CHECK(!async_storage_writes_, "Advance must not be called when using AsyncStorageWrites");
  advance_pending_ = false;
  for (Message& message : std::exchange(steps_on_advance_, {})) {
    // Acknowledgements and votes of the node itself: none is refused.
    raft_->Step(std::move(message)).IgnoreError();
  }
  if (const auto applied = std::exchange(applied_on_advance_, std::nullopt)) {
    raft_->AppliedTo(applied->index, applied->bytes, applied->payload);
  }
}

void RawNode::ReportUnreachable(NodeId id) {
  raft_->Step({.type = MessageType::kUnreachable, .from = id}).IgnoreError();
}

void RawNode::ReportSnapshot(NodeId id, SnapshotResult result) {
  raft_->Step({.type = MessageType::kSnapStatus, .from = id, .reject = result == SnapshotResult::kFailed})
      .IgnoreError();
}

void RawNode::TransferLeader(NodeId transferee) {
  raft_->Step({.type = MessageType::kTransferLeader, .from = transferee}).IgnoreError();
}

absl::Status RawNode::ForgetLeader() { return raft_->Step({.type = MessageType::kForgetLeader}); }

void RawNode::ReadIndex(Bytes context) {
  std::vector<Entry> entries;
  entries.push_back({.data = std::move(context)});
  raft_->Step({.type = MessageType::kReadIndex, .entries = std::move(entries)}).IgnoreError();
}

Status RawNode::GetStatus() const {
  Status status{.id = raft_->id(),
                .hard_state = raft_->hard_state(),
                .soft_state = raft_->soft_state(),
                .applied = raft_->log().applied(),
                .lead_transferee = raft_->lead_transferee(),
                .conf_state = raft_->membership().ToConfState()};
  if (status.soft_state.role == Role::kLeader) status.progress = raft_->membership().progress;
  return status;
}

SoftState RawNode::soft_state() const { return raft_->soft_state(); }
HardState RawNode::hard_state() const { return raft_->hard_state(); }
Term RawNode::term() const { return raft_->term(); }

void RawNode::CheckInvariants() const { raft_->CheckInvariants(); }

}  // namespace kvorum::raft
