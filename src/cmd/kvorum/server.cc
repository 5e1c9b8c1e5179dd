#include "cmd/kvorum/server.h"

#include <unistd.h>

#include <atomic>
#include <thread>

#include "absl/synchronization/notification.h"
#include "api/admin/handlers.h"
#include "api/gateway/gateway.h"
#include "api/v2/handler.h"
#include "api/v3/health_reporter.h"
#include "api/v3/services.h"
#include "backend/lmdb_backend.h"
#include "base/random.h"
#include "base/status.h"
#include "base/thread_executor.h"
#include "base/wire.h"
#include "bootstrap/bootstrap.h"
#include "cmd/kvorum/auto_compactor.h"
#include "cmd/kvorum/initial_cluster.h"
#include "cmd/kvorum/listeners.h"
#include "cmd/kvorum/member_tls.h"
#include "cmd/kvorum/process.h"
#include "cmd/kvorum/snapshot_files.h"
#include "cmd/kvorum/startup_log.h"
#include "grpc/server.h"
#include "http/client.h"
#include "member/member.h"
#include "peer/calls.h"
#include "peer/peer_handler.h"
#include "peer/transport.h"
#include "wal/log_writer.h"

namespace kvorum::cmd {
namespace {

/// How long running exchanges may take at a stop; streams that never end are closed then.
constexpr std::chrono::seconds kShutdownGrace(1);

/// How long host names of peer URLs may take to be known.
constexpr std::chrono::seconds kResolvePatience(30);

constexpr int64_t kDefaultQuotaBytes = int64_t{2} << 30;
/// What the database may grow to where no quota holds it.
constexpr uint64_t kUnlimitedMapBytes = uint64_t{1} << 42;
constexpr uint64_t kMaxMegabytes = uint64_t{1} << 40;

/// Nothing that was not acknowledged may be from now on: ends the process at once.
[[noreturn]] void DieOf(const absl::Status& failure, Logger& logger) {
  KVORUM_LOG(logger, kFatal, "storage failed", {"error", std::string(failure.message())});
  _exit(1);
}

template <typename T>
T OrDefault(T value, T fallback) {
  return value == T{} ? fallback : value;
}

/// Address space for the database file: twice the quota, so that a full one can still be compacted and
/// defragmented.
uint64_t MapSize(const config::Config& config) {
  const int64_t quota = OrDefault(config.quota_backend_bytes, kDefaultQuotaBytes);
  if (quota < 0) return kUnlimitedMapBytes;
  return std::min(2 * static_cast<uint64_t>(quota), kUnlimitedMapBytes);
}

size_t IoThreads(const config::Config& config) {
  if (config.io_threads > 0) return config.io_threads;
  return std::max(1u, std::thread::hardware_concurrency());
}

std::chrono::nanoseconds DialTimeout(const config::Config& config) {
  return std::chrono::seconds(1) + std::chrono::milliseconds(config.election_timeout_ms);
}

size_t MaxLearners(const config::Config& config) {
  return static_cast<size_t>(std::max<int64_t>(config.max_learners, 0));
}

bootstrap::Options BootstrapOptions(const config::Config& config, Logger* logger,
                                    metrics::Registry* metrics) {
  bootstrap::Options options;
  options.name = config.name;
  options.data_dir = config.data_dir;
  options.wal_dir = config.wal_dir;
  options.initial_cluster_state = config.initial_cluster_state == "existing"
                                      ? bootstrap::ClusterState::kExisting
                                      : bootstrap::ClusterState::kNew;
  options.advertise_peer_urls = config::Texts(config.initial_advertise_peer_urls);
  options.force_new_cluster = config.force_new_cluster;
  options.max_learners = MaxLearners(config);
  options.resolve = [deadline = SystemClock().Now() + kResolvePatience](const std::string& host) {
    return ResolveHostUntil(host, deadline);
  };
  options.wal.env = &PosixEnv();
  options.wal.logger = logger;
  options.wal.metrics = metrics;
  options.wal.unsafe_no_fsync = config.unsafe_no_fsync;
  return options;
}

member::MemberOptions MemberOptions(const config::Config& config) {
  member::MemberOptions options;
  options.name = config.name;
  options.advertise_client_urls = config::Texts(config.advertise_client_urls);
  options.heartbeat_interval = std::chrono::milliseconds(config.heartbeat_interval_ms);
  options.election_timeout = std::chrono::milliseconds(config.election_timeout_ms);
  options.initial_election_tick_advance = config.initial_election_tick_advance;
  options.pre_vote = config.pre_vote;
  options.strict_reconfig_check = config.strict_reconfig_check;
  options.max_learners = MaxLearners(config);
  if (!config.cluster_version_limit.empty()) options.release = config.cluster_version_limit + ".0";
  options.snapshot_count = config.snapshot_count;
  options.snapshot_catchup_entries = config.snapshot_catchup_entries;
  options.max_request_bytes = config.max_request_bytes;
  options.quota_bytes = OrDefault(config.quota_backend_bytes, kDefaultQuotaBytes);
  if (config.compaction_batch_limit > 0) {
    options.compaction_batch_limit = static_cast<size_t>(config.compaction_batch_limit);
  }
  options.compaction_sleep_interval =
      OrDefault(config.compaction_sleep_interval, options.compaction_sleep_interval);
  options.downgrade_check_time = config.downgrade_check_time;
  options.initial_corrupt_check = config.Gate("InitialCorruptCheck");
  options.corrupt_check_time = config.corrupt_check_time;
  options.compact_hash_check = config.Gate("CompactHashCheck");
  options.compact_hash_check_time = config.compact_hash_check_time;
  options.warning_apply_duration = OrDefault(config.warning_apply_duration, options.warning_apply_duration);
  return options;
}

/// Of the URLs of tokens; empty: none are made.
std::string DiscoveryScheme(const config::Config& config) {
  if (!config.serve_discovery || config.listen_client_urls.empty()) return "";
  return config.listen_client_urls[0].IsSecure() ? "https" : "http";
}

class ServerImpl final : public Server {
 public:
  ServerImpl(const config::Config& config, ProcessTls tls, JsonLogger* logger,
             std::vector<std::string> arguments)
      : config_(config),
        tls_(std::move(tls)),
        logger_(*logger),
        json_logger_(logger),
        arguments_(std::move(arguments)),
        loops_(IoThreads(config)),
        peer_loops_(1, "peer-io"),
        listeners_(config, tls_, &loops_, &peer_loops_, logger),
        random_(SystemEntropy()),
        client_(&peer_loops_.at(0), {.dial_timeout = DialTimeout(config), .tls = tls_.peers.client}),
        calls_(peer::NewCalls(&client_, logger)) {}

