#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/env.h"
#include "base/log.h"

namespace kvorum::utl {

/// A release of etcd, without the patch.
struct Release {
  int major = 0;
  int minor = 0;
  auto operator<=>(const Release&) const = default;
};
/// "3.6" or "etcd-3.6"; from 3.4 to 3.7. Errors: InvalidArgument.
absl::StatusOr<Release> ReleaseFrom(std::string_view text);

struct MigrateOptions {
  std::string data_dir;
  std::string wal_dir;  ///< empty: inside of data_dir
  Release target;
  /// The cluster version is lowered though there are other members: they are migrated too.
  bool force = false;
};

/// Makes of a data directory of a stopped Kvorum one that etcd of the release starts from: a snapshot of
/// where the database stands, the database beside it in etcd's form, and a note of the snapshot in the log,
/// in this order, so that Kvorum starts from whatever a crash leaves. Kvorum's own database stays as it is,
/// and is replaced should Kvorum start there again. Errors: FailedPrecondition for what the release cannot
/// read and where etcd ran there last, Unavailable where the directory is in use, DataLoss for a damaged one.
absl::Status Migrate(const MigrateOptions& options, Env& env, Logger& logger);

}  // namespace kvorum::utl
