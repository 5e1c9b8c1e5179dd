#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/env.h"
#include "base/log.h"
#include "base/metrics.h"
#include "raft/types.h"
#include "wal/wal_format.h"

namespace kvorum::wal {

struct Options {
  Env* env = nullptr;                    ///< borrowed
  Logger* logger = &NullLogger();        ///< borrowed
  metrics::Registry* metrics = nullptr;  ///< borrowed; may be null
  const Clock* clock = &SystemClock();   ///< borrowed; for durations and the names of what is set aside
  uint64_t segment_size_bytes = kSegmentSizeBytes;
  /// Never waits for the disk: --unsafe-no-fsync.
  bool unsafe_no_fsync = false;
};

/// Whose log it is: etcdserverpb.Metadata.
struct Metadata {
  uint64_t node_id = 0;
  uint64_t cluster_id = 0;
  bool operator==(const Metadata&) const = default;
};

/// The log's note that a snapshot up to `index` exists.
struct SnapshotRecord {
  raft::Index index;
  raft::Term term;
  std::optional<raft::ConfState> conf_state;  ///< always there for index > 0, but in logs of etcd 3.4

  bool operator==(const SnapshotRecord&) const = default;
};

/// One unit of writing: what one Ready wants on disk. Borrowed until Save returns.
///
/// A snapshot that the log does not reach yet (one received from the leader) stands before the entries that
/// follow it, and with a hard state that commits it: however much of the batch a crash leaves, the log reads.
struct Batch {
  raft::HardState hard_state;  ///< empty where unchanged
  std::span<const raft::Entry> entries;
  const SnapshotRecord* snapshot = nullptr;  ///< REQUIRES: conf_state for index > 0
};

/// What a log says when it is opened.
struct Recovered {
  Metadata metadata;
  raft::HardState hard_state;
  std::vector<raft::Entry> entries;  ///< after the start snapshot
};

/// The write-ahead log of one member: segments of records in one directory, each with a checksum that covers
/// everything before it. Byte for byte etcd's (reference: wal-and-snap.md §2). One writer; not thread-safe.
///
/// A failed write or sync is final: every later call gives the same error, and nothing is written any more.
class Wal {
 public:
  virtual ~Wal() = default;

  /// Makes a new log. Errors: AlreadyExists where `directory` has one.
  static absl::StatusOr<std::unique_ptr<Wal>> Create(const std::string& directory, const Metadata& metadata,
                                                     const Options& options);

  struct Opened;
  /// Opens the log for going on after the snapshot `start`; a torn tail is cut off (the segment as it was is
  /// kept as `.broken`). Errors: NotFound where no segment reaches `start` or the log has no record of it;
  /// DataLoss, with the file and the offset, for damage anywhere else; Unavailable where somebody has it.
  static absl::StatusOr<Opened> Open(const std::string& directory, const SnapshotRecord& start,
                                     const Options& options);

  /// Writes the batches, one after another, with one vectored write, and waits for the disk once where one of
  /// them holds entries, a snapshot, a new term or a new vote; a commit index alone is written without
  /// waiting, so that who copies the files of a running log gets it. Where the current segment is full
  /// already, cuts a new one first. REQUIRES: entries leave no gap after the last one
  virtual absl::Status Save(std::span<const Batch> batches) = 0;
  /// Durable when it returns. REQUIRES: conf_state for index > 0
  virtual absl::Status SaveSnapshot(const SnapshotRecord& record) = 0;
  /// Everything saved is durable when it returns.
  virtual absl::Status Sync() = 0;

  /// True where the current segment is half full and nobody has begun to make the next one.
  virtual bool WantsNextSegment() const = 0;
  /// Makes the next segment's file ahead of need, so that no Save waits for it; gives up soon after `stop` is
  /// set. May run on another thread than everything else. A failure is forgotten: the cut tries again.
  virtual void PrepareNextSegment(const std::atomic<bool>& stop) = 0;

  /// Gives up the locks of the segments that hold only entries before `index`, so that purging may remove
  /// them.
  virtual absl::Status ReleaseTo(raft::Index index) = 0;
};

struct Wal::Opened {
  std::unique_ptr<Wal> wal;
  Recovered recovered;
};

/// True where `directory` has at least one segment.
bool Exists(Env& env, const std::string& directory);

/// Reads without locking or changing anything. Errors as Open; a torn tail is no error.
absl::StatusOr<Recovered> ReadOnly(const std::string& directory, const SnapshotRecord& start,
                                   const Options& options);

/// The snapshot records that the log vouches for: those up to its last commit index, in the log's order,
/// first the one of index 0.
absl::StatusOr<std::vector<SnapshotRecord>> ValidSnapshots(const std::string& directory,
                                                           const Options& options);

/// Removes the oldest segments that nobody has locked until `keep` are left (0: keeps all). Returns the names
/// of those removed.
absl::StatusOr<std::vector<std::string>> Purge(Env& env, const std::string& directory, size_t keep);

}  // namespace kvorum::wal