  ~ServerImpl() override { StopExecutors(); }

  absl::Status Bring();
  void Stop() override;
  bool removed() const override { return removed_.load(); }

 private:
  absl::Status OpenStorage();
  absl::Status OpenBackend();
  absl::Status DefragmentAtStart();
  void MakeTransport();
  absl::Status MakeMember();
  void MakeServices();
  void StartAutoCompactor();
  void ProposeCompaction(int64_t revision, absl::AnyInvocable<void(absl::Status)> done);
  void Serve();
  void GiveLeadershipAway();
  void StopExecutors();
  /// Where health is looked after: it waits for no disk.
  http::Loop& health_loop() { return peer_loops_.at(0); }

  // Constant after construction.
  const config::Config& config_;
  const ProcessTls tls_;
  Logger& logger_;
  JsonLogger* const json_logger_;
  const std::vector<std::string> arguments_;

  // In the order in which they are made; what stands later uses what stands before.
  metrics::Registry metrics_;
  http::LoopGroup loops_;
  http::LoopGroup peer_loops_;  // of other members alone: no client's request stands before a heartbeat
  Listeners listeners_;
  Random random_;  // used on raft_executor_ only
  http::Client client_;
  std::unique_ptr<member::PeerCalls> calls_;
  ThreadExecutor raft_executor_{"raft"};
  ThreadExecutor apply_executor_{"apply"};
  ThreadExecutor background_executor_{"background"};
  bootstrap::Prepared prepared_;
  std::unique_ptr<backend::Backend> backend_;
  std::unique_ptr<wal::LogWriter> log_;
  std::unique_ptr<SnapshotFiles> snapshots_;
  std::unique_ptr<peer::Transport> transport_;
  std::unique_ptr<member::Member> member_;
  // Used on background_executor_ only.
  bool stopping_ = false;
  std::unique_ptr<AutoCompactor> auto_compactor_;
  std::unique_ptr<api_v3::Services> services_;
  std::unique_ptr<grpc::Server> grpc_;
  std::unique_ptr<grpc::HealthService> health_;
  std::unique_ptr<api_v3::HealthReporter> health_reporter_;
  std::unique_ptr<http::Handler> gateway_;
  ThreadExecutor password_executor_{"v2-password"};
  std::unique_ptr<http::Handler> v2_handler_;
  std::unique_ptr<http::Handler> client_handler_;
  std::unique_ptr<http::Handler> metrics_handler_;
  std::unique_ptr<http::Handler> admin_peer_handler_;
  std::unique_ptr<http::Handler> calls_handler_;
  std::unique_ptr<http::Handler> peer_handler_;

