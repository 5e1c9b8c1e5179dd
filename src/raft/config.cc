#include "raft/config.h"

namespace kvorum::raft {

absl::Status Config::Validate() {
  const auto invalid = [](const char* text) { return absl::InvalidArgumentError(text); };
  if (id == kNoNode) return invalid("cannot use none as id");
  if (id == kAppendThread || id == kApplyThread) return invalid("cannot use local target as id");
  if (heartbeat_ticks <= 0) return invalid("heartbeat tick must be greater than 0");
  if (election_ticks <= heartbeat_ticks) return invalid("election tick must be greater than heartbeat tick");
  if (storage == nullptr) return invalid("storage cannot be nil");
  if (max_uncommitted_entries_size == 0) max_uncommitted_entries_size = kNoLimit;
  if (max_committed_size_per_ready == 0) max_committed_size_per_ready = max_size_per_message;
  if (max_inflight_messages <= 0) return invalid("max inflight messages must be greater than 0");
  if (max_inflight_bytes == 0) {
    max_inflight_bytes = kNoLimit;
  } else if (max_inflight_bytes < max_size_per_message) {
    return invalid("max inflight bytes must be >= max message size");
  }
  if (read_only == ReadOnlyOption::kLeaseBased && !check_quorum) {
    return invalid("CheckQuorum must be enabled when ReadOnlyOption is ReadOnlyLeaseBased");
  }
  if (random == nullptr) return invalid("random cannot be null");
  if (logger == nullptr) logger = &NullLogger();
  return absl::OkStatus();
}

}  // namespace kvorum::raft
