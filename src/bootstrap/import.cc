#include "bootstrap/import.h"

#include <charconv>
#include <optional>
#include <utility>

#include "absl/synchronization/notification.h"
#include "base/status.h"
#include "base/version.h"
#include "bbolt/bbolt.h"
#include "bootstrap/follow.h"
#include "cluster/cluster.h"
#include "cluster/v2_store_json.h"
#include "fmt/format.h"
#include "snap/snapshotter.h"

namespace kvorum::bootstrap {
namespace {

using backend::AppliedPosition;
using backend::Bucket;
using cluster::Cluster;
using raft::Index;

constexpr std::string_view kStorageVersionKey = "storageVersion";

/// {3, 7} of "3.7.0"; none where it is no version.
std::optional<std::pair<int, int>> MajorMinor(std::string_view version) {
  const size_t dot = version.find('.');
  if (dot == std::string_view::npos) return std::nullopt;
  std::pair<int, int> numbers;
  const char* end = version.data() + version.size();
  const auto major = std::from_chars(version.data(), version.data() + dot, numbers.first);
  const auto minor = std::from_chars(version.data() + dot + 1, end, numbers.second);
  if (major.ec != std::errc() || minor.ec != std::errc()) return std::nullopt;
  return numbers;
}

absl::Status WaitFor(absl::FunctionRef<void(absl::AnyInvocable<void(absl::Status)>)> start) {
  absl::Notification finished;
  absl::Status result;
  start([&](absl::Status status) {
    result = std::move(status);
    finished.Notify();
  });
  finished.WaitForNotification();
  return result;
}

/// A database to be taken over, and the position that it stands at.
struct Source {
  std::unique_ptr<backend::ReadView> view;
  AppliedPosition position;
  std::string path;
};

absl::StatusOr<Source> OpenSource(const std::string& path, Logger* logger) {
  Source source = {.view = nullptr, .position = {}, .path = path};
  KVORUM_ASSIGN_OR_RETURN(source.view, bbolt::OpenFile(path, logger));
  KVORUM_RETURN_IF_ERROR(CheckUsable(*source.view, path));
  KVORUM_ASSIGN_OR_RETURN(source.position, bbolt::PositionOf(*source.view));
  return source;
}

class Importer {
 public:
  Importer(const Options& options, backend::Backend& backend, Prepared& prepared)
      : files_(*options.wal.env),
        logger_(*options.wal.logger),
        backend_(backend),
        prepared_(prepared),
        log_(*prepared.start.log),
        max_learners_(options.max_learners),
        snapshot_index_(log_.FirstIndex() - 1),
        etcd_path_(fmt::format("{}/{}", prepared.layout.snap_dir, snap::kEtcdDatabaseName)) {}

  absl::Status Run() {
    KVORUM_RETURN_IF_ERROR(RemoveEmptyFile());
    const bool from_etcd = files_.Exists(etcd_path_);
    if (!from_etcd && backend_.applied().index >= snapshot_index_.value()) return absl::OkStatus();
    Source source;
    if (from_etcd) {
      KVORUM_ASSIGN_OR_RETURN(source, OpenSource(etcd_path_, &logger_));
      KVORUM_RETURN_IF_ERROR(CheckLogOfEtcd(source.position));
    } else {
      source.position = backend_.applied();
    }
    if (source.position.index < snapshot_index_.value()) KVORUM_RETURN_IF_ERROR(TakeReceived(&source));
    if (source.position.term == 0 && source.position.index > 0) {
      // Releases before 3.5 do not write it.
      KVORUM_ASSIGN_OR_RETURN(const raft::Term term, log_.GetTerm(Index(source.position.index)));
      source.position.term = term.value();
    }
    KVORUM_ASSIGN_OR_RETURN(const auto version, source.view->Get(Bucket::kMeta, kStorageVersionKey));
    const bool members_from_log = from_etcd && !version && source.position.index > 0;
    std::optional<Cluster> members;
    if (members_from_log) KVORUM_RETURN_IF_ERROR(ReadMembers(source.position, &members));

    KVORUM_LOG(logger_, kInfo, "importing a database", {"path", source.path},
               {"applied-index", source.position.index}, {"snapshot-index", snapshot_index_.value()});
    KVORUM_RETURN_IF_ERROR(WaitFor([&](absl::AnyInvocable<void(absl::Status)> done) {
      backend_.Replace(std::move(source.view), source.position, std::move(done));
    }));
    if (members) KVORUM_RETURN_IF_ERROR(WriteMembers(*members));
    return from_etcd ? SetAside() : absl::OkStatus();
  }

 private:
  /// What `etcdctl backup --with-v3` leaves where it looked for a database of etcd, beside one of our own.
  absl::Status RemoveEmptyFile() {
    if (backend_.applied().index == 0 || !files_.Exists(etcd_path_)) return absl::OkStatus();
    KVORUM_ASSIGN_OR_RETURN(const uint64_t size, files_.FileSize(etcd_path_));
    if (size > 0) return absl::OkStatus();
    KVORUM_LOG(logger_, kWarn, "removing an empty file in the place of etcd's database",
               {"path", etcd_path_});
    return files_.RemoveFile(etcd_path_);
  }

  /// The log must be of the same past as the database.
  absl::Status CheckLogOfEtcd(AppliedPosition position) const {
    const uint64_t last = log_.LastIndex().value();
    if (last == 0 && position.index > 0) {
      return absl::FailedPreconditionError(
          fmt::format("the database in {} has log entries up to index {}, but there is no log in {}",
                      etcd_path_, position.index, prepared_.layout.wal_dir));
    }
    if (position.index > last) {
      return absl::DataLossError(
          fmt::format("the database {} has the log up to index {}, but the log ends at {}", etcd_path_,
                      position.index, last));
    }
    return absl::OkStatus();
  }

