#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/env.h"

namespace kvorum::utl {

/// What `snapshot status` tells (reference: ctl.md §6, bbolt-format.md §10).
struct SnapshotStatus {
  uint32_t hash = 0;         ///< CRC-32C of all buckets
  int64_t revision = 0;      ///< of the last record
  uint64_t total_keys = 0;   ///< that exist at that revision
  uint64_t total_bytes = 0;  ///< of the database
  std::string version;       ///< of its form; empty where it does not say one
};
/// Reads the whole file. Errors: NotFound, DataLoss for a file that is damaged or has no such records.
absl::StatusOr<SnapshotStatus> ReadSnapshotStatus(const std::string& path);

/// The sum behind a database that a server sent; a file copied from a data directory has none.
enum class SumCheck : uint8_t { kRequired, kSkip };
/// Errors: FailedPrecondition where a sum is required and there is none; DataLoss where it does not fit.
absl::Status CheckSum(Env& env, const std::string& path, SumCheck check);

}  // namespace kvorum::utl
