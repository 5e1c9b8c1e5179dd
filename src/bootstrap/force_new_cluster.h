#pragma once

#include "absl/status/status.h"
#include "bootstrap/bootstrap.h"

namespace kvorum::bootstrap {

/// Makes of `prepared` the only voter of its cluster, with all data up to the commit index: drops what is not
/// committed, appends to the log the conf changes that take every other member out (reference:
/// wal-and-snap.md §7), and takes them out of the database too, so that the member never speaks to them. The
/// ids stay. What is alone already stays as it is. Errors: DataLoss; those of log and database. REQUIRES: a
/// log with entries or a snapshot
absl::Status ForceNewCluster(const Options& options, backend::Backend& backend, Prepared& prepared);

}  // namespace kvorum::bootstrap
