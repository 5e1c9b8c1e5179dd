#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "base/log.h"
#include "base/random.h"
#include "raft/storage.h"
#include "raft/types.h"

namespace kvorum::raft {

enum class ReadOnlyOption : uint8_t {
  kSafe,        ///< leadership is confirmed by a round of heartbeats
  kLeaseBased,  ///< leadership is taken for granted for an election timeout; needs check_quorum and good
                ///< clocks
};

struct Config {
  NodeId id;
  /// Between `election_ticks` and twice that pass without a leader before an election.
  int election_ticks = 10;
  int heartbeat_ticks = 1;
  Storage* storage = nullptr;  ///< borrowed
  /// The last applied entry, when the user remembers it across restarts.
  Index applied;
  /// Encoded entries in one append message (at least one goes).
  uint64_t max_size_per_message = 1 << 20;
  /// Encoded entries in one Ready's committed entries; 0: as max_size_per_message.
  uint64_t max_committed_size_per_ready = 0;
  /// Payload of entries that are not committed yet; 0: no limit.
  uint64_t max_uncommitted_entries_size = 0;
  int max_inflight_messages = 512;
  /// 0: no limit.
  uint64_t max_inflight_bytes = 0;
  bool check_quorum = false;
  bool pre_vote = false;
  ReadOnlyOption read_only = ReadOnlyOption::kSafe;
  bool async_storage_writes = false;
  bool disable_proposal_forwarding = false;
  bool disable_conf_change_validation = false;
  bool step_down_on_removal = false;
  Random* random = nullptr;  ///< borrowed; randomises election timeouts
  Logger* logger = nullptr;  ///< borrowed; null: nothing is logged

  /// Fills in the defaults that zero stands for. Errors: reference raft.md §2, in its order.
  absl::Status Validate();
};

}  // namespace kvorum::raft
