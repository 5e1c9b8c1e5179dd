#include "member/raft_loop.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/check.h"
#include "base/status.h"
#include "member/errors.h"
#include "raft/codec.h"
#include "raft/raft.h"

namespace kvorum::member {
namespace {

constexpr uint64_t kMaxBatchBytes = uint64_t{1} << 20;
constexpr uint64_t kMaxCommittedBytes = uint64_t{16} << 20;
/// A quarter of what the core lets be handed out and not reported.
constexpr uint64_t kMaxUnreportedBytes = kMaxCommittedBytes / 4;
constexpr uint64_t kMaxUncommittedBytes = uint64_t{256} << 20;
/// Messages of other members that wait for a turn: beyond this they are dropped, and come again.
constexpr size_t kMaxWaitingMessages = 4096;
constexpr uint64_t kMaxWaitingBytes = uint64_t{256} << 20;
constexpr size_t kMaxConfChanges = 64;
/// So many proposals of a batch take no memory piece by piece.
constexpr size_t kUsualBatch = 256;
/// An empty list of the inbox gives its memory back beyond this many.
constexpr size_t kKeptCapacity = 256;
/// So long is waited for connections before the first election takes its whole time.
constexpr std::chrono::seconds kConnectTime(5);
/// A follower that got a snapshot has so long to ask for what comes next.
constexpr std::chrono::seconds kPinTime(30);

raft::NodeId NodeOf(MemberId id) { return raft::NodeId(id.value()); }

bool Acknowledges(const raft::Message& message) {
  return message.type == raft::MessageType::kAppResp && !message.reject;
}

/// The last acknowledgement to the leader says what the earlier ones say.
void KeepLastAcknowledgement(std::vector<raft::Message>& messages) {
  const auto last = std::find_if(messages.rbegin(), messages.rend(), Acknowledges);
  if (last == messages.rend()) return;
  const auto end = last.base() - 1;
  const auto covered = [to = end->to, term = end->term, index = end->index](const raft::Message& message) {
    return Acknowledges(message) && message.to == to && message.term == term && message.index <= index;
  };
  messages.erase(std::remove_if(messages.begin(), end, covered), end);
}

}  // namespace

class RaftLoop::CoreStorage final : public raft::Storage {
 public:
  CoreStorage(const raft::MemoryStorage* log, std::optional<raft::ConfState> conf_state)
      : log_(log), conf_state_(std::move(conf_state)) {}

  absl::StatusOr<InitialState> GetInitialState() const override {
    absl::StatusOr<InitialState> state = log_->GetInitialState();
    if (state.ok() && conf_state_) state->conf_state = *conf_state_;
    return state;
  }
  absl::StatusOr<std::vector<raft::Entry>> Entries(raft::Index low, raft::Index high,
                                                   uint64_t max_bytes) const override {
    return log_->Entries(low, high, max_bytes);
  }
  absl::StatusOr<raft::Term> GetTerm(raft::Index index) const override { return log_->GetTerm(index); }
  raft::Index LastIndex() const override { return log_->LastIndex(); }
  raft::Index FirstIndex() const override { return log_->FirstIndex(); }
  absl::StatusOr<raft::Snapshot> GetSnapshot() const override { return log_->GetSnapshot(); }

 private:
  const raft::MemoryStorage* const log_;
  const std::optional<raft::ConfState> conf_state_;
};

/// With asynchronous storage writes several answers of the disk name the same last entry, and the core says
/// of each but the first that it knew: news in its scenario files, noise in a server's log.
class RaftLoop::CoreLogger final : public Logger {
 public:
  explicit CoreLogger(Logger* logger) : logger_(logger) {}
  bool Enabled(LogLevel level) const override { return logger_->Enabled(level); }
  void Write(LogLevel level, const char* file, int line, std::string_view message,
             std::initializer_list<LogField> fields) override {
    if (level == LogLevel::kInfo && message.starts_with("entry at ")) {
      level = LogLevel::kDebug;
      if (!logger_->Enabled(level)) return;
    }
    logger_->Write(level, file, line, message, fields);
  }

