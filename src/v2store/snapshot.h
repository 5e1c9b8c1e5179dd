#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "v2store/node.h"
#include "v2store/stats.h"
#include "v2store/watch_hub.h"

namespace kvorum::v2store {

/// A store's content at one index.
struct Snapshot {
  NodeRef root;
  WatchHub::Past past;
  uint64_t index = 0;
  Stats stats;
};

/// As etcd writes it (reference: v2-replication.md §3.3). Without recursion.
std::string ToJson(const Snapshot& snapshot);

/// What the JSON says, in the place of what `before` has; what it does not say stays as it was, but for the
/// tree, which it has to say. The root of the result is its only share. Memory: what the text says, and no
/// more. Errors: DataLoss.
absl::StatusOr<Snapshot> SnapshotFromJson(std::string_view json, Snapshot before);

}  // namespace kvorum::v2store
