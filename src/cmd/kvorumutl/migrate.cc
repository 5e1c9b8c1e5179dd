#include "cmd/kvorumutl/migrate.h"

#include <array>
#include <charconv>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "backend/lmdb_backend.h"
#include "base/clock.h"
#include "base/status.h"
#include "bbolt/bbolt.h"
#include "bootstrap/bootstrap.h"
#include "cluster/cluster.h"
#include "fmt/format.h"
#include "member/request_view.h"
#include "member/v2_tree.h"
#include "snap/snapshotter.h"
#include "v2store/store.h"
#include "wal/wal.h"

namespace kvorum::utl {
namespace {

using backend::Bucket;
using cluster::Cluster;
using raft::Index;
using raft::Term;

constexpr Release kOldest{3, 4};
constexpr Release kNewest{3, 7};
/// The first that writes the version of its form into the database.
constexpr Release kWithStorageVersion{3, 6};
/// The first that has no v2 API, and refuses its requests in the log but for those that tell the membership,
/// which the next one refuses too.
constexpr Release kWithoutV2{3, 6};
/// The first that reads changes of the membership's attributes and versions as requests.
constexpr Release kWithMembershipRequests{3, 5};
constexpr uint32_t kFirstMembershipRequest = 1300;

constexpr std::string_view kStorageVersionKey = "storageVersion";
constexpr std::string_view kClusterVersionKey = "clusterVersion";
constexpr std::string_view kDowngradeKey = "downgrade";
constexpr std::string_view kConfStateKey = "confState";
/// A name that every release removes at its start.
constexpr std::string_view kUnfinishedName = "db.tmp.migrate";

std::optional<Release> Parse(std::string_view text) {
  const size_t dot = text.find('.');
  if (dot == std::string_view::npos) return std::nullopt;
  Release release;
  const char* end = text.data() + text.size();
  const auto major = std::from_chars(text.data(), text.data() + dot, release.major);
  const auto minor = std::from_chars(text.data() + dot + 1, end, release.minor);
  const bool whole = major.ptr == text.data() + dot && (minor.ptr == end || *minor.ptr == '.');
  if (major.ec != std::errc() || minor.ec != std::errc() || !whole) return std::nullopt;
  return release;
}

std::string Text(Release release) { return fmt::format("{}.{}", release.major, release.minor); }

/// A view with other records in the small tables.
class ChangedView final : public backend::ReadView {
 public:
  using Table = std::map<std::string, std::string, std::less<>>;

  explicit ChangedView(std::unique_ptr<ReadView> view) : view_(std::move(view)) {}

  /// Takes what the table has, to be changed.
  absl::StatusOr<Table*> Change(Bucket bucket) {
    Table& table = changed_[bucket];
    KVORUM_RETURN_IF_ERROR(view_->Scan(bucket, {}, {}, [&](std::string_view key, std::string_view value) {
      table.emplace(key, value);
      return true;
    }));
    return &table;
  }

  absl::StatusOr<std::optional<std::string_view>> Get(Bucket bucket, std::string_view key) override {
    const auto changed = changed_.find(bucket);
    if (changed == changed_.end()) return view_->Get(bucket, key);
    const auto record = changed->second.find(key);
    if (record == changed->second.end()) return std::nullopt;
    return record->second;
  }
  absl::Status Scan(Bucket bucket, std::string_view from, std::string_view to,
                    absl::FunctionRef<bool(std::string_view, std::string_view)> visit) override {
    const auto changed = changed_.find(bucket);
    if (changed == changed_.end()) return view_->Scan(bucket, from, to, visit);
    for (auto it = changed->second.lower_bound(from); it != changed->second.end(); ++it) {
      if (!to.empty() && it->first >= to) break;
      if (!visit(it->first, it->second)) break;
    }
    return absl::OkStatus();
  }

 private:
  const std::unique_ptr<ReadView> view_;
  std::map<Bucket, Table> changed_;
};

class Migration {
 public:
  Migration(const MigrateOptions& options, Env& env, Logger& logger)
      : options_(options),
        env_(env),
        logger_(logger),
        layout_(bootstrap::LayoutOf(options.data_dir, options.wal_dir)),
        database_path_(fmt::format("{}/{}", layout_.snap_dir, snap::kEtcdDatabaseName)) {}

