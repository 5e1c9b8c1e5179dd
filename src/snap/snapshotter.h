#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/env.h"
#include "base/log.h"
#include "base/metrics.h"
#include "raft/types.h"

namespace kvorum::snap {

/// The snapshot files of one member: `%016x-%016x.snap` (term, index) in one directory, and beside them the
/// databases received with snapshots, `%016x.snap.db` (index). Format: reference wal-and-snap.md §3,
/// docs/formats.md. Not thread-safe.
class Snapshotter {
 public:
  /// Everything is borrowed; `metrics` may be null.
  Snapshotter(Env* env, std::string directory, Logger* logger, metrics::Registry* metrics);

  /// Writes the file; it and its name are durable when this returns OK. A snapshot of index 0 is not written.
  absl::Status Save(const raft::Snapshot& snapshot);

  /// Which snapshots may be loaded: a pair of each file that the log vouches for.
  struct Position {
    raft::Term term;
    raft::Index index;
  };
  /// The newest readable snapshot among `vouched`; files that cannot be read become `.broken`. NotFound
  /// "snap: no available snapshot" where there is none. Done at start, so it also removes what unfinished
  /// writes and receptions left (`tmp*`, `db.tmp*`).
  absl::StatusOr<raft::Snapshot> LoadNewest(std::span<const Position> vouched);
  /// The newest readable one of all.
  absl::StatusOr<raft::Snapshot> LoadNewest();

  /// Removes the oldest `.snap` files, and the oldest `.snap.db` files, until `keep` of each are left (0:
  /// keeps all).
  absl::Status Purge(size_t keep);
  /// Removes the received databases of snapshots before `index`.
  absl::Status ReleaseDatabases(raft::Index index);

 private:
  absl::StatusOr<raft::Snapshot> LoadNewestMatching(const std::span<const Position>* vouched);
  absl::StatusOr<raft::Snapshot> Load(const std::string& name);
  /// The directory's names, oldest first; what does not belong there is named in the log.
  absl::StatusOr<std::vector<std::string>> List();
  absl::Status RemoveLeftovers();
  absl::Status PurgeSuffix(std::string_view suffix, size_t keep);
  std::string PathOf(const std::string& name) const { return directory_ + "/" + name; }

  Env* const env_;
  const std::string directory_;
  Logger* const logger_;
  struct Metrics;
  std::shared_ptr<Metrics> metrics_;  // shared with nobody; shared_ptr for the incomplete type; may be null
};

/// `%016x-%016x.snap` (term, index).
std::string FileName(raft::Term term, raft::Index index);
/// etcd's database, and what it is called once it was taken over.
inline constexpr std::string_view kEtcdDatabaseName = "db";
inline constexpr std::string_view kImportedDatabaseName = "db.etcd-imported";
/// `%016x.snap.db`: the database received with the snapshot at `index`.
std::string DatabaseName(raft::Index index);

/// The content of a snapshot file (snappb.snapshot around raftpb.Snapshot), and back. Errors: DataLoss "snap:
/// empty snapshot", "snap: crc mismatch", or what is malformed.
std::string EncodeFile(const raft::Snapshot& snapshot);
absl::StatusOr<raft::Snapshot> DecodeFile(std::string_view content);

}  // namespace kvorum::snap
