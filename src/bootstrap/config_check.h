#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "bootstrap/bootstrap.h"

namespace kvorum::bootstrap {

/// Whether a new cluster can be made of `options`, or by them a running one be joined, as its state says;
/// InvalidArgument with etcd's text where not.
absl::Status CheckConfiguration(const Options& options);

/// Whether some URL stands twice, at one member or two.
bool HasDuplicateUrl(const ClusterMap& cluster);

/// OK where both lists name the same places, host names resolved; the text says why not.
absl::Status SameUrls(const Options& options, std::vector<std::string> a, std::vector<std::string> b);

}  // namespace kvorum::bootstrap