  absl::Status Run() {
    if (!env_.Exists(layout_.backend_dir + "/data.mdb") || !wal::Exists(env_, layout_.wal_dir)) {
      return absl::FailedPreconditionError(
          fmt::format("{} is no data directory of a member of Kvorum", options_.data_dir));
    }
    bootstrap::Options restart;
    restart.data_dir = options_.data_dir;
    restart.wal_dir = options_.wal_dir;
    restart.wal = {.env = &env_, .logger = &logger_};
    KVORUM_ASSIGN_OR_RETURN(bootstrap::Prepared prepared, bootstrap::Prepare(restart));
    KVORUM_ASSIGN_OR_RETURN(const auto backend,
                            backend::OpenLmdbBackend({.directory = layout_.backend_dir, .logger = &logger_}));
    const backend::AppliedPosition position = backend->applied();
    KVORUM_RETURN_IF_ERROR(CheckPosition(*prepared.start.log, position));
    Cluster members(prepared.start.id, prepared.start.cluster_id, backend.get());
    KVORUM_RETURN_IF_ERROR(members.Load());
    v2store::Store v2_store(&SystemClock());
    KVORUM_RETURN_IF_ERROR(ReadV2Store(*prepared.start.log, members, Index(position.index), &v2_store));
    KVORUM_RETURN_IF_ERROR(ChooseVersions(&members));
    if (lowered_) v2_store.Set(member::kLegacyVersionPath, false, members.version(), {});

    KVORUM_RETURN_IF_ERROR(WriteSnapshot(members, v2_store, position));
    KVORUM_RETURN_IF_ERROR(WriteDatabase(members, *backend, position));
    KVORUM_RETURN_IF_ERROR(NoteSnapshot(prepared, members, position));
    KVORUM_LOG(logger_, kInfo, "updated storage version", {"new-storage-version", Text(options_.target)},
               {"path", database_path_}, {"applied-index", position.index});
    return backend->Close();
  }

 private:
  /// Log and database must meet, and what the database has not must be readable to the release.
  absl::Status CheckPosition(const raft::MemoryStorage& log, backend::AppliedPosition position) const {
    const Index applied(position.index);
    if (applied == Index(0) || applied + 1 < log.FirstIndex() || applied > log.LastIndex()) {
      return absl::FailedPreconditionError(
          fmt::format("the database stands at log index {}, and the log has {} to {}: start the member once",
                      applied, log.FirstIndex(), log.LastIndex()));
    }
    if (env_.Exists(database_path_)) {
      KVORUM_ASSIGN_OR_RETURN(const auto other, bbolt::OpenFile(database_path_, &logger_));
      KVORUM_ASSIGN_OR_RETURN(const backend::AppliedPosition there, bbolt::PositionOf(*other));
      if (there.index > position.index) {
        return absl::FailedPreconditionError(
            fmt::format("{} is newer than Kvorum's database: etcd was the last to run here", database_path_));
      }
    }
    if (applied == log.LastIndex()) return absl::OkStatus();
    KVORUM_ASSIGN_OR_RETURN(const std::vector<raft::Entry> entries,
                            log.Entries(applied + 1, log.LastIndex() + 1, raft::kNoLimit));
    for (const raft::Entry& entry : entries) {
      if (entry.type != raft::EntryType::kNormal || entry.data.empty()) continue;
      if (Reads(entry)) continue;
      return absl::FailedPreconditionError(
          fmt::format("log entry {}, which is not applied yet, is none that etcd {} reads: start the member "
                      "once, and stop it by SIGTERM",
                      entry.index, Text(options_.target)));
    }
    return absl::OkStatus();
  }

  /// Whether the release knows the entry's kind.
  bool Reads(const raft::Entry& entry) const {
    const std::optional<member::EntryView> request = member::ParseEntry(entry.data.view());
    if (const auto v2 = member::V2RequestOf(entry.data.view(), request)) {
      if (options_.target < kWithoutV2) return true;
      return options_.target == kWithoutV2 && member::MembershipPutOf(*v2);
    }
    return request && (options_.target >= kWithMembershipRequests || request->kind < kFirstMembershipRequest);
  }

  /// The v2 store is in no database: it is what the newest snapshot and the log behind it say.
  absl::Status ReadV2Store(const raft::MemoryStorage& log, const Cluster& members, Index applied,
                           v2store::Store* store) const {
    member::V2Tree tree(store, members.local(), members.id(), cluster::kMaxLearners);
    KVORUM_ASSIGN_OR_RETURN(const raft::Snapshot snapshot, log.GetSnapshot());
    if (!snapshot.empty()) tree.Recover(snapshot, members, logger_);
    KVORUM_RETURN_IF_ERROR(tree.Replay(log, applied));
    if (options_.target < kWithoutV2 || !store->HasUserKeys()) return absl::OkStatus();
    return absl::FailedPreconditionError(
        fmt::format("{} has keys of the v2 API, with which etcd {} does not start: remove them first",
                    options_.data_dir, Text(options_.target)));
  }

