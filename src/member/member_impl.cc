#include "member/member_impl.h"

#include <utility>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/planted_bug.h"
#include "base/status.h"
#include "base/version.h"
#include "base/wire.h"
#include "fmt/format.h"
#include "member/errors.h"

namespace kvorum::member {
namespace {

using backend::Bucket;

constexpr std::chrono::seconds kRemovedDelay(1);
constexpr size_t kCatchUpRecords = 1000;

int64_t MinTtlSeconds(const MemberOptions& options) {
  const int64_t ticks = options.election_timeout / options.heartbeat_interval;
  const std::chrono::nanoseconds min = 3 * ticks / 2 * options.heartbeat_interval;
  return std::chrono::ceil<std::chrono::seconds>(min).count();
}

bool IsSkipped(Bucket bucket, std::string_view key) {
  return bucket == Bucket::kMeta && (key == "term" || key == "consistent_index" || key == "storageVersion");
}

absl::StatusOr<uint32_t> HashBackend(backend::Backend& backend) {
  uint32_t crc = 0;
  const std::unique_ptr<backend::ReadView> view = backend.NewReadView();
  for (size_t i = 0; i < backend::kBucketCount; ++i) {
    const auto bucket = static_cast<Bucket>(i);
    crc = Crc32c(crc, BucketName(bucket));
    KVORUM_RETURN_IF_ERROR(view->Scan(bucket, {}, {}, [&](std::string_view key, std::string_view value) {
      if (!IsSkipped(bucket, key)) crc = Crc32c(Crc32c(crc, key), value);
      return true;
    }));
  }
  return crc;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Member>> Member::Create(MemberOptions options, const Ports& ports,
                                                       StartState start) {
  auto member = std::make_unique<MemberImpl>(std::move(options), ports, start.id, start.cluster_id);
  KVORUM_RETURN_IF_ERROR(member->Open(std::move(start)));
  return std::unique_ptr<Member>(std::move(member));
}

MemberImpl::MemberImpl(MemberOptions options, const Ports& ports, MemberId id, ClusterId cluster_id)
    : options_(std::move(options)),
      ports_(ports),
      state_(std::make_shared<SharedState>()),
      metrics_(ports.metrics, id, state_, Quota::Effective(options_.quota_bytes)),
      cluster_(id, cluster_id, ports.backend, options_.max_learners),
      alarms_(ports.backend),
      proposer_(id, options_, ports_, state_.get(), &metrics_),
      changes_(&cluster_, &proposer_, state_.get(), &metrics_, options_, ports_),
      quota_(options_.quota_bytes, id, ports.backend, &alarms_, [this] { RaiseNoSpace(); }) {}

MemberImpl::~MemberImpl() = default;

absl::Status MemberImpl::Open(StartState start) {
  KVORUM_RETURN_IF_ERROR(OpenMembership(start));
  KVORUM_RETURN_IF_ERROR(OpenState());
  KVORUM_RETURN_IF_ERROR(OpenLoop(std::move(start)));
  return absl::OkStatus();
}

absl::Status MemberImpl::OpenMembership(const StartState& start) {
  KVORUM_RETURN_IF_ERROR(cluster_.Load());
  KVORUM_ASSIGN_OR_RETURN(const raft::Snapshot snapshot, start.log->GetSnapshot());
  const raft::Index applied(ports_.backend->applied().index);
  if (!snapshot.empty()) {
    const std::optional<cluster::Roster> roster = v2_tree_.Recover(snapshot, cluster_, *ports_.logger);
    const bool just_installed = snapshot.metadata.index == applied;
    if (just_installed && roster) cluster_.Restore(*roster);
  }
  KVORUM_RETURN_IF_ERROR(CheckStart(start));
  // The v2 store is in no database: it follows what the others have already.
  return v2_tree_.Replay(*start.log, applied);
}

absl::Status MemberImpl::CheckStart(const StartState& start) const {
  const uint64_t applied = ports_.backend->applied().index;
  const uint64_t last = start.log->LastIndex().value();
  const uint64_t snapshot = start.log->FirstIndex().value() - 1;
  if (applied > last) {
    return absl::DataLossError(
        fmt::format("the database has the log up to index {}, but the log ends at {}", applied, last));
  }
  if (applied < snapshot) {
    return absl::DataLossError(fmt::format(
        "the database (index {}) does not match with the snapshot (index {})", applied, snapshot));
  }
  if (cluster_.IsRemoved(start.id)) {
    return RemovedError();
  }
  if (applied > 0 && !cluster_.members().empty() && !cluster_.Find(start.id)) {
    return absl::DataLossError(
        fmt::format("the database knows no member {:x}, whose log this is", start.id.value()));
  }
  if (applied == last) return absl::OkStatus();
  KVORUM_ASSIGN_OR_RETURN(
      const std::vector<raft::Entry> entries,
      start.log->Entries(raft::Index(applied + 1), raft::Index(last + 1), raft::kNoLimit));
  for (const raft::Entry& entry : entries) KVORUM_RETURN_IF_ERROR(EntryApplier::CheckAppliable(entry));
  return absl::OkStatus();
}

absl::Status MemberImpl::OpenState() {
  KVORUM_RETURN_IF_ERROR(alarms_.Load());
  for (const Alarm& alarm : alarms_.List(AlarmType::kNone)) metrics_.SetAlarm(alarm, true);
  metrics_.SetLearner(cluster_.IsLocalLearner());
  if (const std::string version = cluster_.version(); !version.empty()) metrics_.SetClusterVersion(version);

  KVORUM_ASSIGN_OR_RETURN(lessor_, lease::Lessor::Open({.backend = ports_.backend,
                                                        .clock = ports_.clock,
                                                        .min_ttl_seconds = MinTtlSeconds(options_),
                                                        .logger = ports_.logger,
                                                        .metrics = ports_.metrics}));
  KVORUM_ASSIGN_OR_RETURN(store_, mvcc::Store::Open({.backend = ports_.backend,
                                                     .leases = &leases_,
                                                     .logger = ports_.logger,
                                                     .metrics = ports_.metrics,
                                                     .clock = ports_.clock}));
  store_->watch_hub().SetBehindCallback(
      [this] { ports_.background_executor->Post([this] { CatchUpWatchers(); }); });
  return absl::OkStatus();
}

absl::Status MemberImpl::OpenLoop(StartState start) {
  const uint64_t applied = ports_.backend->applied().index;
  state_->applied.store(applied);
  state_->applied_term.store(ports_.backend->applied().term);
  compactor_ = std::make_unique<Compactor>(store_.get(), options_, ports_);
  entries_ =
      std::make_unique<EntryApplier>(EntryApplier::Parts{.store = store_.get(),
                                                         .leases = &leases_,
                                                         .lessor = lessor_.get(),
                                                         .cluster = &cluster_,
                                                         .alarms = &alarms_,
                                                         .quota = &quota_,
                                                         .backend = ports_.backend,
                                                         .metrics = &metrics_,
                                                         .logger = ports_.logger,
                                                         .on_compaction = [this] { compactor_->Run(); }});
  // What the database has applied includes every conf change up to there.
  std::optional<raft::ConfState> conf_state;
  if (applied > 0 && !IsPlanted(PlantedBug::kConfChangeForgotten)) {
    KVORUM_ASSIGN_OR_RETURN(conf_state, AppliedConfState(*ports_.backend, cluster_));
  }
  membership_ = std::make_unique<MembershipApplier>(
      MembershipApplier::Parts{
          .cluster = &cluster_,
          .metrics = &metrics_,
          .on_removed = [this] { ports_.apply_executor->PostAfter(kRemovedDelay, [this] { OnRemoved(); }); }},
      conf_state.value_or(raft::ConfState{}), ports_);
  AddPeers(start);
  installer_ = std::make_unique<SnapshotInstaller>(SnapshotInstaller::Parts{.store = store_.get(),
                                                                            .lessor = lessor_.get(),
                                                                            .cluster = &cluster_,
                                                                            .alarms = &alarms_,
                                                                            .membership = membership_.get(),
                                                                            .v2 = &v2_tree_,
                                                                            .compactor = compactor_.get(),
                                                                            .state = state_.get(),
                                                                            .metrics = &metrics_},
                                                   ports_);
  Applier::Parts parts;
  parts.store = store_.get();
  parts.lessor = lessor_.get();
  parts.cluster = &cluster_;
  parts.alarms = &alarms_;
  parts.entries = entries_.get();
  parts.compactor = compactor_.get();
  parts.state = state_.get();
  parts.metrics = &metrics_;
  parts.snapshot_index = start.log->FirstIndex() - 1;
  parts.on_leading = [this] { version_keeper_.OnLeading(); };
  parts.membership = membership_.get();
  parts.v2 = &v2_tree_;
  parts.v2_gate = &v2_gate_;
  parts.installer = installer_.get();
  applier_ = std::make_unique<Applier>(parts, options_, ports_);

  RaftLoop::Setup setup;
  setup.id = start.id;
  setup.log = std::move(start.log);
  setup.applied = raft::Index(applied);
  setup.conf_state = std::move(conf_state);
  setup.bootstrap_members = std::move(start.bootstrap_members);
  KVORUM_ASSIGN_OR_RETURN(
      loop_, RaftLoop::Create(std::move(setup), options_, ports_, state_.get(), &metrics_, applier_.get()));
  applier_->Connect(loop_.get());
  proposer_.Connect(loop_.get());
  changes_.Connect(loop_.get());
  lease_keeper_ = std::make_unique<LeaseKeeper>(lessor_.get(), &cluster_, &proposer_, &metrics_, ports_);
  lease_requests_ = std::make_unique<LeaseRequests>(this, lessor_.get(), ports_);
  return absl::OkStatus();
}

void MemberImpl::AddPeers(const StartState& start) {
  if (ports_.transport == nullptr) return;
  for (const auto& members : {cluster_.members(), start.bootstrap_members, start.known_members}) {
    for (const cluster::Member& member : members) {
      if (member.id == id() || cluster_.IsRemoved(member.id)) continue;
      ports_.transport->AddPeer(raft::NodeId(member.id.value()), member.peer_urls);
    }
  }
}

// ---- Life.

void MemberImpl::Start(absl::AnyInvocable<void()> ready) {
  const std::string version = cluster_.version();
  KVORUM_LOG(*ports_.logger, kInfo, "starting etcd server", LogField::Id("local-member-id", id().value()),
             {"local-server-version", kApiVersion}, LogField::Id("cluster-id", cluster_id().value()),
             {"cluster-version", version.empty() ? "to_be_decided" : version.substr(0, version.rfind('.'))});
  applier_->Start();
  ports_.apply_executor->Post([this, ready = std::move(ready)]() mutable {
    const bool has_data = ports_.backend->applied().index > 0;
    if (!options_.initial_corrupt_check || !has_data) return Run(std::move(ready));
    corruption_checker_.CheckInitially([this, ready = std::move(ready)](const absl::Status& status) mutable {
      status.ok() ? Run(std::move(ready)) : loop_->Fail(status);
    });
  });
}

void MemberImpl::Run(absl::AnyInvocable<void()> ready) {
  if (stopped_.load()) return;
  lease_keeper_->Start();
  v2_gate_.Start();
  v2_expirer_.Start();
  version_keeper_.Start();
  corruption_checker_.Start();
  publisher_.Start([this, ready = std::move(ready)]() mutable {
    ready_.store(true, std::memory_order_release);
    if (ready) ready();
  });
  loop_->Start();
}

void MemberImpl::Stop(absl::AnyInvocable<void()> done) {
  stopped_.store(true);
  lease_requests_->Stop();
  loop_->Stop([this, done = std::move(done)]() mutable {
    applier_->Stop([this, done = std::move(done)]() mutable {
      lease_keeper_->Stop();
      v2_expirer_.Stop();
      v2_gate_.Stop();
      version_keeper_.Stop();
      changes_.Stop();
      corruption_checker_.Stop();
      publisher_.Stop();
      lessor_->Demote();
      done();
    });
  });
}

MemberStatus MemberImpl::status() const {
  MemberStatus status;
  status.leader = MemberId(state_->leader.load(std::memory_order_acquire));
  status.leader_since =
      WallTime(std::chrono::nanoseconds(state_->leader_since.load(std::memory_order_acquire)));
  status.term = state_->term.load(std::memory_order_acquire);
  status.applied_index = state_->applied.load(std::memory_order_acquire);
  status.applied_term = state_->applied_term.load(std::memory_order_relaxed);
  status.committed_index = std::max(state_->committed.load(std::memory_order_acquire), status.applied_index);
  status.role = state_->role.load(std::memory_order_acquire);
  status.is_leader = status.role == raft::Role::kLeader;
  status.is_learner = cluster_.IsLocalLearner();
  status.ready = ready_.load(std::memory_order_acquire);
  status.vote = state_->vote.load(std::memory_order_relaxed);
  const std::optional<MonotonicTime> write = loop_->OldestWrite();
  status.disk_stalled = write && ports_.clock->Now() - *write > 2 * options_.election_timeout;
  return status;
}

// ---- Requests.

void MemberImpl::Propose(RequestId id, Bytes entry, MonotonicTime deadline, ApplyDone done) {
  proposer_.Propose(id, std::move(entry), deadline, std::move(done));
}

Member::V2Outcome Member::OutcomeOf(ApplyResult result) {
  if (!result.status.ok()) return {.status = std::move(result.status), .result = {}};
  KVORUM_CHECK(result.v2 != nullptr);
  return {.status = absl::OkStatus(),
          .result = std::move(result.v2->result),
          .raft_index = result.v2->raft_index,
          .raft_term = result.v2->raft_term};
}

void Member::ProposeV2(v2store::RequestView request, MonotonicTime deadline,
                       absl::AnyInvocable<void(V2Outcome)> done) {
  const RequestId id = NextRequestId();
  request.id = id.value();
  V2Write write{
      .id = id,
      .entry = v2store::Encode(request),
      .deadline = deadline,
      .done = [done = std::move(done)](ApplyResult result) mutable { done(OutcomeOf(std::move(result))); }};
  ProposeV2(std::span(&write, 1));
}

void MemberImpl::ProposeV2(std::span<V2Write> writes) { proposer_.ProposeV2(v2_gate_.Check(), writes); }

bool MemberImpl::ConfirmRead(MonotonicTime deadline, absl::AnyInvocable<void(absl::Status)>* done) {
  if (state_->ReadsAreConfirmed()) return true;
  deadline = std::min(deadline, ports_.clock->Now() + options_.request_timeout());
  loop_->Read(deadline, std::move(*done));
  return false;
}

absl::Status MemberImpl::CheckQuota(int64_t cost_bytes) {
  return quota_.Fits(cost_bytes) ? absl::OkStatus() : NoSpaceError();
}

void MemberImpl::RaiseNoSpace() {
  KVORUM_LOG(*ports_.logger, kWarn, "database space exceeded", {"quota-bytes", quota_.limit_bytes()},
             {"database-bytes", ports_.backend->sizes().total_bytes});
  std::string request;
  wire::AppendUint(request, 1, 1);  // ACTIVATE
  wire::AppendUint(request, 2, id().value());
  wire::AppendUint(request, 3, static_cast<uint64_t>(AlarmType::kNoSpace));
  proposer_.ProposeInternal(RequestKind::kAlarm, request, [this](ApplyResult) { quota_.RaiseEnded(); });
}

void MemberImpl::WaitCompacted(int64_t revision, absl::AnyInvocable<void(absl::Status)> done) {
  ports_.apply_executor->Post(
      [this, revision, done = std::move(done)]() mutable { compactor_->Wait(revision, std::move(done)); });
}

void MemberImpl::Defragment(absl::AnyInvocable<void(absl::Status)> done) {
  ports_.backend->Defragment(std::move(done));
}

void MemberImpl::HashKv(int64_t revision, absl::AnyInvocable<void(absl::StatusOr<mvcc::HashResult>)> done) {
  ports_.background_executor->Post(
      [this, revision, done = std::move(done)]() mutable { done(store_->Hash(revision)); });
}

void MemberImpl::HashDatabase(absl::AnyInvocable<void(absl::StatusOr<uint32_t>)> done) {
  ports_.background_executor->Post([this, done = std::move(done)]() mutable {
    const MonotonicTime start = ports_.clock->Now();
    absl::StatusOr<uint32_t> hash = HashBackend(*ports_.backend);
    metrics_.hash_duration.Observe(ports_.clock->Now() - start);
    done(std::move(hash));
  });
}

void MemberImpl::ReadDatabase(absl::AnyInvocable<void(absl::StatusOr<DatabaseView>)> done) {
  if (stopped_.load()) return done(StoppedError());
  ports_.backend->Commit([this, done = std::move(done)](absl::Status status) mutable {
    if (!status.ok()) return done(std::move(status));
    // Where entries are applied none is half applied, so view and position belong together.
    ports_.apply_executor->Post([this, done = std::move(done)]() mutable {
      if (stopped_.load()) return done(StoppedError());
      done(DatabaseView{.view = ports_.backend->NewReadView(), .position = ports_.backend->applied()});
    });
  });
}

void MemberImpl::CatchUpWatchers() {
  if (stopped_.load()) return;
  if (!store_->watch_hub().CatchUpStep(kCatchUpRecords)) return;
  ports_.background_executor->Post([this] { CatchUpWatchers(); });
}

// ---- Peers.

void MemberImpl::Receive(raft::Message message) {
  // The database comes with a snapshot, so it is taken over by another way than a message alone.
  if (message.type == raft::MessageType::kSnap) return;
  if (!IsFromRemoved(message)) loop_->Receive(std::move(message));
}

bool MemberImpl::IsFromRemoved(const raft::Message& message) const {
  if (!cluster_.IsRemoved(MemberId(message.from.value()))) return false;
  KVORUM_LOG(*ports_.logger, kWarn, "rejected Raft message from removed member",
             LogField::Id("local-member-id", id().value()),
             LogField::Id("removed-member-id", message.from.value()));
  return true;
}

void MemberImpl::ReceiveSnapshot(raft::Message message, absl::AnyInvocable<void(absl::Status)> done) {
  if (message.type != raft::MessageType::kSnap || !message.snapshot || message.snapshot->empty()) {
    return done(absl::InvalidArgumentError("wrong raft message type"));
  }
  if (IsFromRemoved(message)) {
    return done(absl::PermissionDeniedError("cannot process message from removed member"));
  }
  // Its file comes first: what the core gets to know of it may be noted in the log at once.
  raft::Snapshot snapshot = *message.snapshot;
  ports_.snapshots->Save(std::move(snapshot), [this, message = std::move(message),
                                               done = std::move(done)](absl::Status status) mutable {
    if (status.ok()) loop_->Receive(std::move(message));
    done(std::move(status));
  });
}

void MemberImpl::OnRemoved() {
  if (removed_.exchange(true) || stopped_.load()) return;
  const absl::Status status = RemovedError();
  KVORUM_LOG(*ports_.logger, kWarn, "server error", {"error", std::string(status.message())});
  KVORUM_LOG(*ports_.logger, kWarn, "data-dir used by this member must be removed");
  if (ports_.on_removed) {
    ports_.on_removed();
  } else {
    loop_->Fail(status);
  }
}

}  // namespace kvorum::member
