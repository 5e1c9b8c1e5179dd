#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "absl/functional/any_invocable.h"
#include "backend/backend.h"
#include "base/log.h"
#include "base/metrics.h"

namespace kvorum::backend {

struct LmdbOptions {
  std::string directory;  ///< made where it is missing
  std::chrono::nanoseconds batch_interval = std::chrono::milliseconds(100);
  uint64_t batch_limit_writes = 10'000;
  /// EndEntry waits while more than this waits to be committed.
  uint64_t buffer_limit_bytes = 64 << 20;
  /// How large the file may ever grow; address space, not memory.
  uint64_t map_size_bytes = uint64_t{64} << 30;
  Logger* logger = &NullLogger();        ///< borrowed
  metrics::Registry* metrics = nullptr;  ///< borrowed; may be null
  /// A commit failed: nothing more will become durable and the process has to stop. Called once.
  absl::AnyInvocable<void(absl::Status)> on_failure;
};

/// Errors: Unavailable where another process has the database, DataLoss where it is damaged,
/// FailedPrecondition where it is no database of ours; the text names the path.
absl::StatusOr<std::unique_ptr<Backend>> OpenLmdbBackend(LmdbOptions options);

}  // namespace kvorum::backend
