#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/env.h"
#include "base/log.h"
#include "raft/types.h"

namespace kvorum::wal {

/// One file of the log: `%016x-%016x.wal`.
struct Segment {
  uint64_t sequence = 0;
  raft::Index index;  ///< the first entry that may be in it
  std::string name;
};

std::string SegmentName(uint64_t sequence, raft::Index index);
std::optional<Segment> ParseSegmentName(std::string_view name);
/// `directory/name`
std::string PathOf(const std::string& directory, std::string_view name);

/// The segments in the directory, by name. Other files are named in the log, but for those that etcd and we
/// put there. NotFound where there is none.
absl::StatusOr<std::vector<Segment>> ListSegments(Env& env, const std::string& directory, Logger& logger);

/// Those that may have entries after `index`, all in sequence: from the last one that begins at or before
/// `index` on. Errors: NotFound where there is none; DataLoss where one is missing between.
absl::StatusOr<std::vector<Segment>> SelectSegments(std::vector<Segment> segments, raft::Index index);

}  // namespace kvorum::wal
