#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "cluster/cluster.h"

namespace kvorum::cluster {

// The list of members that members show each other (reference: peer-protocol.md §6.1).

/// A JSON array and a newline.
std::string MembersToJson(const std::vector<Member>& members);
/// Errors: DataLoss. null is an empty list.
absl::StatusOr<std::vector<Member>> MembersFromJson(std::string_view text);

}  // namespace kvorum::cluster
