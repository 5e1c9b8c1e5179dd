#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "raft/types.h"
#include "wal/segments.h"
#include "wal/wal.h"

namespace kvorum::wal {

/// What a walk over segments gives, and where it ended in the last one.
struct LogContents {
  std::optional<std::string> metadata;  ///< as it is encoded
  raft::HardState hard_state;
  std::vector<raft::Entry> entries;  ///< those after the start snapshot
  raft::Index last_index;            ///< of the last entry or snapshot record
  std::vector<SnapshotRecord> snapshots;

  uint32_t crc = 0;
  bool torn = false;             ///< an unfinished write ends the last segment
  uint64_t end = 0;              ///< where the last segment's last good record ends
  uint64_t size = 0;             ///< of the last segment
  bool clean_after_end = false;  ///< nothing but zeros after `end`, as far as that is known
};

/// Whether the entries are wanted, or only what stands between them.
enum class Collect : uint8_t { kEverything, kNoEntries };

/// Reads the segments, one after another (reference: wal-and-snap.md §2.11). `start` is the snapshot before
/// the entries wanted. Errors: DataLoss, with file and offset.
absl::StatusOr<LogContents> ReadSegments(Env& env, const std::string& directory,
                                         std::span<const Segment> segments, const SnapshotRecord& start,
                                         Collect collect);

/// DataLoss where it is malformed.
absl::StatusOr<Metadata> DecodeMetadata(std::string_view encoded);

/// NotFound where the log has no record of `start`.
absl::Status CheckHasSnapshot(const LogContents& contents, const SnapshotRecord& start);

}  // namespace kvorum::wal
