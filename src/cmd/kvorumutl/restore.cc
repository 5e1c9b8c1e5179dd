#include "cmd/kvorumutl/restore.h"

#include <algorithm>
#include <utility>

#include "backend/lmdb_backend.h"
#include "base/arguments.h"
#include "base/status.h"
#include "bbolt/bbolt.h"
#include "bootstrap/bootstrap.h"
#include "bootstrap/config_check.h"
#include "bootstrap/import.h"
#include "cluster/cluster.h"
#include "cluster/v2_store_json.h"
#include "cmd/kvorumutl/wait.h"
#include "fmt/format.h"
#include "mvcc/record_format.h"
#include "raft/codec.h"
#include "snap/snapshotter.h"
#include "wal/wal.h"

namespace kvorum::utl {
namespace {

using backend::Bucket;
using cluster::Cluster;
using raft::Index;
using raft::NodeId;
using raft::Term;

constexpr Term kFirstTerm(1);

/// One member of the new cluster, and the directory that it is to find.
class Restorer {
 public:
  Restorer(const RestoreOptions& options, Env& env, Logger& logger)
      : options_(options),
        env_(env),
        logger_(logger),
        layout_(bootstrap::LayoutOf(options.data_dir, options.wal_dir)) {}

  absl::Status Run() {
    KVORUM_RETURN_IF_ERROR(Check());
    Log("restoring snapshot");
    KVORUM_RETURN_IF_ERROR(CheckSum(env_, options_.snapshot_path, options_.sum_check));
    KVORUM_ASSIGN_OR_RETURN(auto content, bbolt::OpenFile(options_.snapshot_path, &logger_));
    KVORUM_RETURN_IF_ERROR(bootstrap::CheckUsable(*content, options_.snapshot_path));
    MakeMembers();
    KVORUM_RETURN_IF_ERROR(env_.CreateDirectories(layout_.snap_dir));
    KVORUM_RETURN_IF_ERROR(WriteDatabase(std::move(content)));
    KVORUM_RETURN_IF_ERROR(WriteSnapshot());
    KVORUM_RETURN_IF_ERROR(WriteLog());
    Log("restored snapshot");
    return absl::OkStatus();
  }

 private:
  void Log(std::string_view message) {
    KVORUM_LOG(logger_, kInfo, message, {"path", options_.snapshot_path}, {"wal-dir", layout_.wal_dir},
               {"data-dir", options_.data_dir}, {"snap-dir", layout_.snap_dir},
               {"backend-dir", layout_.backend_dir});
  }

  absl::Status Check() {
    bootstrap::Options configuration;
    configuration.name = options_.name;
    configuration.initial_cluster = options_.initial_cluster;
    configuration.advertise_peer_urls = options_.advertise_peer_urls;
    KVORUM_RETURN_IF_ERROR(bootstrap::CheckConfiguration(configuration));
    if (env_.Exists(options_.data_dir)) {
      const absl::StatusOr<std::vector<std::string>> names = env_.ListDirectory(options_.data_dir);
      if (!names.ok() || !names->empty()) {
        return absl::AlreadyExistsError(
            fmt::format("data-dir \"{}\" not empty or could not be read", options_.data_dir));
      }
    }
    if (env_.Exists(layout_.wal_dir)) {
      return absl::AlreadyExistsError(fmt::format("wal-dir \"{}\" exists", layout_.wal_dir));
    }
    return absl::OkStatus();
  }

