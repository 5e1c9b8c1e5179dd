#pragma once

#include "absl/status/status.h"
#include "bootstrap/bootstrap.h"

namespace kvorum::bootstrap {

/// Whether a new cluster can be made of `options`; InvalidArgument with etcd's text where not.
absl::Status CheckNewCluster(const Options& options);

}  // namespace kvorum::bootstrap
