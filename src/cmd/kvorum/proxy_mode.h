#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "base/env.h"
#include "base/json_logger.h"
#include "config/config.h"

namespace kvorum::cmd {

/// What the data directory was used for (reference: proxy-discovery.md §3.1).
enum class DataDirKind { kFresh, kMember, kProxy };

/// Warns of what does not belong there. Errors: it has the directories of both; or it cannot be read.
absl::StatusOr<DataDirKind> IdentifyDataDir(Env& env, const std::string& data_dir, Logger& logger);

/// Whether the process is to be a proxy: as the directory was used before, else as the flags say. Errors: as
/// of IdentifyDataDir.
absl::StatusOr<bool> IsProxyMode(const config::Config& config, Env& env, Logger& logger);

/// Runs proxy mode (reference: proxy-discovery.md §6) until a signal, which ends the process, or a failed
/// start: the exit status. Serves the client URLs, and the URLs of --listen-metrics-urls; no member's flags
/// but those of HTTP and gRPC servers, of time limits and of sizes have a meaning here.
int RunProxy(const config::Config& config, JsonLogger& logger);

}  // namespace kvorum::cmd