  void MakeMembers() {
    std::vector<MemberId> ids;
    for (const auto& [name, urls] : options_.initial_cluster) {
      const cluster::Member member = {
          .id = cluster::MemberIdOf(urls, options_.initial_cluster_token), .peer_urls = urls, .name = name};
      if (name == options_.name) self_ = member.id;
      ids.push_back(member.id);
      members_.push_back(member);
    }
    std::sort(members_.begin(), members_.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
    cluster_id_ = cluster::ClusterIdOf(std::move(ids));
    position_ = {.index = members_.size(), .term = kFirstTerm.value()};
    for (const cluster::Member& member : members_) {
      conf_state_.voters.emplace_back(member.id.value());
      KVORUM_LOG(logger_, kInfo, "added member", LogField::Id("cluster-id", cluster_id_.value()),
                 LogField::Id("local-member-id", self_.value()),
                 LogField::Id("added-peer-id", member.id.value()),
                 {"added-peer-peer-urls", member.peer_urls});
    }
  }

  absl::Status WriteDatabase(std::unique_ptr<backend::ReadView> content) {
    KVORUM_ASSIGN_OR_RETURN(const uint64_t bytes, env_.FileSize(options_.snapshot_path));
    backend::LmdbOptions options{.directory = layout_.backend_dir, .logger = &logger_};
    options.map_size_bytes = std::max(options.map_size_bytes, kMaxGrowth * bytes);
    KVORUM_ASSIGN_OR_RETURN(const auto database, backend::OpenLmdbBackend(std::move(options)));
    KVORUM_RETURN_IF_ERROR(
        WaitFor([&](Done done) { database->Replace(std::move(content), position_, std::move(done)); }));
    database->BeginEntry();
    const absl::Status changed = ChangeDatabase(*database);
    database->EndEntry(position_);
    KVORUM_RETURN_IF_ERROR(changed);
    return database->Close();
  }

  absl::Status ChangeDatabase(backend::Backend& database) {
    const std::unique_ptr<backend::ReadView> view = database.NewReadView();
    for (const Bucket bucket : {Bucket::kMembers, Bucket::kMembersRemoved}) {
      KVORUM_RETURN_IF_ERROR(view->Scan(bucket, {}, {}, [&](std::string_view key, std::string_view) {
        database.Delete(bucket, key);
        return true;
      }));
    }
    Cluster members(self_, cluster_id_, &database);
    for (const cluster::Member& member : members_) members.AddMember(member, Cluster::Persist::kYes);
    database.Put(Bucket::kMeta, "confState", Bytes::Copy(cluster::ToJson(conf_state_)));
    if (options_.bump_revision == 0 && !options_.mark_compacted) return absl::OkStatus();

    KVORUM_ASSIGN_OR_RETURN(int64_t revision, LatestRevision(*view));
    if (options_.bump_revision > 0) {
      KVORUM_LOG(logger_, kInfo, "bumping latest revision", {"latest-revision", revision},
                 {"bump-amount", options_.bump_revision},
                 {"new-latest-revision", revision + static_cast<int64_t>(options_.bump_revision)});
      revision += static_cast<int64_t>(options_.bump_revision);
      database.Put(Bucket::kKey, mvcc::RevisionKey({.main = revision}).view(), Bytes::Copy(""));
    }
    if (options_.mark_compacted) {
      KVORUM_LOG(logger_, kInfo, "marking revision compacted", {"revision", revision});
      database.Put(Bucket::kMeta, mvcc::kScheduledCompactKey,
                   Bytes::Copy(mvcc::RevisionKey({.main = revision}).view()));
    }
    return absl::OkStatus();
  }

  static absl::StatusOr<int64_t> LatestRevision(backend::ReadView& view) {
    std::optional<mvcc::ParsedRevision> last = mvcc::ParsedRevision{.revision = {.main = 1}};
    KVORUM_RETURN_IF_ERROR(view.Scan(Bucket::kKey, {}, {}, [&](std::string_view key, std::string_view) {
      last = mvcc::ParseRevisionKey(key);
      return last.has_value();
    }));
    if (!last) return absl::DataLossError("a key of the key bucket is no revision");
    return last->revision.main;
  }

  absl::Status WriteSnapshot() {
    // As a member of any release would have written it: etcd 3.4 and 3.5 take the members from here.
    Cluster members(self_, cluster_id_, nullptr);
    for (const cluster::Member& member : members_) members.AddMember(member, Cluster::Persist::kNo);
    snap::Snapshotter files(&env_, layout_.snap_dir, &logger_, nullptr);
    return files.Save(
        {.data = Bytes::Copy(cluster::V2StoreJson(members)),
         .metadata = {.conf_state = conf_state_, .index = Index(position_.index), .term = kFirstTerm}});
  }

  absl::Status WriteLog() {
    std::vector<raft::Entry> entries;
    for (const cluster::Member& member : members_) {
      const raft::ConfChange change = {.node_id = NodeId(member.id.value()),
                                       .context = Bytes::Copy(cluster::ToJson(member))};
      entries.push_back({.type = raft::EntryType::kConfChange,
                         .term = kFirstTerm,
                         .index = Index(entries.size() + 1),
                         .data = Bytes::Copy(raft::Encode(change))});
    }
    wal::Options options = {.env = &env_, .logger = &logger_};
    KVORUM_ASSIGN_OR_RETURN(
        const auto log,
        wal::Wal::Create(layout_.wal_dir, {.node_id = self_.value(), .cluster_id = cluster_id_.value()},
                         options));
    const wal::SnapshotRecord record = {
        .index = Index(position_.index), .term = kFirstTerm, .conf_state = conf_state_};
    const wal::Batch batch = {.hard_state = {.term = kFirstTerm,
                                             .vote = NodeId(members_.front().id.value()),
                                             .commit = Index(position_.index)},
                              .entries = entries};
    KVORUM_RETURN_IF_ERROR(log->Save(std::span(&batch, 1)));
    KVORUM_RETURN_IF_ERROR(log->SaveSnapshot(record));
    return log->Sync();
  }

  /// A database is never so many times as large as the snapshot that it is made from: in the worst case
  /// records of half a page have pages of their own, half of which are free for more.
  static constexpr uint64_t kMaxGrowth = 8;

  const RestoreOptions& options_;
  Env& env_;
  Logger& logger_;
  const bootstrap::Layout layout_;
  std::vector<cluster::Member> members_;  ///< by id
  MemberId self_;
  ClusterId cluster_id_;
  raft::ConfState conf_state_;
  backend::AppliedPosition position_;  ///< behind the entries that add the members
};

}  // namespace

absl::StatusOr<std::map<std::string, std::vector<std::string>>> ParseInitialCluster(std::string_view text) {
  std::map<std::string, std::vector<std::string>> cluster;
  for (const std::string& part : SplitList(text)) {
    const size_t equals = part.find('=');
    if (equals == std::string::npos || equals == 0 || part.find("://", equals) == std::string::npos) {
      return absl::InvalidArgumentError(
          fmt::format("empty or malformed URL of a name in --initial-cluster: \"{}\"", part));
    }
    cluster[part.substr(0, equals)].push_back(part.substr(equals + 1));
  }
  return cluster;
}

absl::Status Restore(const RestoreOptions& options, Env& env, Logger& logger) {
  return Restorer(options, env, logger).Run();
}

}  // namespace kvorum::utl
