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

/// The snapshot files of one member: `%016x-%016x.snap` (term, index) in one directory. Format:
/// reference wal-and-snap.md §3. Not thread-safe.
class Snapshotter {
 public:
  /// Everything is borrowed; `metrics` may be null.
  Snapshotter(Env* env, std::string directory, Logger* logger, metrics::Registry* metrics);

  /// Writes and syncs the file. A snapshot of index 0 is not written.
  absl::Status Save(const raft::Snapshot& snapshot);

  /// Which snapshots may be loaded: a pair of each file that the log vouches for.
  struct Position {
    raft::Term term;
    raft::Index index;
  };
  /// The newest readable snapshot among `vouched`; files that cannot be read become `.broken`. NotFound where
  /// there is none.
  absl::StatusOr<raft::Snapshot> LoadNewest(std::span<const Position> vouched);
  /// The newest readable one of all.
  absl::StatusOr<raft::Snapshot> LoadNewest();

  /// Removes the oldest files until `keep` are left (0: keeps all); also `db.tmp*` and `tmp*` leftovers.
  absl::Status Purge(size_t keep);

 private:
  absl::StatusOr<raft::Snapshot> LoadNewestMatching(const std::vector<Position>* vouched);

  Env* const env_;
  const std::string directory_;
  Logger* const logger_;
  struct Metrics;
  std::shared_ptr<Metrics> metrics_;  // shared with nobody; shared_ptr for the incomplete type
};

/// The content of a snapshot file, and back. Errors: DataLoss "snap: empty snapshot", "snap: crc mismatch".
std::string EncodeFile(const raft::Snapshot& snapshot);
absl::StatusOr<raft::Snapshot> DecodeFile(std::string_view content);

}  // namespace kvorum::snap