  /// The database that came with the snapshot, in the place of one that is older than it.
  absl::Status TakeReceived(Source* source) {
    const std::string path =
        fmt::format("{}/{}", prepared_.layout.snap_dir, snap::DatabaseName(snapshot_index_));
    absl::StatusOr<Source> received = OpenSource(path, &logger_);
    KVORUM_ASSIGN_OR_RETURN(const raft::Term term, log_.GetTerm(snapshot_index_));
    const AppliedPosition position = {.index = snapshot_index_.value(), .term = term.value()};
    if (received.ok()) {
      *source = *std::move(received);
      source->position = position;
      return absl::OkStatus();
    }
    if (!absl::IsNotFound(received.status())) return received.status();
    if (source->view == nullptr || source->position.index != 0) {
      return absl::DataLossError(fmt::format(
          "the database (index {}) does not match with the snapshot (index {}), and there is no {}",
          source->position.index, snapshot_index_, path));
    }
    KVORUM_LOG(logger_, kWarn, "the database says no log index: taking that of the snapshot",
               {"path", source->path}, {"snapshot-index", snapshot_index_.value()});
    source->position = position;
    return absl::OkStatus();
  }

  /// Who is in the cluster at `position` by the snapshot and the log behind it.
  absl::Status ReadMembers(AppliedPosition position, std::optional<Cluster>* members) const {
    Cluster& cluster =
        members->emplace(prepared_.start.id, prepared_.start.cluster_id, nullptr, max_learners_);
    KVORUM_ASSIGN_OR_RETURN(const raft::Snapshot snapshot, log_.GetSnapshot());
    if (snapshot_index_ > Index(0) && snapshot.data.empty()) {
      members->reset();  // nothing is known of the time before: the copy has to do
      return absl::OkStatus();
    }
    if (snapshot_index_ > Index(0)) {
      KVORUM_ASSIGN_OR_RETURN(const cluster::Roster known,
                              cluster::RosterFromV2StoreJson(snapshot.data.view()));
      for (const cluster::Member& member : known.members) cluster.AddMember(member, Cluster::Persist::kNo);
      for (const MemberId id : known.removed) cluster.RemoveMember(id, Cluster::Persist::kNo);
      cluster.SetVersion(known.version, Cluster::Persist::kNo);
    }
    for (Index next = snapshot_index_ + 1; next.value() <= position.index;) {
      KVORUM_ASSIGN_OR_RETURN(const std::vector<raft::Entry> entries,
                              log_.Entries(next, Index(position.index + 1), uint64_t{1} << 20));
      for (const raft::Entry& entry : entries) {
        KVORUM_RETURN_IF_ERROR(FollowConfChange(entry, &cluster));
      }
      next = entries.back().index + 1;
    }
    return absl::OkStatus();
  }

  /// Makes the database's copy agree. What members said of themselves is newest there.
  absl::Status WriteMembers(const Cluster& members) {
    Cluster copy(members.local(), members.id(), &backend_);
    KVORUM_RETURN_IF_ERROR(copy.Load());
    cluster::Roster roster = {
        .members = members.members(), .removed = members.removed(), .version = members.version()};
    for (cluster::Member& member : roster.members) {
      const std::optional<cluster::Member> known = copy.Find(member.id);
      if (known && !known->name.empty()) member.name = known->name;
      if (known && !known->client_urls.empty()) member.client_urls = known->client_urls;
    }
    if (!copy.version().empty()) roster.version = copy.version();
    copy.Restore(roster);
    return WaitFor([&](absl::AnyInvocable<void(absl::Status)> done) { backend_.Commit(std::move(done)); });
  }

  absl::Status SetAside() {
    const std::string imported = fmt::format("{}/{}", prepared_.layout.snap_dir, snap::kImportedDatabaseName);
    KVORUM_RETURN_IF_ERROR(files_.Rename(etcd_path_, imported));
    KVORUM_RETURN_IF_ERROR(files_.SyncDirectory(prepared_.layout.snap_dir));
    KVORUM_LOG(logger_, kInfo, "imported etcd's database; the file is not needed any more",
               {"path", imported});
    return absl::OkStatus();
  }

  Env& files_;
  Logger& logger_;
  backend::Backend& backend_;
  Prepared& prepared_;
  const raft::MemoryStorage& log_;
  const size_t max_learners_;
  const Index snapshot_index_;  ///< 0: there is none
  const std::string etcd_path_;
};

}  // namespace

absl::Status CheckUsable(backend::ReadView& database, const std::string& path) {
  KVORUM_ASSIGN_OR_RETURN(const auto auth, database.Get(Bucket::kAuth, "authEnabled"));
  if (auth && auth->size() == 1 && auth->front() != 0) {
    return absl::FailedPreconditionError(
        fmt::format("{}: authentication is enabled, which this version does not have: with it every client "
                    "could do everything",
                    path));
  }
  KVORUM_ASSIGN_OR_RETURN(const auto version, database.Get(Bucket::kMeta, kStorageVersionKey));
  if (!version) return absl::OkStatus();
  const auto numbers = MajorMinor(*version);
  if (!numbers) return absl::DataLossError(fmt::format("{}: bad storage version \"{}\"", path, *version));
  if (*numbers > *MajorMinor(kStorageVersion)) {
    return absl::FailedPreconditionError(fmt::format(
        "{}: storage version {} is newer than {}, the newest known", path, *version, kStorageVersion));
  }
  return absl::OkStatus();
}

absl::Status ImportDatabase(const Options& options, backend::Backend& backend, Prepared& prepared) {
  return Importer(options, backend, prepared).Run();
}

}  // namespace kvorum::bootstrap
