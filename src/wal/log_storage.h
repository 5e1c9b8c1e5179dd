#pragma once

#include <optional>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "raft/types.h"
#include "wal/wal.h"

namespace kvorum::wal {

/// The durable log as a member sees it: a queue of writes that are done in order. The real one is LogWriter;
/// the simulator has its own.
class LogStorage {
 public:
  virtual ~LogStorage() = default;

  struct Write {
    raft::HardState hard_state;  ///< empty where unchanged
    std::vector<raft::Entry> entries;
    std::optional<SnapshotRecord> snapshot;  ///< as in Batch
    /// Called once, in the order of the writes, when everything here is durable, or with the error that ends
    /// this log: every later write gets it too. Runs on the storage's thread and must not block.
    absl::AnyInvocable<void(absl::Status)> done;
  };

  /// Thread-safe; never waits for the disk.
  virtual void Enqueue(Write write) = 0;

  /// The same for several. Where nothing is queued or being written the storage may write them on the calling
  /// thread, which then waits for the disk and is spared two changes of threads: for a caller whom nobody
  /// else waits for. `done` may run inside the call.
  virtual void SaveNow(std::vector<Write> writes) {
    for (Write& write : writes) Enqueue(std::move(write));
  }

  /// After what is queued: entries before `index` are not needed any more.
  virtual void ReleaseTo(raft::Index index) = 0;
};

}  // namespace kvorum::wal
