#pragma once

#include <chrono>
#include <string>

#include "absl/status/statusor.h"
#include "base/env.h"
#include "base/log.h"

namespace kvorum::utl {

struct SaveOptions {
  std::string endpoint;  ///< "127.0.0.1:2379", or with http:// before it
  std::string path;
  std::chrono::nanoseconds dial_timeout = std::chrono::seconds(2);
};

/// Writes the snapshot that a member streams to `path`.part, checks its sum, and renames it when it is
/// durable. Gives the server's storage version; empty where it says none. Errors: Unavailable where nobody
/// answers, the server's own, DataLoss where what came is not what was sent.
absl::StatusOr<std::string> SaveSnapshot(const SaveOptions& options, Env& env, Logger& logger);

}  // namespace kvorum::utl
