#pragma once

#include <cstdint>

#include "absl/status/status.h"

namespace kvorum::raft {

/// What a status of this folder means; the texts are etcd's (reference: raft.md §2).
enum class Error : uint8_t {
  kNone,  ///< OK, or not one of ours
  kProposalDropped,
  kStepLocalMessage,
  kStepPeerNotFound,
  kCompacted,
  kSnapshotOutOfDate,
  kUnavailable,
  kSnapshotTemporarilyUnavailable,
};

/// OK for kNone.
absl::Status MakeError(Error error);
Error ErrorCode(const absl::Status& status);

}  // namespace kvorum::raft
