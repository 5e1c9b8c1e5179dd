#pragma once

#include <string>

#include "absl/status/status.h"
#include "backend/backend.h"
#include "bootstrap/bootstrap.h"

namespace kvorum::bootstrap {

/// Puts into the member's database what stands beside it and is newer: etcd's own, `member/snap/db`, where
/// etcd had the directory last, which becomes `db.etcd-imported` when everything of it is durable; and the
/// database that came with the newest snapshot, where a crash left it uninstalled (reference: wal-and-snap.md
/// §6). A crash leaves the same to be done again. Members come from the log and its snapshot where etcd 3.4
/// or 3.5 wrote them, for which the database is but a copy.
///
/// Errors, before anything is changed: Unavailable where etcd runs on it, DataLoss where it is damaged or
/// does not fit the log, FailedPrecondition for what there is no part for (authentication, a later
/// release's form).
absl::Status ImportDatabase(const Options& options, backend::Backend& backend, Prepared& prepared);

/// Whether there is a part of ours for everything in a database that another program may have written: OK, or
/// FailedPrecondition, with `path` in the text.
absl::Status CheckUsable(backend::ReadView& database, const std::string& path);

}  // namespace kvorum::bootstrap