  absl::Status ChooseVersions(Cluster* members) {
    const std::optional<Release> before = Parse(members->version());
    if (!before) return absl::OkStatus();
    if (*before > options_.target) {
      if (members->members().size() > 1 && !options_.force) {
        return absl::FailedPreconditionError(fmt::format(
            "the cluster version is {} and there are other members: lower it while they run (etcdctl "
            "downgrade enable), or migrate every member with --force",
            Text(*before)));
      }
      KVORUM_LOG(logger_, kWarn, "lowering the cluster version", {"from", Text(*before)},
                 {"to", Text(options_.target)});
      members->SetVersion(Text(options_.target) + ".0", Cluster::Persist::kNo);
      lowered_ = true;
    }
    const Release storage = std::min(*before, options_.target);
    if (storage >= kWithStorageVersion) storage_version_ = Text(storage) + ".0";
    return absl::OkStatus();
  }

  absl::Status WriteSnapshot(const Cluster& members, const v2store::Store& v2_store,
                             backend::AppliedPosition position) {
    snap::Snapshotter files(&env_, layout_.snap_dir, &logger_, nullptr);
    return files.Save({.data = Bytes::Copy(v2_store.SaveView()->ToJson()),
                       .metadata = {.conf_state = members.conf_state(),
                                    .index = Index(position.index),
                                    .term = Term(position.term)}});
  }

  absl::Status WriteDatabase(const Cluster& members, backend::Backend& backend,
                             backend::AppliedPosition position) {
    auto view = std::make_unique<ChangedView>(backend.NewReadView());
    KVORUM_ASSIGN_OR_RETURN(ChangedView::Table * meta, view->Change(Bucket::kMeta));
    meta->insert_or_assign(std::string(kConfStateKey), cluster::ToJson(members.conf_state()));
    meta->erase(std::string(kStorageVersionKey));
    if (!storage_version_.empty()) meta->emplace(kStorageVersionKey, storage_version_);
    if (lowered_) {
      KVORUM_ASSIGN_OR_RETURN(ChangedView::Table * cluster, view->Change(Bucket::kCluster));
      cluster->insert_or_assign(std::string(kClusterVersionKey), members.version());
      cluster->erase(std::string(kDowngradeKey));
    }
    KVORUM_ASSIGN_OR_RETURN(const auto stream, bbolt::FileStream::Create(std::move(view), position));
    const std::string unfinished = fmt::format("{}/{}", layout_.snap_dir, kUnfinishedName);
    absl::Cleanup remove = [&] { env_.RemoveFile(unfinished).IgnoreError(); };
    KVORUM_ASSIGN_OR_RETURN(const auto file, env_.OpenForWriting(unfinished, Env::Create::kTruncate));
    while (stream->left_bytes() > 0) {
      KVORUM_ASSIGN_OR_RETURN(const Bytes bytes, stream->Next(size_t{1} << 20));
      KVORUM_RETURN_IF_ERROR(file->Append(bytes.view()));
    }
    KVORUM_RETURN_IF_ERROR(file->Sync());
    KVORUM_RETURN_IF_ERROR(file->Close());
    KVORUM_RETURN_IF_ERROR(env_.Rename(unfinished, database_path_));
    std::move(remove).Cancel();
    return env_.SyncDirectory(layout_.snap_dir);
  }

  absl::Status NoteSnapshot(bootstrap::Prepared& prepared, const Cluster& members,
                            backend::AppliedPosition position) {
    KVORUM_ASSIGN_OR_RETURN(raft::Storage::InitialState state, prepared.start.log->GetInitialState());
    // A note beyond the commit index would vouch for nothing.
    state.hard_state.commit = std::max(state.hard_state.commit, Index(position.index));
    const wal::Batch batch = {.hard_state = state.hard_state};
    KVORUM_RETURN_IF_ERROR(prepared.wal->Save(std::span(&batch, 1)));
    KVORUM_RETURN_IF_ERROR(prepared.wal->SaveSnapshot(
        {.index = Index(position.index), .term = Term(position.term), .conf_state = members.conf_state()}));
    return prepared.wal->Sync();
  }

  const MigrateOptions& options_;
  Env& env_;
  Logger& logger_;
  const bootstrap::Layout layout_;
  const std::string database_path_;
  bool lowered_ = false;         ///< the cluster version
  std::string storage_version_;  ///< empty: none is written
};

}  // namespace

absl::StatusOr<Release> ReleaseFrom(std::string_view text) {
  constexpr std::string_view kPrefix = "etcd-";
  const std::string_view number = text.starts_with(kPrefix) ? text.substr(kPrefix.size()) : text;
  const std::optional<Release> release = Parse(number);
  if (!release || Text(*release) != number) {
    return absl::InvalidArgumentError(
        fmt::format("wrong target version format, expected \"X.Y\", got \"{}\"", text));
  }
  if (*release < kOldest || *release > kNewest) {
    return absl::InvalidArgumentError(
        fmt::format("target version \"{}\" not supported. Minimal \"{}\", maximal \"{}\"", text,
                    Text(kOldest), Text(kNewest)));
  }
  return *release;
}

absl::Status Migrate(const MigrateOptions& options, Env& env, Logger& logger) {
  return Migration(options, env, logger).Run();
}

}  // namespace kvorum::utl
