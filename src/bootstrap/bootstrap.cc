#include "bootstrap/bootstrap.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/status.h"
#include "bootstrap/config_check.h"
#include "bootstrap/force_new_cluster.h"
#include "bootstrap/import.h"
#include "bootstrap/join.h"
#include "cluster/cluster.h"
#include "fmt/format.h"
#include "snap/snapshotter.h"

namespace kvorum::bootstrap {
namespace {

using raft::Index;

constexpr std::string_view kMemberName = "member";
constexpr std::string_view kProxyName = "proxy";
constexpr std::string_view kFixturesName = "fixtures";  // certificates that were made
constexpr std::string_view kLockName = "/kvorum.lock";

absl::Status Annotated(const absl::Status& status, std::string_view what) {
  return absl::Status(status.code(), fmt::format("{}: {}", what, std::string(status.message())));
}

/// Looks at what lies in the data directory, without changing it.
absl::Status CheckDirectory(const Options& options, const Layout& layout) {
  Env& env = *options.wal.env;
  if (!env.Exists(layout.data_dir)) return absl::OkStatus();
  const absl::StatusOr<std::vector<std::string>> names = env.ListDirectory(layout.data_dir);
  if (!names.ok()) return Annotated(names.status(), "cannot access data directory");
  bool member = false;
  bool proxy = false;
  for (const std::string& name : *names) {
    member = member || name == kMemberName;
    proxy = proxy || name == kProxyName;
    if (name == kMemberName || name == kProxyName || name == kFixturesName) continue;
    KVORUM_LOG(*options.wal.logger, kWarn, "found invalid file under data directory", {"filename", name},
               {"data-dir", layout.data_dir});
  }
  if (member && proxy) {
    return absl::FailedPreconditionError("invalid datadir. Both member and proxy directories exist.");
  }
  if (proxy) {
    return absl::FailedPreconditionError(
        fmt::format("the data directory {} is that of a proxy", layout.data_dir));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<FileLock>> TakeLock(Env& env, const Layout& layout) {
  absl::StatusOr<std::unique_ptr<FileLock>> lock = env.LockFile(layout.member_dir + std::string(kLockName));
  if (lock.ok()) return lock;
  if (lock.status().code() == absl::StatusCode::kUnavailable) {
    return absl::UnavailableError(
        fmt::format("the data directory {} is in use by another process", layout.data_dir));
  }
  return Annotated(lock.status(), "cannot write to member directory");
}

/// The newest snapshot from which the log can be read on, and its note in the log.
struct From {
  wal::SnapshotRecord record;
  raft::Snapshot snapshot;
};
absl::StatusOr<From> FindSnapshot(const Options& options, const Layout& layout) {
  KVORUM_ASSIGN_OR_RETURN(const std::vector<wal::SnapshotRecord> records,
                          wal::ValidSnapshots(layout.wal_dir, options.wal));
  std::vector<snap::Snapshotter::Position> vouched;
  for (const wal::SnapshotRecord& record : records) vouched.push_back({record.term, record.index});

  snap::Snapshotter files(options.wal.env, layout.snap_dir, options.wal.logger, options.wal.metrics);
  absl::StatusOr<raft::Snapshot> snapshot = files.LoadNewest(vouched);
  From from;
  if (snapshot.ok()) {
    from.record = {.index = snapshot->metadata.index, .term = snapshot->metadata.term};
    from.snapshot = *std::move(snapshot);
    return from;
  }
  if (snapshot.status().code() != absl::StatusCode::kNotFound) return snapshot.status();
  // Without a file, the log's own note says all that is needed: the data is in the database.
  const auto newest = std::max_element(records.begin(), records.end(),
                                       [](const auto& a, const auto& b) { return a.index < b.index; });
  if (newest == records.end() || newest->index == Index(0) || !newest->conf_state) {
    KVORUM_LOG(*options.wal.logger, kInfo, "No snapshot found. Recovering WAL from scratch!");
    return from;
  }
  // But for the v2 store, which is in that file alone: one that was there and is damaged is missed.
  const std::string broken = fmt::format("{}/{:016x}-{:016x}.snap.broken", layout.snap_dir,
                                         newest->term.value(), newest->index.value());
  if (options.wal.env->Exists(broken)) {
    return absl::DataLossError(
        fmt::format("the snapshot file {} is damaged, and there is no older one", broken));
  }
  KVORUM_LOG(*options.wal.logger, kWarn, "found no file of the snapshot that the WAL notes",
             {"snapshot-index", newest->index.value()}, {"snap-dir", layout.snap_dir});
  from.record = *newest;
  from.snapshot.metadata = {.conf_state = *newest->conf_state, .index = newest->index, .term = newest->term};
  return from;
}

void FillNew(const Options& options, const ClusterMap& cluster, member::StartState& start) {
  std::vector<MemberId> ids;
  start.bootstrap_members.clear();
  for (const auto& [name, urls] : cluster) {
    cluster::Member member;
    member.id = cluster::MemberIdOf(urls, options.initial_cluster_token);
    member.peer_urls = urls;
    member.name = name;
    std::sort(member.peer_urls.begin(), member.peer_urls.end());
    if (name == options.name) start.id = member.id;
    ids.push_back(member.id);
    start.bootstrap_members.push_back(std::move(member));
  }
  std::sort(start.bootstrap_members.begin(), start.bootstrap_members.end(),
            [](const auto& a, const auto& b) { return a.id < b.id; });
  start.cluster_id = cluster::ClusterIdOf(std::move(ids));
  start.log = std::make_unique<raft::MemoryStorage>();
}

/// Puts the members that the discovery service tells of in the place of this one alone.
absl::Status FillDiscovered(const Options& options, Attempt attempt, member::StartState& start) {
  const MemberId own = start.id;
  KVORUM_ASSIGN_OR_RETURN(const ClusterMap cluster, options.discover(own, attempt));
  if (HasDuplicateUrl(cluster)) {
    return absl::InvalidArgumentError(
        fmt::format("discovery cluster {} has duplicate url", InitialClusterText(cluster)));
  }
  FillNew(options, cluster, start);
  if (cluster.contains(options.name) && start.id == own) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("couldn't find local name \"{}\" with its URLs in the discovery "
                  "cluster {}",
                  options.name, InitialClusterText(cluster)));
}

/// A member that has no log yet, by the configuration: of a new cluster, or of one that runs.
absl::Status FillFirst(const Options& options, Attempt attempt, Prepared& prepared) {
  member::StartState& start = prepared.start;
  if (options.initial_cluster_state == ClusterState::kNew) {
    FillNew(options, options.initial_cluster, start);
    KVORUM_RETURN_IF_ERROR(CheckNotBootstrapped(options, start.id));
    return options.discover ? FillDiscovered(options, attempt, start) : absl::OkStatus();
  }
  KVORUM_ASSIGN_OR_RETURN(Joined joined, Join(options));
  start.id = joined.id;
  start.cluster_id = joined.cluster_id;
  start.log = std::make_unique<raft::MemoryStorage>();
  start.known_members = std::move(joined.members);
  return absl::OkStatus();
}

/// The first start ended before the first write was on disk whole: nothing was agreed on yet.
absl::Status FillOnEmptyLog(const Options& options, const wal::Metadata& metadata, Prepared& prepared) {
  member::StartState& start = prepared.start;
  KVORUM_RETURN_IF_ERROR(CheckConfiguration(options));
  if (options.initial_cluster_state == ClusterState::kExisting) {
    // The place in the cluster is taken already; the others only help to find the leader sooner.
    start.id = MemberId(metadata.node_id);
    start.cluster_id = ClusterId(metadata.cluster_id);
    start.log = std::make_unique<raft::MemoryStorage>();
    absl::StatusOr<Joined> joined = Join(options);
    if (!joined.ok()) {
      KVORUM_LOG(*options.wal.logger, kWarn, "failed to ask the cluster that is being joined",
                 {"error", std::string(joined.status().message())});
    } else if (joined->cluster_id == start.cluster_id) {
      start.known_members = std::move(joined->members);
    }
    return absl::OkStatus();
  }
  KVORUM_RETURN_IF_ERROR(FillFirst(options, Attempt::kAgain, prepared));
  if (start.id.value() == metadata.node_id && start.cluster_id.value() == metadata.cluster_id) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(fmt::format(
      "the empty log in {} is of member {:x} of cluster {:x}, but the configuration makes member {:x} of "
      "cluster {:x}",
      prepared.layout.wal_dir, metadata.node_id, metadata.cluster_id, start.id.value(),
      start.cluster_id.value()));
}

absl::Status ReadLog(const Options& options, Prepared& prepared) {
  KVORUM_ASSIGN_OR_RETURN(From from, FindSnapshot(options, prepared.layout));
  KVORUM_ASSIGN_OR_RETURN(wal::Wal::Opened opened,
                          wal::Wal::Open(prepared.layout.wal_dir, from.record, options.wal));
  wal::Recovered& recovered = opened.recovered;
  member::StartState& start = prepared.start;
  prepared.wal = std::move(opened.wal);
  if (recovered.hard_state.empty() && from.record.index == Index(0)) {
    return FillOnEmptyLog(options, recovered.metadata, prepared);
  }
  if (options.discover) {
    const std::string& wal_dir = prepared.layout.wal_dir;
    KVORUM_LOG(*options.wal.logger, kWarn,
               fmt::format("discovery token ignored since a cluster has already been initialized. Valid log "
                           "found at \"{}\"",
                           wal_dir),
               {"wal-dir", wal_dir});
  }
  start.id = MemberId(recovered.metadata.node_id);
  start.cluster_id = ClusterId(recovered.metadata.cluster_id);
  start.log = std::make_unique<raft::MemoryStorage>();
  if (!from.snapshot.empty()) {
    KVORUM_RETURN_IF_ERROR(start.log->ApplySnapshot(std::move(from.snapshot)));
  }
  start.log->SetHardState(recovered.hard_state);
  start.log->Append(std::move(recovered.entries));
  if (recovered.hard_state.commit > start.log->LastIndex()) {
    return absl::DataLossError(fmt::format("the log in {} ends at index {}, but {} were committed",
                                           prepared.layout.wal_dir, start.log->LastIndex(),
                                           recovered.hard_state.commit));
  }
  return absl::OkStatus();
}

}  // namespace

Layout LayoutOf(const std::string& data_dir, const std::string& wal_dir) {
  Layout layout;
  layout.data_dir = data_dir;
  layout.member_dir = data_dir + "/" + std::string(kMemberName);
  layout.wal_dir = wal_dir.empty() ? layout.member_dir + "/wal" : wal_dir;
  layout.snap_dir = layout.member_dir + "/snap";
  layout.backend_dir = layout.member_dir + "/backend";
  return layout;
}

absl::StatusOr<Prepared> Prepare(const Options& options) {
  KVORUM_CHECK(options.wal.env != nullptr);
  Env& env = *options.wal.env;
  Prepared prepared;
  prepared.layout = LayoutOf(options.data_dir, options.wal_dir);
  const Layout& layout = prepared.layout;
  KVORUM_RETURN_IF_ERROR(CheckDirectory(options, layout));
  prepared.initialized = wal::Exists(env, layout.wal_dir);
  if (!prepared.initialized) {
    KVORUM_RETURN_IF_ERROR(CheckConfiguration(options));
    KVORUM_RETURN_IF_ERROR(FillFirst(options, Attempt::kFirst, prepared));
  }

  if (absl::Status status = env.CreateDirectories(layout.snap_dir); !status.ok()) {
    return Annotated(status, "cannot access data directory");
  }
  KVORUM_ASSIGN_OR_RETURN(prepared.lock, TakeLock(env, layout));
  if (prepared.initialized) KVORUM_RETURN_IF_ERROR(ReadLog(options, prepared));
  KVORUM_LOG(*options.wal.logger, kInfo,
             prepared.initialized ? "restarting local member" : "starting local member",
             LogField::Id("cluster-id", prepared.start.cluster_id.value()),
             LogField::Id("local-member-id", prepared.start.id.value()));
  return prepared;
}

absl::Status Finish(const Options& options, backend::Backend& backend, Prepared& prepared) {
  KVORUM_RETURN_IF_ERROR(ImportDatabase(options, backend, prepared));
  const bool empty = prepared.start.log->LastIndex() == Index(0);
  if (empty && backend.applied().index != 0) {
    return absl::FailedPreconditionError(
        fmt::format("the database in {} has log entries up to index {}, but there is no log in {}",
                    prepared.layout.backend_dir, backend.applied().index, prepared.layout.wal_dir));
  }
  if (prepared.wal != nullptr) {
    return options.force_new_cluster && !empty ? ForceNewCluster(options, backend, prepared)
                                               : absl::OkStatus();
  }
  const wal::Metadata metadata{.node_id = prepared.start.id.value(),
                               .cluster_id = prepared.start.cluster_id.value()};
  KVORUM_ASSIGN_OR_RETURN(prepared.wal, wal::Wal::Create(prepared.layout.wal_dir, metadata, options.wal));
  return absl::OkStatus();
}

}  // namespace kvorum::bootstrap
