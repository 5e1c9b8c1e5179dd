#include "sim/node.h"

#include <utility>

#include "base/check.h"
#include "base/status.h"
#include "bootstrap/bootstrap.h"

namespace kvorum::sim {

namespace {

constexpr char kDataDirectory[] = "/data";
constexpr uint64_t kSegmentBytes = 64 << 10;

wal::Options WalOptions(testing::FaultEnv* env, const Clock* clock) {
  return {.env = env, .clock = clock, .segment_size_bytes = kSegmentBytes};
}

}  // namespace

Node::Node(Scheduler* scheduler, Network* network, Options options)
    : scheduler_(scheduler),
      network_(network),
      options_(std::move(options)),
      peer_urls_({options_.peer_url}),
      id_(options_.joins_as != MemberId(0) ? options_.joins_as
                                           : cluster::MemberIdOf(peer_urls_, "etcd-cluster")),
      clock_(scheduler),
      disk_(scheduler, options_.disk),
      backend_(backend::MemoryBackend::Create()) {
  network_->Add(id_, this);
}

Node::~Node() {
  Kill(false);
  network_->Remove(id_);
}

absl::StatusOr<member::StartState> Node::StateFromDisk(std::unique_ptr<wal::Wal>* wal) {
  bootstrap::Options options;
  options.name = options_.name;
  options.data_dir = kDataDirectory;
  options.initial_cluster = options_.initial_cluster;
  options.advertise_peer_urls = {options_.peer_url};
  options.wal = WalOptions(&disk_.env(), &clock_);
  if (options_.joins_as != MemberId(0)) options.initial_cluster_state = bootstrap::ClusterState::kExisting;
  const std::unique_ptr<member::PeerCalls> calls = network_->NewFirstCalls(options_.peer_url);
  options.calls = calls.get();
  KVORUM_ASSIGN_OR_RETURN(bootstrap::Prepared prepared, bootstrap::Prepare(options));
  // Whoever was asked has not heard yet that the member at this URL was replaced. Started under the old id
  // the process would soon be told that it was removed; the operator empties its disk and starts it once
  // more.
  if (prepared.start.id != id_)
    return absl::FailedPreconditionError("the cluster knows this machine as another member");
  lock_ = std::move(prepared.lock);
  const uint64_t applied = backend_->applied().index;
  KVORUM_RETURN_IF_ERROR(FinishInstall(prepared.start));
  KVORUM_RETURN_IF_ERROR(bootstrap::Finish(options, *backend_, prepared));
  network_->recorder()->Started(id_, *prepared.start.log, applied, durable_);
  const backend::AppliedPosition now = backend_->applied();
  if (now.index != applied) network_->recorder()->Installed(id_, now.index, now.term);
  *wal = std::move(prepared.wal);
  return std::move(prepared.start);
}

absl::Status Node::FinishInstall(const member::StartState& start) {
  const raft::Index noted = start.log->FirstIndex() - 1;
  if (noted.value() <= backend_->applied().index) return absl::OkStatus();
  backend::MemoryBackend* database = disk_.database(noted);
  if (database == nullptr) return absl::DataLossError("the database of the snapshot is not there");
  KVORUM_ASSIGN_OR_RETURN(const raft::Term term, start.log->GetTerm(noted));
  absl::Status result;
  backend_->Replace(database->NewReadView(), {.index = noted.value(), .term = term.value()},
                    [&result](absl::Status status) { result = std::move(status); });
  return result;
}

absl::Status Node::Bring() {
  std::unique_ptr<wal::Wal> wal;
  KVORUM_ASSIGN_OR_RETURN(member::StartState start, StateFromDisk(&wal));
  const bootstrap::Layout layout = bootstrap::LayoutOf(kDataDirectory, "");
  disk_.Record(network_->recorder(), id_);
  disk_.Attach(std::move(wal), layout.wal_dir, layout.snap_dir);

  raft_ = std::make_unique<SimExecutor>(scheduler_, &clock_);
  apply_ = std::make_unique<SimExecutor>(scheduler_, &clock_);
  background_ = std::make_unique<SimExecutor>(scheduler_, &clock_);
  random_ = std::make_unique<Random>(scheduler_->chance().Next());
  metrics_ = std::make_unique<metrics::Registry>();
  transport_ = network_->NewTransport(id_);
  calls_ = network_->NewCalls(id_, &clock_);
  if (options_.wrap_database) wrapped_ = options_.wrap_database(backend_.get());
  database_ = std::make_unique<RecordingBackend>(wrapped_ != nullptr ? wrapped_.get() : backend_.get(),
                                                 network_->recorder(), id_, &durable_);
  const member::Ports ports = {.clock = &clock_,
                               .raft_executor = raft_.get(),
                               .apply_executor = apply_.get(),
                               .background_executor = background_.get(),
                               .log = &disk_,
                               .snapshots = &disk_,
                               .backend = database_.get(),
                               .transport = transport_.get(),
                               .calls = calls_.get(),
                               .random = random_.get(),
                               .logger = &NullLogger(),
                               .metrics = metrics_.get(),
                               .on_fatal = [this](absl::Status status) { fatal_ = std::move(status); },
                               .on_removed = [this] { removed_ = true; }};
  member::MemberOptions member_options = options_.member;
  member_options.name = options_.name;
  member_options.advertise_client_urls = {"http://" + options_.name + ":2379"};
  KVORUM_ASSIGN_OR_RETURN(member_, member::Member::Create(member_options, ports, std::move(start)));
  member_->Start([this] { ready_ = true; });
  return absl::OkStatus();
}

absl::Status Node::Start() {
  KVORUM_CHECK(!up());
  ++starts_;
  fatal_ = absl::OkStatus();
  ready_ = false;
  removed_ = false;
  paused_ = false;
  absl::Status status = Bring();
  has_run_ = has_run_ || status.ok();
  if (!status.ok()) Kill(false);
  return status;
}

void Node::Kill(bool power_cut) {
  calls_.reset();
  transport_.reset();
  raft_.reset();
  apply_.reset();
  background_.reset();
  disk_.Detach(true, power_cut);
  member_.reset();
  database_.reset();
  wrapped_.reset();
  lock_.reset();
  metrics_.reset();
  if (backend_ != nullptr) backend_ = backend_->Crash();
  ready_ = false;
  paused_ = false;
}

void Node::Pause() {
  if (!up() || paused_) return;
  paused_ = true;
  raft_->Pause();
  apply_->Pause();
  background_->Pause();
}

void Node::Resume() {
  if (!up() || !paused_) return;
  paused_ = false;
  raft_->Resume();
  apply_->Resume();
  background_->Resume();
}

void Node::Slow(size_t thread, Instant lag) {
  if (!up()) return;
  SimExecutor* const threads[kThreads] = {raft_.get(), apply_.get(), background_.get()};
  threads[thread]->SetLag(lag);
}

void Node::CommitDatabase() {
  if (!up()) return;
  if (!disk_.env().full()) {
    backend_->CommitNow();
    durable_ = backend_->applied().index;
    return;
  }
  if (fatal_.ok()) fatal_ = absl::ResourceExhaustedError("the database cannot be committed: no space");
}

void Node::Wipe() {
  KVORUM_CHECK(!up());
  disk_.Wipe();
  has_run_ = false;
  backend_ = backend::MemoryBackend::Create();
  durable_ = 0;
}

void Node::PutDatabase(std::unique_ptr<backend::MemoryBackend> database) {
  KVORUM_CHECK(!up());
  backend_ = std::move(database);
  durable_ = backend_->applied().index;
}

}  // namespace kvorum::sim
