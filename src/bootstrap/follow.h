#pragma once

#include "absl/status/status.h"
#include "cluster/cluster.h"
#include "raft/types.h"

namespace kvorum::bootstrap {

/// Makes of the membership, in memory, what an entry of the log makes of it: nothing where it is no conf
/// change, or one that is refused. Errors: DataLoss, InvalidArgument for one that cannot be read.
absl::Status FollowConfChange(const raft::Entry& entry, cluster::Cluster* cluster);

}  // namespace kvorum::bootstrap
