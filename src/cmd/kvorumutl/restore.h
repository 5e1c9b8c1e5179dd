#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/env.h"
#include "base/log.h"
#include "cmd/kvorumutl/snapshot_file.h"

namespace kvorum::utl {

struct RestoreOptions {
  std::string snapshot_path;
  std::string data_dir;
  std::string wal_dir;  ///< empty: inside of data_dir
  std::string name;
  std::map<std::string, std::vector<std::string>> initial_cluster;
  std::string initial_cluster_token;
  std::vector<std::string> advertise_peer_urls;
  SumCheck sum_check = SumCheck::kRequired;
  /// How far the revision goes beyond the snapshot's, so that none that clients have seen comes again.
  uint64_t bump_revision = 0;
  /// Everything up to the last revision is compacted, so that watchers and caches begin anew.
  bool mark_compacted = false;
};

/// "a=http://x,a=http://y,b=http://z": the URLs of each name. InvalidArgument where a part has no name.
absl::StatusOr<std::map<std::string, std::vector<std::string>>> ParseInitialCluster(std::string_view text);

/// Makes the data directory of one member of a new cluster that begins with the keys of a snapshot file, ours
/// or etcd's (reference: wal-and-snap.md §8): the database with the members of the new cluster, a log that
/// adds them, and a snapshot that both meet in. The log is written last: what was left unfinished does not
/// start. Errors: AlreadyExists where there is something already; those of the configuration and the file.
absl::Status Restore(const RestoreOptions& options, Env& env, Logger& logger);

}  // namespace kvorum::utl
