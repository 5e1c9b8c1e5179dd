#include "member/raft_loop.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/status.h"
#include "member/errors.h"
#include "raft/errors.h"

namespace kvorum::member {
namespace {

constexpr uint64_t kMaxBatchBytes = uint64_t{1} << 20;
constexpr uint64_t kMaxCommittedBytes = uint64_t{16} << 20;
/// A quarter of what the core lets be handed out and not reported.
constexpr uint64_t kMaxUnreportedBytes = kMaxCommittedBytes / 4;
constexpr uint64_t kMaxUncommittedBytes = uint64_t{256} << 20;
/// What a member without followers keeps of its log in memory; nobody will ask for it.
constexpr uint64_t kLoneLogBytes = uint64_t{16} << 20;

raft::NodeId NodeOf(MemberId id) { return raft::NodeId(id.value()); }

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
  std::unique_ptr<raft::MemoryStorage> log = std::move(setup.log);
  std::unique_ptr<RaftLoop> loop(new RaftLoop(setup.id, options, ports, state, metrics, applier));
  loop->log_ = std::move(log);
  KVORUM_RETURN_IF_ERROR(loop->CreateCore(setup));
  return loop;
}

RaftLoop::RaftLoop(MemberId id, const MemberOptions& options, const Ports& ports, SharedState* state,
                   Metrics* metrics, Applier* applier)
    : id_(id),
      options_(options),
      ports_(ports),
      state_(state),
      metrics_(metrics),
      applier_(applier),
      core_logger_(std::make_unique<CoreLogger>(ports.logger)),
      reads_(metrics, id.value() << 48 | ports.random->Next() >> 16) {}

RaftLoop::~RaftLoop() = default;

absl::Status RaftLoop::CreateCore(const Setup& setup) {
  core_storage_ = std::make_unique<CoreStorage>(log_.get(), setup.conf_state);
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

template <typename Put>
bool RaftLoop::Post(Put put) {
  absl::MutexLock lock(&mutex_);
  if (stopped_) return false;
  put(inbox_);
  PostTurn();
  return true;
}

void RaftLoop::PostTurn() {
  if (turn_posted_) return;
  turn_posted_ = true;
  ports_.raft_executor->Post([this] { Turn(); });
}

void RaftLoop::PostApplied(std::vector<raft::Message> responses) {
  absl::MutexLock lock(&mutex_);
  if (stopped_) return;
  inbox_.applied.push_back(std::move(responses));
  if (applied_wanted_) PostTurn();
}

void RaftLoop::AskForApplied() {
  // A leader that is not held up needs to know what was applied only to forget it.
  const bool wanted = soft_state_.role != raft::Role::kLeader || !proposals_.empty() || reads_.waiting() ||
                      unreported_bytes_ > kMaxUnreportedBytes;
  absl::MutexLock lock(&mutex_);
  applied_wanted_ = wanted;
  if (wanted && !inbox_.applied.empty() && !stopped_) PostTurn();
}

void RaftLoop::Start() {
  Post([this](Inbox& inbox) {
    inbox.calls.push_back([this] {
      ticking_ = true;
      last_tick_ = ports_.clock->Now();
      // A restart in a cluster need not wait a whole election timeout for a leader that is there no more.
      if (options_.initial_election_tick_advance && !conf_state_.voters.empty()) {
        const auto ticks = options_.election_timeout / options_.heartbeat_interval;
        if (!AloneInCharge()) {
          for (int64_t i = 0; i + 1 < ticks; ++i) node_->Tick();
        }
      }
      tick_timer_ = ports_.raft_executor->PostAfter(options_.heartbeat_interval, [this] { OnTick(); });
    });
  });
}

void RaftLoop::Stop(absl::AnyInvocable<void()> done) {
  ports_.raft_executor->Post([this, done = std::move(done)]() mutable {
    Turn();
    Inbox rest;
    {
      absl::MutexLock lock(&mutex_);
      stopped_ = true;
      std::swap(rest, inbox_);
    }
    for (auto& [entry, waiter] : rest.proposals) new_waiters_.push_back(std::move(waiter));
    for (PendingRead& read : rest.reads) reads_.Add(std::move(read));
    if (ticking_) ports_.raft_executor->CancelTimer(tick_timer_);
    ticking_ = false;
    FlushHardState();
    reads_.FailAll(StoppedError());
    applier_->Apply({}, std::exchange(new_waiters_, {}), [] {});
    done();
  });
}

void RaftLoop::Propose(Bytes entry, Waiter waiter) {
  const bool posted = Post([&](Inbox& inbox) {
    metrics_->proposals_pending.Add(1);
    state_->pending_bytes.fetch_add(waiter.bytes, std::memory_order_relaxed);
    inbox.proposals.emplace_back(std::move(entry), std::move(waiter));
  });
  if (posted) return;
  ports_.apply_executor->Post(
      [done = std::move(waiter.done)]() mutable { done({.status = StoppedError()}); });
}

void RaftLoop::Receive(raft::Message message) {
  Post([&message](Inbox& inbox) { inbox.messages.push_back(std::move(message)); });
}

void RaftLoop::Read(MonotonicTime deadline, absl::AnyInvocable<void(absl::Status)> done) {
  PendingRead read{.deadline = deadline, .done = std::move(done), .overdue = TimeoutError()};
  if (Post([&read](Inbox& inbox) { inbox.reads.push_back(std::move(read)); })) return;
  ports_.apply_executor->Post([done = std::move(read.done)]() mutable { done(StoppedError()); });
}

void RaftLoop::WaitApplied(MonotonicTime deadline, absl::AnyInvocable<void(absl::Status)> done) {
  PendingRead read{.deadline = deadline,
                   .done = std::move(done),
                   .wait_for = raft::Index(std::max<uint64_t>(1, state_->committed.load())),
                   .overdue = AppliedWaitTimeoutError()};
  if (Post([&read](Inbox& inbox) { inbox.reads.push_back(std::move(read)); })) return;
  ports_.apply_executor->Post([done = std::move(read.done)]() mutable { done(StoppedError()); });
}

void RaftLoop::ApplyConfChange(raft::ConfChange change) {
  Post([this, &change](Inbox& inbox) {
    inbox.calls.push_back([this, change = std::move(change)] {
      conf_state_ = node_->ApplyConfChange(change);
      ShowState();
    });
  });
}

void RaftLoop::CutMemory(SnapshotPoint point) {
  Post([this, &point](Inbox& inbox) {
    inbox.after_apply.push_back([this, point = std::move(point)] { CutMemoryNow(point); });
  });
}

void RaftLoop::Fail(const absl::Status& status) {
  if (state_->failed.exchange(true)) return;
  KVORUM_LOG(*ports_.logger, kError, "the member cannot go on", {"error", status.ToString()});
  if (ports_.on_fatal) ports_.on_fatal(status);
}

// ---- On the raft executor.

void RaftLoop::Turn() {
  Inbox inbox;
  {
    absl::MutexLock lock(&mutex_);
    turn_posted_ = false;
    if (stopped_) return;
    std::swap(inbox, inbox_);
  }
  if (state_->failed.load(std::memory_order_relaxed)) {
    for (auto& [entry, waiter] : inbox.proposals) new_waiters_.push_back(std::move(waiter));
    return;
  }
  Take(inbox);
  CampaignIfAlone();
  ProposeWaiting();
  if (node_->soft_state().lead != raft::kNoNode) {
    const Bytes context = reads_.Ask(ports_.clock->Now());
    if (!context.is_null()) node_->ReadIndex(context);
  }
  while (node_->HasReady()) HandleReady(node_->GetReady());
  if (!outgoing_.empty() && ports_.transport != nullptr) ports_.transport->Send(std::exchange(outgoing_, {}));
  AskForApplied();
  reads_.OnApplied(raft::Index(state_->applied.load(std::memory_order_acquire)));
}

void RaftLoop::Take(Inbox& inbox) {
  for (Executor::Task& call : inbox.calls) call();
  for (Appended& appended : inbox.appended) {
    for (const raft::Entry& entry : appended.entries) appended_bytes_ += entry.data.size();
    if (!appended.entries.empty()) log_->Append(std::move(appended.entries));
    for (raft::Message& response : appended.responses) Step(std::move(response));
  }
  if (!inbox.applied.empty()) unreported_bytes_ = 0;
  for (std::vector<raft::Message>& responses : inbox.applied) {
    for (raft::Message& response : responses) Step(std::move(response));
  }
  for (Executor::Task& call : inbox.after_apply) call();
  for (raft::Message& message : inbox.messages) Step(std::move(message));
  for (PendingRead& read : inbox.reads) reads_.Add(std::move(read));
  for (auto& [entry, waiter] : inbox.proposals) {
    proposals_.push_back({.entry = std::move(entry), .deadline = waiter.deadline});
    new_waiters_.push_back(std::move(waiter));
  }
}

void RaftLoop::Step(raft::Message message) {
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

void RaftLoop::ProposeWaiting() {
  if (node_->soft_state().lead == raft::kNoNode) return;
  while (!proposals_.empty()) {
    std::vector<Bytes> batch;
    uint64_t bytes = 0;
    for (const Proposal& proposal : proposals_) {
      if (!batch.empty() && bytes + proposal.entry.size() > kMaxBatchBytes) break;
      bytes += proposal.entry.size();
      batch.push_back(proposal.entry);
    }
    const size_t count = batch.size();
    // Refused while too much is uncommitted or leadership is moving: tried again in a later turn.
    if (!node_->ProposeBatch(std::move(batch)).ok()) return;
    proposals_.erase(proposals_.begin(), proposals_.begin() + static_cast<ptrdiff_t>(count));
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

void RaftLoop::HandleReady(raft::Ready ready) {
  if (!ready.hard_state.empty()) hard_state_ = ready.hard_state;
  if (ready.soft_state) OnSoftState(*ready.soft_state);
  ShowState();
  if (!ready.read_states.empty()) reads_.OnAnswer(ready.read_states.back());
  for (raft::Message& message : ready.messages) {
    if (message.to == raft::kAppendThread) {
      Append(std::move(message));
    } else if (message.to == raft::kApplyThread) {
      HandCommitted(std::move(message));
    } else {
      outgoing_.push_back(std::move(message));
    }
  }
}

void RaftLoop::Append(raft::Message message) {
  // A database image comes with a received snapshot, by another way than this.
  KVORUM_CHECK(!message.snapshot.has_value());
  const raft::HardState state{.term = message.term, .vote = message.vote, .commit = message.commit};
  const bool promises = !message.entries.empty() || !message.responses.empty();
  if (!promises) {
    // Nothing waits for the commit index alone to be on disk, so it goes with the next write.
    hard_state_unwritten_ = hard_state_unwritten_ || !state.empty();
    return;
  }
  wal::LogStorage::Write write;
  if (!state.empty()) {
    write.hard_state = state;
  } else if (hard_state_unwritten_) {
    write.hard_state = hard_state_;
  }
  hard_state_unwritten_ = false;
  write.entries = message.entries;
  write.done = [this, entries = std::move(message.entries),
                responses = std::move(message.responses)](absl::Status status) mutable {
    if (!status.ok()) {
      Fail(status);
      return;
    }
    Post([&](Inbox& inbox) { inbox.appended.push_back({std::move(entries), std::move(responses)}); });
  };
  ports_.log->Enqueue(std::move(write));
}

void RaftLoop::FlushHardState() {
  if (!std::exchange(hard_state_unwritten_, false) || state_->failed.load()) return;
  wal::LogStorage::Write write;
  write.hard_state = hard_state_;
  write.done = [this](absl::Status status) {
    if (!status.ok()) Fail(status);
  };
  ports_.log->Enqueue(std::move(write));
}

void RaftLoop::HandCommitted(raft::Message message) {
  for (const raft::Entry& entry : message.entries) unreported_bytes_ += raft::EncodedSize(entry);
  auto applied = [this, responses = std::move(message.responses)]() mutable {
    PostApplied(std::move(responses));
  };
  applier_->Apply(std::move(message.entries), std::exchange(new_waiters_, {}), std::move(applied));
}

void RaftLoop::OnSoftState(const raft::SoftState& now) {
  const raft::SoftState before = std::exchange(soft_state_, now);
  const bool leads = now.role == raft::Role::kLeader;
  if (before.role == raft::Role::kLeader && !leads) applier_->OnLeadershipLost();
  LogLeader(before.lead, now.lead);
  if (now.lead == raft::kNoNode || now.lead == before.lead) return;
  metrics_->leader_changes.Add();
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
  state_->lone_leader_term.store(leads && AloneInCharge() ? term : 0, std::memory_order_release);
  state_->role.store(soft.role, std::memory_order_release);
  state_->leader.store(soft.lead.value(), std::memory_order_release);
  state_->term.store(term, std::memory_order_release);
  state_->vote.store(hard_state_.vote.value(), std::memory_order_relaxed);
  state_->committed.store(hard_state_.commit.value(), std::memory_order_release);
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
  node_->Tick();
  FlushHardState();
  std::erase_if(proposals_, [now](const Proposal& proposal) { return proposal.deadline <= now; });
  reads_.OnTick(now);
  // The applier tells those whose time is over, and must know of them.
  if (!new_waiters_.empty()) applier_->Apply({}, std::exchange(new_waiters_, {}), [] {});
  Turn();
}

// ---- Snapshots and the log in memory.

void RaftLoop::CutMemoryNow(const SnapshotPoint& point) {
  absl::StatusOr<raft::Snapshot> snapshot = log_->CreateSnapshot(point.index, &point.conf_state, point.data);
  KVORUM_CHECK(snapshot.ok() || raft::ErrorCode(snapshot.status()) == raft::Error::kSnapshotOutOfDate, "{}",
               snapshot.status().ToString());
  marks_.push_back({.index = point.index, .bytes = appended_bytes_});
  CompactLog(point.index);
}

void RaftLoop::CompactLog(raft::Index applied) {
  const uint64_t keep = options_.snapshot_catchup_entries;
  uint64_t cut = applied.value() > keep ? applied.value() - keep : 0;
  const bool has_followers = HasFollowers();
  while (!marks_.empty() && (marks_.front().index.value() <= cut ||
                             (!has_followers && appended_bytes_ - marks_.front().bytes > kLoneLogBytes))) {
    cut = std::max(cut, marks_.front().index.value());
    marks_.pop_front();
  }
  if (cut < log_->FirstIndex().value()) return;
  const absl::Status status = log_->Compact(raft::Index(cut));
  KVORUM_CHECK(status.ok(), "{}", status.ToString());
}

void RaftLoop::SaveSnapshot(SnapshotPoint point, absl::AnyInvocable<void()> done) {
  auto save = [this, point = std::move(point), done = std::move(done)]() mutable {
    raft::Snapshot snapshot{.data = std::move(point.data)};
    snapshot.metadata = {.conf_state = std::move(point.conf_state), .index = point.index, .term = point.term};
    raft::SnapshotMetadata metadata = snapshot.metadata;
    ports_.snapshots->Save(std::move(snapshot), [this, metadata = std::move(metadata),
                                                 done = std::move(done)](absl::Status status) mutable {
      if (!status.ok()) {
        Fail(status);
        return;
      }
      Post([&](Inbox& inbox) {
        inbox.calls.push_back([this, metadata = std::move(metadata), done = std::move(done)]() mutable {
          WriteSnapshotRecord(std::move(metadata), std::move(done));
        });
      });
    });
  };
  Post([&save](Inbox& inbox) { inbox.calls.push_back(std::move(save)); });
}

void RaftLoop::WriteSnapshotRecord(raft::SnapshotMetadata metadata, absl::AnyInvocable<void()> done) {
  wal::LogStorage::Write write;
  // The log vouches for a snapshot only up to its commit index, so that goes along.
  write.hard_state = hard_state_;
  hard_state_unwritten_ = false;
  const raft::Index index = metadata.index;
  write.snapshot = wal::SnapshotRecord{
      .index = index, .term = metadata.term, .conf_state = std::move(metadata.conf_state)};
  write.done = [this, index, done = std::move(done)](absl::Status status) mutable {
    if (!status.ok()) {
      Fail(status);
      return;
    }
    Post([&](Inbox& inbox) {
      inbox.calls.push_back([this, index, done = std::move(done)]() mutable {
        ports_.log->ReleaseTo(index);
        done();
      });
    });
  };
  ports_.log->Enqueue(std::move(write));
}

}  // namespace kvorum::member