 private:
  Logger* const logger_;
};

absl::StatusOr<std::unique_ptr<RaftLoop>> RaftLoop::Create(Setup setup, const MemberOptions& options,
                                                           const Ports& ports, SharedState* state,
                                                           Metrics* metrics, Applier* applier) {
  std::unique_ptr<RaftLoop> loop(new RaftLoop(setup, options, ports, state, metrics, applier));
  KVORUM_RETURN_IF_ERROR(loop->CreateCore(setup));
  return loop;
}

RaftLoop::RaftLoop(Setup& setup, const MemberOptions& options, const Ports& ports, SharedState* state,
                   Metrics* metrics, Applier* applier)
    : id_(setup.id),
      options_(options),
      ports_(ports),
      state_(state),
      metrics_(metrics),
      applier_(applier),
      reads_(metrics, id_.value() << 48 | ports.random->Next() >> 16),
      witness_(NodeOf(id_)),
      log_(std::move(setup.log), options.snapshot_catchup_entries),
      core_logger_(std::make_unique<CoreLogger>(ports.logger)),
      last_record_(log_.storage().FirstIndex() - 1) {}

RaftLoop::~RaftLoop() = default;

absl::Status RaftLoop::CreateCore(const Setup& setup) {
  core_storage_ = std::make_unique<CoreStorage>(&log_.storage(), setup.conf_state);
  KVORUM_ASSIGN_OR_RETURN(const raft::Storage::InitialState initial, core_storage_->GetInitialState());
  hard_state_ = initial.hard_state;
  conf_state_ = initial.conf_state;

  raft::Config config;
  config.id = NodeOf(id_);
  config.election_ticks =
      std::max<int>(2, static_cast<int>(options_.election_timeout / options_.heartbeat_interval));
  config.heartbeat_ticks = 1;
  config.storage = core_storage_.get();
  // The commit index on disk may lag behind what was applied: it is not synced on its own.
  config.applied = std::min(setup.applied, initial.hard_state.commit);
  config.max_size_per_message = kMaxBatchBytes;
  config.max_committed_size_per_ready = kMaxCommittedBytes;
  config.max_uncommitted_entries_size = kMaxUncommittedBytes;
  config.check_quorum = true;
  config.pre_vote = options_.pre_vote;
  config.async_storage_writes = true;
  config.random = ports_.random;
  config.logger = core_logger_.get();
  KVORUM_ASSIGN_OR_RETURN(node_, raft::RawNode::Create(config));
  if (setup.bootstrap_members.empty()) return absl::OkStatus();

  std::vector<raft::RawNode::Peer> peers;
  for (const cluster::Member& member : setup.bootstrap_members) {
    peers.push_back({.id = NodeOf(member.id), .context = Bytes::Copy(cluster::ToJson(member))});
    conf_state_.voters.push_back(NodeOf(member.id));
  }
  return node_->Bootstrap(peers);
}

// ---- From any thread.

void RaftLoop::PostTurn() {
  if (turn_posted_) return;
  turn_posted_ = true;
  ports_.raft_executor->Post([this] { Turn(); });
}

void RaftLoop::PostApplied(std::vector<raft::Message> responses) {
  absl::MutexLock lock(&mutex_);
  if (stopped_) return;
  inbox_->applied.push_back(std::move(responses));
  if (applied_wanted_) PostTurn();
}

void RaftLoop::AskForApplied() {
  // A leader that is not held up needs to know what was applied only to forget it.
  const bool wanted = soft_state_.role != raft::Role::kLeader || !proposals_.empty() ||
                      !conf_changes_.empty() || reads_.waiting() || unreported_bytes_ > kMaxUnreportedBytes;
  absl::MutexLock lock(&mutex_);
  applied_wanted_ = wanted;
  if (wanted && !inbox_->applied.empty() && !stopped_) PostTurn();
}

void RaftLoop::Start() {
  Post([this](Inbox& inbox) {
    inbox.calls.push_back([this] {
      ticking_ = true;
      last_tick_ = ports_.clock->Now();
      if (options_.initial_election_tick_advance && ports_.transport != nullptr) {
        advance_until_ = last_tick_ + kConnectTime;
      }
      tick_timer_ = ports_.raft_executor->PostAfter(options_.heartbeat_interval, [this] { OnTick(); });
    });
  });
}

void RaftLoop::Stop(absl::AnyInvocable<void()> done) {
  ports_.raft_executor->Post([this, done = std::move(done)]() mutable {
    Turn();
    auto rest = std::make_unique<Inbox>();
    {
      absl::MutexLock lock(&mutex_);
      stopped_ = true;
      rest.swap(inbox_);
      if (save_watch_ != 0) ports_.apply_executor->CancelTimer(save_watch_);
    }
    for (Executor::Task& call : rest->calls) call();
    ForgetLeaders([](const Proposal&) { return true; });
    for (auto& [entry, waiter] : rest->proposals) TakeWaiter(std::move(waiter));
    for (auto& [message, waiter] : rest->conf_changes) TakeWaiter(std::move(waiter));
    if (ticking_) ports_.raft_executor->CancelTimer(tick_timer_);
    ticking_ = false;
    FlushHardState();
    SaveDue();
    reads_.FailAll(StoppedError());
    applier_->Apply({}, std::exchange(new_waiters_, {}), [] {});
    done();
  });
}

void RaftLoop::Put(Inbox& inbox, Bytes entry, Waiter waiter) {
  metrics_->proposals_pending.Add(1);
  state_->pending_bytes.fetch_add(waiter.bytes, std::memory_order_relaxed);
  inbox.proposals.emplace_back(std::move(entry), std::move(waiter));
}

void RaftLoop::FailStopped(ApplyDone done) {
  ports_.apply_executor->Post([done = std::move(done)]() mutable { done({.status = StoppedError()}); });
}

void RaftLoop::Propose(Bytes entry, Waiter waiter) {
  const bool posted = Post([&](Inbox& inbox) { Put(inbox, std::move(entry), std::move(waiter)); });
  if (!posted) FailStopped(std::move(waiter.done));
}

void RaftLoop::Propose(std::span<std::pair<Bytes, Waiter>> proposals) {
  const bool posted = Post([&](Inbox& inbox) {
    for (auto& [entry, waiter] : proposals) Put(inbox, std::move(entry), std::move(waiter));
  });
  if (posted) return;
  for (auto& [entry, waiter] : proposals) FailStopped(std::move(waiter.done));
}

void RaftLoop::ProposeConfChange(const raft::ConfChange& change, Waiter waiter) {
  raft::Message message{.type = raft::MessageType::kProp, .from = NodeOf(id_)};
  message.entries.push_back(
      {.type = raft::EntryType::kConfChange, .data = Bytes::Copy(raft::Encode(change))});
  const bool posted = Post([&](Inbox& inbox) {
    metrics_->proposals_pending.Add(1);
    inbox.conf_changes.emplace_back(std::move(message), std::move(waiter));
  });
  if (!posted) FailStopped(std::move(waiter.done));
}

void RaftLoop::Receive(raft::Message&& message) {
  if (std::optional<raft::Message> answer = witness_.Answer(message, *state_))
    return Send(std::move(*answer));
  if (message.type == raft::MessageType::kReadIndexResp && message.entries.size() == 1) {
    reads_.OnAnswer({.index = message.index, .context = message.entries[0].data}, Applied());
    return AskForReads();
  }
  const uint64_t bytes = raft::PayloadSize(message.entries);
  Post([&](Inbox& inbox) {
    const bool full =
        inbox.messages.size() >= kMaxWaitingMessages || inbox.message_bytes + bytes > kMaxWaitingBytes;
    if (full && !inbox.messages.empty()) return;
    inbox.message_bytes += bytes;
    inbox.messages.push_back(std::move(message));
  });
}

bool RaftLoop::WithCore(absl::AnyInvocable<void(raft::RawNode&)> call) {
  return Post([this, &call](Inbox& inbox) {
    inbox.calls.push_back([this, call = std::move(call)]() mutable { call(*node_); });
  });
}

void RaftLoop::ReportUnreachable(raft::NodeId id) {
  WithCore([id](raft::RawNode& node) { node.ReportUnreachable(id); });
}

void RaftLoop::ReportSnapshot(raft::NodeId id, bool finished) {
  WithCore([this, id, finished](raft::RawNode& node) {
    using Result = raft::RawNode::SnapshotResult;
    node.ReportSnapshot(id, finished ? Result::kFinished : Result::kFailed);
    if (finished) {
      log_.ArrivedAt(id, ports_.clock->Now() + kPinTime);
    } else {
      log_.Unpin(id);
    }
  });
}

void RaftLoop::Read(MonotonicTime deadline, absl::AnyInvocable<void(absl::Status)> done) {
  PendingRead read{.deadline = deadline, .done = std::move(done), .overdue = TimeoutError()};
  if (!reads_.Add(read)) {
    ports_.apply_executor->Post([done = std::move(read.done)]() mutable { done(StoppedError()); });
  } else {
    AskForReads();
  }
}

void RaftLoop::AskForReads() {
  const raft::NodeId leader(state_->leader.load(std::memory_order_acquire));
  if (ports_.transport == nullptr || leader == raft::kNoNode || leader == NodeOf(id_)) {
    return void(Post([](Inbox&) {}));  // the core's turn
  }
  // The reads of the round began before this, and the term is looked at after: see ReadWitness.
  Bytes context = reads_.Ask(ports_.clock->Now());
  if (context.is_null()) return;
  raft::Message question{.type = raft::MessageType::kReadIndex, .to = leader, .from = NodeOf(id_)};
  question.entries.push_back({.data = std::move(context)});
  ReadWitness::Stamp(question, raft::Term(state_->term.load(std::memory_order_acquire)));
  Send(std::move(question));
}

void RaftLoop::Send(raft::Message message) {
  std::vector<raft::Message> messages;
  messages.push_back(std::move(message));
  ports_.transport->Send(std::move(messages));
}

void RaftLoop::ApplyConfChange(raft::ConfChangeV2 change) {
  WithCore([this, change = std::move(change)](raft::RawNode& node) {
    conf_state_ = node.ApplyConfChange(change);
    ShowState();
  });
}

void RaftLoop::AfterApplied(Executor::Task task) {
  Post([&task](Inbox& inbox) { inbox.after_apply.push_back(std::move(task)); });
}

void RaftLoop::Fail(const absl::Status& status) {
  if (state_->failed.exchange(true)) return;
  KVORUM_LOG(*ports_.logger, kError, "the member cannot go on", {"error", status.ToString()});
  if (ports_.on_fatal) ports_.on_fatal(status);
}

// ---- On the raft executor.

void RaftLoop::Turn() {
  {
    absl::MutexLock lock(&mutex_);
    turn_posted_ = false;
    if (stopped_) return;
    taken_.swap(inbox_);
  }
  if (state_->failed.load(std::memory_order_relaxed)) {
    for (auto& [entry, waiter] : taken_->proposals) TakeWaiter(std::move(waiter));
    for (auto& [message, waiter] : taken_->conf_changes) TakeWaiter(std::move(waiter));
    return taken_->Clear();
  }
  Take();
  CampaignIfAlone();
  ProposeWaiting();
  ProposeConfChanges();
  if (node_->soft_state().lead != raft::kNoNode) {
    const Bytes context = reads_.AskAgain(ports_.clock->Now());
    if (!context.is_null()) node_->ReadIndex(context);
  }
  while (node_->HasReady()) HandleReady(node_->GetReady());
  SendOutgoing();
  AskForApplied();
  reads_.OnApplied(Applied());
  SaveDue();
}

void RaftLoop::Inbox::Clear() {
  const auto clear = [](auto& list) {
    list.clear();
    if (list.capacity() > kKeptCapacity) list.shrink_to_fit();
  };
  clear(proposals);
  clear(conf_changes);
  clear(messages);
  message_bytes = 0;
  clear(appended);
  clear(applied);
  clear(calls);
  clear(after_apply);
}

void RaftLoop::Take() {
  Inbox& inbox = *taken_;
  for (Executor::Task& call : inbox.calls) call();
  for (Appended& appended : inbox.appended) TakeAppended(std::move(appended));
  if (!inbox.applied.empty()) unreported_bytes_ = 0;
  for (std::vector<raft::Message>& responses : inbox.applied) {
    for (raft::Message& response : responses) Step(std::move(response));
  }
  for (Executor::Task& call : inbox.after_apply) call();
  for (raft::Message& message : inbox.messages) TakeMessage(std::move(message));
  // The applier took the memory of the last ones.
  if (new_waiters_.empty()) new_waiters_.reserve(inbox.proposals.size());
  for (auto& [entry, waiter] : inbox.proposals) {
    Proposal& proposal =
        proposals_.emplace_back(Proposal{.entry = std::move(entry), .deadline = waiter.deadline});
    if (waiter.as_leader) {
      proposal.as_leader = std::make_unique<Waiter>(std::move(waiter));
    } else {
      TakeWaiter(std::move(waiter));
    }
  }
  for (auto& [message, waiter] : inbox.conf_changes) {
    conf_changes_.push_back({.message = std::move(message), .deadline = waiter.deadline});
    TakeWaiter(std::move(waiter));
  }
  inbox.Clear();
}

void RaftLoop::TakeWaiter(Waiter&& waiter) {
  if (waiter.done) new_waiters_.push_back(std::move(waiter));  // else WatchSave took it
}

void RaftLoop::TakeMessage(raft::Message&& message) {
  const bool changes_conf = message.type == raft::MessageType::kProp && message.entries.size() == 1 &&
                            message.entries[0].type != raft::EntryType::kNormal;
  if (!changes_conf || soft_state_.role != raft::Role::kLeader) return Step(std::move(message));
  // Where another change is under way the core would drop it.
  if (conf_changes_.size() >= kMaxConfChanges) return;
  conf_changes_.push_back(
      {.message = std::move(message), .deadline = ports_.clock->Now() + options_.request_timeout()});
}

void RaftLoop::Step(raft::Message&& message) {
  // A response to this node goes to the core, one to another node leaves now that the disk has its promise.
  if (message.to != NodeOf(id_)) {
    outgoing_.push_back(std::move(message));
    return;
  }
  const absl::Status status = node_->Step(std::move(message));
  // Everything that a message can be refused for is a matter of its sender.
  if (!status.ok()) {
    KVORUM_LOG(*ports_.logger, kDebug, "dropped a raft message", {"error", status.ToString()});
  }
}

void RaftLoop::ForgetLeaders(absl::FunctionRef<bool(const Proposal&)> which) {
  std::erase_if(proposals_, [this, which](Proposal& proposal) {
    if (!proposal.as_leader || !which(proposal)) return false;
    proposal.as_leader->deadline = MonotonicTime::min();
    new_waiters_.push_back(std::move(*proposal.as_leader));
    return true;
  });
}

void RaftLoop::ProposeWaiting() {
  if (proposals_.empty()) return;
  // What a leader found is not handed on to its successor, who may know better.
  if (node_->soft_state().role != raft::Role::kLeader) ForgetLeaders([](const Proposal&) { return true; });
  if (node_->soft_state().lead == raft::kNoNode) return;
  while (!proposals_.empty()) {
    std::vector<Bytes> batch;
    batch.reserve(std::min(proposals_.size(), kUsualBatch));
    uint64_t bytes = 0;
    for (const Proposal& proposal : proposals_) {
      if (!batch.empty() && bytes + proposal.entry.size() > kMaxBatchBytes) break;
      bytes += proposal.entry.size();
      batch.push_back(proposal.entry);
    }
    const size_t count = batch.size();
    // Refused while too much is uncommitted or leadership is moving: tried again in a later turn.
    if (!node_->ProposeBatch(std::move(batch)).ok()) return;
    for (size_t i = 0; i < count; ++i) {
      if (proposals_.front().as_leader) new_waiters_.push_back(std::move(*proposals_.front().as_leader));
      proposals_.pop_front();
    }
  }
}

void RaftLoop::ProposeConfChanges() {
  while (!conf_changes_.empty() && node_->soft_state().lead != raft::kNoNode) {
    const bool leads = node_->soft_state().role == raft::Role::kLeader;
    if (leads && !node_->raft().MayChangeMembership()) return;
    raft::Message message = conf_changes_.front().message;
    if (!node_->Step(std::move(message)).ok()) return;
    conf_changes_.pop_front();
  }
}

bool RaftLoop::AloneInCharge() const {
  return conf_state_.voters.size() == 1 && conf_state_.voters[0] == NodeOf(id_) &&
         conf_state_.voters_outgoing.empty();
}

bool RaftLoop::HasFollowers() const { return conf_state_.voters.size() + conf_state_.learners.size() > 1; }

void RaftLoop::CampaignIfAlone() {
  // The only voter need not wait for anybody. While conf changes are unapplied the core refuses, and the turn
  // that brings them asks again.
  const raft::SoftState now = node_->soft_state();
  if (!ticking_ || now.role != raft::Role::kFollower || now.lead != raft::kNoNode || !AloneInCharge()) return;
  if (state_->applied.load() < node_->hard_state().commit.value()) return;
  if (const absl::Status status = node_->Campaign(); !status.ok()) {
    KVORUM_LOG(*ports_.logger, kDebug, "cannot campaign", {"error", status.ToString()});
  }
}

void RaftLoop::HandleReady(raft::Ready&& ready) {
  if (!ready.hard_state.empty()) hard_state_ = ready.hard_state;
  if (ready.soft_state) OnSoftState(*ready.soft_state);
  if (!ready.snapshot.empty()) conf_state_ = ready.snapshot.metadata.conf_state;
  ShowState();
  if (!ready.read_states.empty()) reads_.OnAnswer(ready.read_states.back(), Applied());
  std::vector<raft::Message>& messages = ready.messages;
  auto rest = messages.begin();
  for (raft::Message& message : messages) {
    if (HandOut(message)) continue;
    if (&message != &*rest) *rest = std::move(message);
    ++rest;
  }
  messages.erase(rest, messages.end());
  if (outgoing_.empty()) return outgoing_.swap(messages);
  std::move(messages.begin(), messages.end(), std::back_inserter(outgoing_));
}

bool RaftLoop::HandOut(raft::Message& message) {
  if (message.to == raft::kAppendThread) {
    Append(std::move(message));
  } else if (message.to == raft::kApplyThread) {
    HandCommitted(std::move(message));
  } else if (message.type == raft::MessageType::kSnap) {
    // What the applier has by the time it comes to it, and everything that is committed from now on.
    log_.Pin(message.to, raft::Index(state_->applied.load(std::memory_order_acquire)));
    applier_->SendSnapshot(std::move(message));
  } else {
    return false;
  }
  return true;
}

void RaftLoop::SendOutgoing() {
  if (outgoing_.empty()) return;
  std::vector<raft::Message> messages = std::exchange(outgoing_, {});
  if (ports_.transport == nullptr) return;
  KeepLastAcknowledgement(messages);
  for (raft::Message& message : messages) {
    if (message.type == raft::MessageType::kReadIndex) ReadWitness::Stamp(message, node_->term());
  }
  ports_.transport->Send(std::move(messages));
}

void RaftLoop::HandCommitted(raft::Message&& message) {
  for (const raft::Entry& entry : message.entries) unreported_bytes_ += raft::EncodedSize(entry);
  auto applied = [this, responses = std::move(message.responses)]() mutable {
    PostApplied(std::move(responses));
  };
  applier_->Apply(std::move(message.entries), std::exchange(new_waiters_, {}), std::move(applied));
}

void RaftLoop::OnSoftState(const raft::SoftState& now) {
  const raft::SoftState before = std::exchange(soft_state_, now);
  const bool leads = now.role == raft::Role::kLeader;
  if (before.role == raft::Role::kLeader && !leads) {
    applier_->OnLeadershipLost();
    log_.UnpinAll();
  }
  LogLeader(before.lead, now.lead);
  if (now.lead == raft::kNoNode || now.lead == before.lead) return;
  metrics_->leader_changes.Add();
  state_->leader_since.store(ports_.clock->WallNow().time_since_epoch().count(), std::memory_order_release);
  if (leads) {
    state_->elected_at.store(ports_.clock->Now().time_since_epoch().count(), std::memory_order_release);
  }
  reads_.OnLeaderChange();
}

void RaftLoop::LogLeader(raft::NodeId before, raft::NodeId now) const {
  if (before == now) return;
  const raft::Term term = node_->term();
  std::string line;
  if (now == raft::kNoNode) {
    line = fmt::format("raft.node: {:x} lost leader {:x} at term {}", id_.value(), before.value(), term);
  } else if (before == raft::kNoNode) {
    line = fmt::format("raft.node: {:x} elected leader {:x} at term {}", id_.value(), now.value(), term);
  } else {
    line = fmt::format("raft.node: {:x} changed leader from {:x} to {:x} at term {}", id_.value(),
                       before.value(), now.value(), term);
  }
  KVORUM_LOG(*ports_.logger, kInfo, line);
}

void RaftLoop::ShowState() {
  const raft::SoftState soft = node_->soft_state();
  const uint64_t term = node_->term().value();
  const bool leads = soft.role == raft::Role::kLeader;
  const uint64_t lone = leads && AloneInCharge() && !HasFollowers() ? term : 0;
  if (lone != 0 && lone != state_->lone_leader_term.load(std::memory_order_relaxed)) {
    state_->lone_from.store(node_->hard_state().commit.value(), std::memory_order_release);
  }
  state_->lone_leader_term.store(lone, std::memory_order_release);
  state_->role.store(soft.role, std::memory_order_release);
  state_->leader.store(soft.lead.value(), std::memory_order_release);
  state_->term.store(term, std::memory_order_release);
  state_->vote.store(hard_state_.vote.value(), std::memory_order_relaxed);
  state_->committed.store(hard_state_.commit.value(), std::memory_order_release);
  witness_.Show(leads ? term : 0, conf_state_);
}

void RaftLoop::OnTick() {
  if (!ticking_) return;
  const MonotonicTime now = ports_.clock->Now();
  const auto late = now - std::exchange(last_tick_, now) - options_.heartbeat_interval;
  if (late > options_.heartbeat_interval && HasFollowers() && soft_state_.role == raft::Role::kLeader) {
    metrics_->heartbeat_send_failures.Add();
    KVORUM_LOG(*ports_.logger, kWarn,
               "leader failed to send out heartbeat on time; took too long, leader is overloaded",
               {"heartbeat-interval", options_.heartbeat_interval}, {"exceeded-duration", late});
  }
  tick_timer_ = ports_.raft_executor->PostAt(now + options_.heartbeat_interval, [this] { OnTick(); });
  if (state_->failed.load(std::memory_order_relaxed)) return;
  AdvanceFirstElection();
  node_->Tick();
  FlushHardState();
  std::erase_if(conf_changes_, [now](const HeldConfChange& change) { return change.deadline <= now; });
  ForgetLeaders([now](const Proposal& proposal) { return proposal.deadline <= now; });
  std::erase_if(proposals_, [now](const Proposal& proposal) { return proposal.deadline <= now; });
  reads_.OnTick(now);
  // The applier tells those whose time is over, and must know of them.
  if (!new_waiters_.empty()) applier_->Apply({}, std::exchange(new_waiters_, {}), [] {});
  Turn();
}

/// A member that starts need not wait a whole election timeout for a leader that is there no more: once it
/// can reach a quorum, a leader that is there has two ticks to be heard.
void RaftLoop::AdvanceFirstElection() {
  if (!advance_until_) return;
  if (*advance_until_ <= ports_.clock->Now() || soft_state_.lead != raft::kNoNode) {
    advance_until_.reset();
    return;
  }
  const std::vector<raft::NodeId>& voters = conf_state_.voters;
  const auto reached = std::count_if(voters.begin(), voters.end(), [this](raft::NodeId id) {
    return id == NodeOf(id_) || ports_.transport->ActiveSince(id).has_value();
  });
  if (voters.empty() || static_cast<size_t>(reached) <= voters.size() / 2) return;
  advance_until_.reset();
  const auto ticks = options_.election_timeout / options_.heartbeat_interval;
  for (int64_t i = 0; i + 2 < ticks; ++i) node_->Tick();
}

}  // namespace kvorum::member
