#pragma once

#include "absl/status/status.h"
#include "base/log.h"
#include "bootstrap/bootstrap.h"
#include "config/config.h"
#include "http/loop.h"

namespace kvorum::cmd {

/// Says in `options` where the first members of a new cluster come from: --initial-cluster, DNS, or a
/// discovery service, which bootstrap::Prepare asks when it comes to that. DNS is asked here, unless the
/// directory has a log already; blocks for as long. `config`, `loop` (not the caller's) and `logger` are
/// borrowed for as long as the options are used. Errors: one line, as etcd words it.
absl::Status SetFirstMembers(const config::Config& config, http::Loop* loop, Logger* logger,
                             bootstrap::Options* options);

/// Whether a proxy is to be started instead of the member whose start failed with `failure`:
/// --discovery-fallback=proxy, and the cluster is full.
bool FallsBackToProxy(const config::Config& config, const absl::Status& failure);

/// Tells the operator what to do after a failed start, where it was discovery that failed (reference:
/// proxy-discovery.md §3.3); false where it was not, and then nothing is said.
bool ExplainDiscoveryFailure(const config::Config& config, const absl::Status& failure, Logger& logger);

}  // namespace kvorum::cmd
