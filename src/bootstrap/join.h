#pragma once

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "bootstrap/bootstrap.h"

namespace kvorum::bootstrap {

/// The running cluster as its members describe it, matched with --initial-cluster.
struct Joined {
  MemberId id;
  ClusterId cluster_id;
  std::vector<cluster::Member> members;  ///< as registered, by id
};

/// Asks the other members of --initial-cluster for the cluster and finds this one's place in it (reference:
/// proxy-discovery.md §3.5, §3.6; peer-protocol.md §7). Blocks, at most options.fetch_timeout for each of two
/// questions. Errors: FailedPrecondition with etcd's text. REQUIRES: CheckJoin passed
absl::StatusOr<Joined> Join(const Options& options);

/// Whether another of --initial-cluster knows member `id` as one that ran before: "member … has already been
/// bootstrapped". Members that do not answer within options.ask_timeout know nothing.
absl::Status CheckNotBootstrapped(const Options& options, MemberId id);

}  // namespace kvorum::bootstrap