  std::atomic<bool> removed_{false};
};

absl::Status ServerImpl::OpenBackend() {
  backend::LmdbOptions options;
  options.directory = prepared_.layout.backend_dir;
  options.batch_interval = OrDefault(config_.backend_batch_interval, options.batch_interval);
  if (config_.backend_batch_limit > 0) {
    options.batch_limit_writes = static_cast<uint64_t>(config_.backend_batch_limit);
  }
  options.map_size_bytes = std::max(options.map_size_bytes, MapSize(config_));
  options.logger = &logger_;
  options.metrics = &metrics_;
  options.on_failure = [this](const absl::Status& failure) { DieOf(failure, logger_); };

  KVORUM_ASSIGN_OR_RETURN(backend_, backend::OpenLmdbBackend(std::move(options)));
  KVORUM_LOG(logger_, kInfo, "restore consistentIndex", {"index", backend_->applied().index});
  return DefragmentAtStart();
}

absl::Status ServerImpl::DefragmentAtStart() {
  if (config_.bootstrap_defrag_threshold_megabytes == 0) return absl::OkStatus();
  const backend::Sizes sizes = backend_->sizes();
  const int64_t freeable = sizes.total_bytes - sizes.in_use_bytes;
  const uint64_t threshold = std::min(config_.bootstrap_defrag_threshold_megabytes, kMaxMegabytes) << 20;
  if (freeable < static_cast<int64_t>(threshold)) {
    KVORUM_LOG(logger_, kInfo, "Skipping defragmentation", {"current-db-size-bytes", sizes.total_bytes},
               {"current-db-size-in-use-bytes", sizes.in_use_bytes}, {"freeable-bytes", freeable},
               {"bootstrap-defrag-threshold-bytes", threshold});
    return absl::OkStatus();
  }
  absl::Notification finished;
  absl::Status result;
  backend_->Defragment([&](absl::Status status) {
    result = std::move(status);
    finished.Notify();
  });
  finished.WaitForNotification();
  return result;
}

absl::Status ServerImpl::OpenStorage() {
  bootstrap::Options options = BootstrapOptions(config_, &logger_, &metrics_);
  options.calls = calls_.get();
  {
    // Others may let it wait for long, or without end.
    const StopAtOnce stop([this](int signal) {
      KVORUM_LOG(logger_, kInfo, "received signal; shutting down", {"signal", SignalName(signal)});
      json_logger_->Flush();
    });
    KVORUM_RETURN_IF_ERROR(SetFirstMembers(config_, &peer_loops_.at(0), &logger_, &options));
    KVORUM_ASSIGN_OR_RETURN(prepared_, bootstrap::Prepare(options));
  }
  LogStarting(config_, prepared_.initialized, logger_);
  KVORUM_RETURN_IF_ERROR(OpenBackend());
  KVORUM_RETURN_IF_ERROR(bootstrap::Finish(options, *backend_, prepared_));
  log_ = std::make_unique<wal::LogWriter>(std::move(prepared_.wal), prepared_.layout.wal_dir,
                                          config_.max_wals, options.wal);
  snapshots_ = std::make_unique<SnapshotFiles>(&PosixEnv(), prepared_.layout.snap_dir, config_.max_snapshots,
                                               &logger_, &metrics_);
  return absl::OkStatus();
}

void ServerImpl::MakeTransport() {
  peer::TransportOptions options;
  options.local = prepared_.start.id;
  options.cluster = prepared_.start.cluster_id;
  options.advertise_peer_urls = config::Texts(config_.initial_advertise_peer_urls);
  options.dial_timeout = DialTimeout(config_);
  options.tls = tls_.peers.client;
  options.snap_dir = prepared_.layout.snap_dir;
  options.env = &PosixEnv();
  options.loop = &peer_loops_.at(0);
  options.logger = &logger_;
  options.metrics = &metrics_;
  transport_ = peer::Transport::Create(options);
}

absl::Status ServerImpl::MakeMember() {
  member::Ports ports;
  ports.clock = &SystemClock();
  ports.raft_executor = &raft_executor_;
  ports.apply_executor = &apply_executor_;
  ports.background_executor = &background_executor_;
  ports.log = log_.get();
  ports.snapshots = snapshots_.get();
  ports.backend = backend_.get();
  ports.transport = transport_.get();
  ports.calls = calls_.get();
  ports.random = &random_;
  ports.logger = &logger_;
  ports.metrics = &metrics_;
  ports.on_fatal = [this](const absl::Status& failure) { DieOf(failure, logger_); };
  ports.on_removed = [this] {
    removed_.store(true);
    AskToStop();
  };
  KVORUM_ASSIGN_OR_RETURN(member_,
                          member::Member::Create(MemberOptions(config_), ports, std::move(prepared_.start)));
  return absl::OkStatus();
}

void ServerImpl::MakeServices() {
  api_v3::ServicesOptions options;
  options.member = member_.get();
  options.logger = &logger_;
  options.metrics = &metrics_;
  options.max_txn_ops = config_.max_txn_ops;
  options.watch_progress_interval =
      OrDefault(config_.watch_progress_notify_interval, options.watch_progress_interval);
  options.warning_unary_request_duration =
      OrDefault(config_.warning_unary_request_duration, options.warning_unary_request_duration);
  options.extensive_metrics = config_.metrics == "extensive";
  services_ = std::make_unique<api_v3::Services>(options);
  grpc_ = std::make_unique<grpc::Server>(services_->ServerOptions());
  services_->Register(grpc_.get());
  health_ = std::make_unique<grpc::HealthService>(grpc_.get());
  health_reporter_ = std::make_unique<api_v3::HealthReporter>(
      api_v3::HealthReporter::Parts{.member = member_.get(),
                                    .executor = &health_loop(),
                                    .logger = &logger_,
                                    .report = [this](bool serving) { health_->SetServing(serving); }});
  grpc::AddReflection(grpc_.get());

  api_admin::HandlerOptions admin;
  admin.member = member_.get();
  admin.logger = &logger_;
  admin.metrics = &metrics_;
  admin.set_log_level = [logger = json_logger_](LogLevel level) { logger->SetLevel(level); };
  admin.cors = config_.cors;
  admin.host_whitelist = config_.host_whitelist;
  admin.command_line = arguments_;
  if (config_.enable_grpc_gateway) {
    // JSON has bytes in base64 and names in full: twice what the message may have leaves room for both.
    gateway_ = api_gateway::NewGateway(
        {.grpc = grpc_.get(), .max_request_bytes = 2 * services_->ServerOptions().max_receive_bytes});
    admin.gateway = gateway_.get();
  }
  if (config_.enable_v2) {
    v2_handler_ = api_v2::NewHandler({.member = member_.get(),
                                      .stats = &transport_->stats(),
                                      .password_executor = &password_executor_,
                                      .logger = &logger_,
                                      .metrics = &metrics_,
                                      .discovery_scheme = DiscoveryScheme(config_)});
    admin.v2 = v2_handler_.get();
  }
  client_handler_ = api_admin::NewClientHandler(admin);
  metrics_handler_ = api_admin::NewMetricsHandler(admin);
  admin_peer_handler_ = api_admin::NewPeerHandler(admin);
  calls_handler_ = peer::NewCallsHandler(member_.get(), &logger_);
  peer_handler_ = peer::NewPeerHandler({.transport = &transport_->handler(),
                                        .calls = calls_handler_.get(),
                                        .pages = admin_peer_handler_.get()});
  api_admin::AddProcessMetrics(&metrics_);
  metrics_.NewGaugeCallback(
      "kvorum_log_dropped_lines_total", "The total number of log lines that were not written.",
      [logger = json_logger_] { return static_cast<double>(logger->dropped_lines()); },
      metrics::Declared::kCounter);
}

void ServerImpl::Serve() {
  listeners_.StartInner({.grpc = grpc_.get(),
                         .client = client_handler_.get(),
                         .metrics = metrics_handler_.get(),
                         .peer = peer_handler_.get()});
  KVORUM_LOG(logger_, kInfo, "now serving peer/client/metrics",
             LogField::Id("local-member-id", member_->id().value()),
             {"initial-advertise-peer-urls", config::Texts(config_.initial_advertise_peer_urls)},
             {"listen-peer-urls", config::Texts(config_.listen_peer_urls)},
             {"advertise-client-urls", config::Texts(config_.advertise_client_urls)},
             {"listen-client-urls", config::Texts(config_.listen_client_urls)},
             {"listen-metrics-urls", config::Texts(config_.listen_metrics_urls)});
  transport_->Start(member_.get(), &member_->cluster());
  // On another thread than the member's: listening is a system call, and the line may wait for nothing.
  member_->Start([this] {
    background_executor_.Post([this] {
      if (stopping_) return;
      health_loop().Post([this] { health_reporter_->Start(); });
      listeners_.StartClients();
      StartAutoCompactor();
      NotifyReady();
    });
  });
}

void ServerImpl::StartAutoCompactor() {
  const config::Retention retention = *config::AutoCompaction(config_);
  if (retention.period == config::Duration(0) && retention.revisions == 0) return;
  auto_compactor_ = std::make_unique<AutoCompactor>(
      AutoCompactor::Options{.period = retention.period, .revisions = retention.revisions},
      AutoCompactor::Store{.current_revision = [this] { return member_->store().current_revision(); },
                           .is_leader = [this] { return member_->status().is_leader; },
                           .compact =
                               [this](int64_t revision, absl::AnyInvocable<void(absl::Status)> done) {
                                 ProposeCompaction(revision, std::move(done));
                               }},
      &background_executor_, &logger_);
  auto_compactor_->Start();
}

void ServerImpl::ProposeCompaction(int64_t revision, absl::AnyInvocable<void(absl::Status)> done) {
  std::string request;  // etcdserverpb.CompactionRequest
  wire::AppendUint(request, 1, static_cast<uint64_t>(revision));
  const member::RequestId id = member_->NextRequestId();
  member_->Propose(
      id, member::BuildEntry(member::RequestKind::kCompaction, request, id, {}),
      SystemClock().Now() + member_->options().request_timeout(),
      [done = std::move(done)](member::ApplyResult result) mutable { done(std::move(result.status)); });
}

absl::Status ServerImpl::Bring() {
  KVORUM_RETURN_IF_ERROR(listeners_.Bind());
  listeners_.StartPeers();
  KVORUM_RETURN_IF_ERROR(OpenStorage());
  MakeTransport();
  KVORUM_RETURN_IF_ERROR(MakeMember());
  MakeServices();
  Serve();
  return absl::OkStatus();
}

void ServerImpl::StopExecutors() {
  if (transport_ != nullptr) transport_->Stop();
  if (log_ != nullptr) log_->Stop();
  if (snapshots_ != nullptr) snapshots_->Stop();
  raft_executor_.Stop();
  apply_executor_.Stop();
  background_executor_.Stop();
  password_executor_.Stop();
}

void ServerImpl::GiveLeadershipAway() {
  if (!member_->status().is_leader || removed_) return;
  // To whom there has been a connection for longest.
  std::optional<std::pair<MonotonicTime, MemberId>> best;
  for (const cluster::Member& member : member_->cluster().members()) {
    const auto since = transport_->ActiveSince(raft::NodeId(member.id.value()));
    if (member.id == member_->id() || member.is_learner || !since) continue;
    best = std::min(best.value_or(std::pair(*since, member.id)), std::pair(*since, member.id));
  }
  if (!best) return;
  absl::Notification moved;
  const MonotonicTime deadline =
      SystemClock().Now() + 2 * std::chrono::milliseconds(config_.election_timeout_ms);
  member_->MoveLeader(best->second, deadline, [&](absl::Status status) {
    if (!status.ok()) {
      KVORUM_LOG(logger_, kWarn, "leadership transfer failed",
                 LogField::Id("local-member-id", member_->id().value()),
                 {"error", std::string(status.message())});
    }
    moved.Notify();
  });
  moved.WaitForNotification();
}

void ServerImpl::Stop() {
  KVORUM_LOG(logger_, kInfo, "closing etcd server", {"name", config_.name}, {"data-dir", config_.data_dir},
             {"advertise-peer-urls", config::Texts(config_.initial_advertise_peer_urls)},
             {"advertise-client-urls", config::Texts(config_.advertise_client_urls)});
  absl::Notification quiet;
  background_executor_.Post([this, &quiet] {
    stopping_ = true;
    auto_compactor_.reset();
    health_loop().Post([this, &quiet] {
      health_reporter_->Stop();
      quiet.Notify();
    });
  });
  quiet.WaitForNotification();
  listeners_.ShutdownClients(kShutdownGrace);
  GiveLeadershipAway();
  absl::Notification stopped;
  member_->Stop([&stopped] { stopped.Notify(); });
  stopped.WaitForNotification();
  StopExecutors();
  listeners_.ShutdownInner(kShutdownGrace);
  client_.Stop();
  loops_.Stop();
  peer_loops_.Stop();
  services_->Stop();
  if (const absl::Status closed = backend_->Close(); !closed.ok()) {
    KVORUM_LOG(logger_, kError, "failed to close the backend", {"error", std::string(closed.message())});
  }
  KVORUM_LOG(logger_, kInfo, "closed etcd server", {"name", config_.name}, {"data-dir", config_.data_dir},
             {"advertise-peer-urls", config::Texts(config_.initial_advertise_peer_urls)},
             {"advertise-client-urls", config::Texts(config_.advertise_client_urls)});
}

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const config::Config& config, JsonLogger* logger,
                                                      std::vector<std::string> arguments) {
  KVORUM_ASSIGN_OR_RETURN(ProcessTls tls, MakeProcessTls(config, /*is_proxy=*/false, logger));
  auto server = std::make_unique<ServerImpl>(config, std::move(tls), logger, std::move(arguments));
  KVORUM_RETURN_IF_ERROR(server->Bring());
  return server;
}

}  // namespace kvorum::cmd
