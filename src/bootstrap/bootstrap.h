#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "backend/backend.h"
#include "base/env.h"
#include "base/log.h"
#include "base/metrics.h"
#include "member/member.h"
#include "member/ports.h"
#include "wal/wal.h"

namespace kvorum::bootstrap {

/// Where everything of one member lies (design: docs/formats.md).
struct Layout {
  std::string data_dir;
  std::string member_dir;   ///< data_dir/member
  std::string wal_dir;      ///< data_dir/member/wal, or --wal-dir
  std::string snap_dir;     ///< data_dir/member/snap
  std::string backend_dir;  ///< data_dir/member/backend
};
/// `wal_dir` empty: the default.
Layout LayoutOf(const std::string& data_dir, const std::string& wal_dir);

enum class ClusterState : uint8_t { kNew, kExisting };

/// The peer URLs of each member by its name.
using ClusterMap = std::map<std::string, std::vector<std::string>>;

/// How far a member's first start came.
enum class Attempt : uint8_t {
  kFirst,  ///< nothing was done
  kAgain,  ///< it took its place in the cluster, but nothing was agreed on yet
};

struct Options {
  std::string name = "default";
  std::string data_dir;
  std::string wal_dir;
  /// --initial-cluster; where `discover` is set, this member alone.
  ClusterMap initial_cluster;
  std::string initial_cluster_token = "etcd-cluster";
  ClusterState initial_cluster_state = ClusterState::kNew;
  /// Asks a discovery service for the first members of a new cluster, as member `own` of
  /// `initial_cluster_token`; null: initial_cluster has them. Blocks, perhaps without end. Its error is the
  /// start's. A new member alone calls it.
  std::function<absl::StatusOr<ClusterMap>(MemberId own, Attempt attempt)> discover;
  std::vector<std::string> advertise_peer_urls;
  /// --force-new-cluster: a restart goes on as the only member, whoever else there was.
  bool force_new_cluster = false;
  size_t max_learners = 1;
  /// How other members are asked; borrowed. May be null where there are none.
  member::PeerCalls* calls = nullptr;
  /// How long a running cluster may take to answer a member that joins it,
  std::chrono::nanoseconds fetch_timeout = std::chrono::seconds(10);
  /// and the others of a new one to say whether this member ran before.
  std::chrono::nanoseconds ask_timeout = std::chrono::seconds(1);
  /// The address of a host name, for comparing URLs that differ in it alone; null: names stand for
  /// themselves.
  std::function<absl::StatusOr<std::string>(const std::string& host)> resolve;
  /// env (borrowed, REQUIRES: not null), logger, metrics and segment size of the log.
  wal::Options wal;
};

/// A data directory that is ours, and what a member goes on from.
struct Prepared {
  Layout layout;
  std::unique_ptr<FileLock> lock;  ///< held as long as the member runs
  bool initialized = false;        ///< the directory held a member already: a restart
  member::StartState start;
  std::unique_ptr<wal::Wal> wal;  ///< null until Finish where there was none
};

/// First half of a start, before the database is opened: decides between a new cluster, joining a running one
/// and a restart, checks the configuration (reference: flags.md §4, proxy-discovery.md §3.4; on a restart it
/// is ignored), asks the discovery service and the other members (§3.2, §3.5), takes the directory and reads
/// its log. Blocks as long as they take to answer; the other members within the timeouts. A torn end of the
/// log is repaired; apart from that, nothing is changed where an error is returned. Errors: InvalidArgument
/// for a bad configuration; Unavailable where another process has the directory; FailedPrecondition where the
/// others refuse this one, and for a directory of another program; DataLoss for a damaged one.
absl::StatusOr<Prepared> Prepare(const Options& options);

/// Second half, with the database at `layout.backend_dir` open: takes a database over that etcd, or a crash,
/// left beside it (import.h), makes the log of a new member, and of a forced one a cluster of its own.
/// Errors: FailedPrecondition where the database has a past that the log lacks.
absl::Status Finish(const Options& options, backend::Backend& backend, Prepared& prepared);

/// "name=url,name=url", sorted, as etcd prints --initial-cluster.
std::string InitialClusterText(const ClusterMap& cluster);

}  // namespace kvorum::bootstrap
