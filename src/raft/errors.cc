#include "raft/errors.h"

#include <array>

#include "absl/strings/string_view.h"

namespace kvorum::raft {
namespace {

struct Row {
  Error error;
  absl::StatusCode code;
  absl::string_view text;
};

constexpr std::array kRows = {
    Row{Error::kProposalDropped, absl::StatusCode::kUnavailable, "raft proposal dropped"},
    Row{Error::kStepLocalMessage, absl::StatusCode::kInvalidArgument, "raft: cannot step raft local message"},
    Row{Error::kStepPeerNotFound, absl::StatusCode::kNotFound, "raft: cannot step as peer not found"},
    Row{Error::kCompacted, absl::StatusCode::kOutOfRange, "requested index is unavailable due to compaction"},
    Row{Error::kSnapshotOutOfDate, absl::StatusCode::kFailedPrecondition,
        "requested index is older than the existing snapshot"},
    Row{Error::kUnavailable, absl::StatusCode::kOutOfRange, "requested entry at index is unavailable"},
    Row{Error::kSnapshotTemporarilyUnavailable, absl::StatusCode::kUnavailable,
        "snapshot is temporarily unavailable"},
};

}  // namespace

absl::Status MakeError(Error error) {
  for (const Row& row : kRows) {
    if (row.error == error) return absl::Status(row.code, row.text);
  }
  return absl::OkStatus();
}

Error ErrorCode(const absl::Status& status) {
  if (status.ok()) return Error::kNone;
  for (const Row& row : kRows) {
    if (row.code == status.code() && row.text == status.message()) return row.error;
  }
  return Error::kNone;
}

}  // namespace kvorum::raft
