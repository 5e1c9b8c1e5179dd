#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "cluster/cluster.h"

namespace kvorum::cluster {

/// The membership as etcd's v2 store writes itself: what the data of a raft snapshot has to be for members of
/// etcd 3.4 to 3.6 to take it (reference: wal-and-snap.md §3.3, §3.4). Every member with its attributes,
/// every member that was removed, and the cluster version; no keys, an empty history.
std::string V2StoreJson(const Cluster& cluster);

/// The membership that the v2 store of any release says; whatever else is in it is passed over. Errors:
/// DataLoss for what is none.
absl::StatusOr<Roster> RosterFromV2StoreJson(std::string_view json);

}  // namespace kvorum::cluster
