#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "raft/types.h"

namespace kvorum::raft {

/// The stable part of the log, as the consensus core reads it. The core never writes: its user appends what a
/// `Ready` hands out. Called on the core's thread only.
///
/// Errors are told apart by `ErrorCode(status)` of errors.h: kCompacted, kUnavailable,
/// kSnapshotTemporarilyUnavailable.
class Storage {
 public:
  virtual ~Storage() = default;

  struct InitialState {
    HardState hard_state;
    ConfState conf_state;
  };
  virtual absl::StatusOr<InitialState> GetInitialState() const = 0;

  /// The entries of [low, high), from the front, as many as encode to at most `max_bytes`, but at least one.
  virtual absl::StatusOr<std::vector<Entry>> Entries(Index low, Index high, uint64_t max_bytes) const = 0;
  /// REQUIRES for OK: FirstIndex() - 1 <= index <= LastIndex()
  virtual absl::StatusOr<Term> GetTerm(Index index) const = 0;
  virtual Index LastIndex() const = 0;
  /// The first entry that is still there; entries before it are in the snapshot.
  virtual Index FirstIndex() const = 0;
  virtual absl::StatusOr<Snapshot> GetSnapshot() const = 0;
};

/// The log in memory, over a snapshot: what a running member keeps of its log for followers, and all that
/// tests need. Not thread-safe.
class MemoryStorage : public Storage {
 public:
  MemoryStorage();

  absl::StatusOr<InitialState> GetInitialState() const override;
  absl::StatusOr<std::vector<Entry>> Entries(Index low, Index high, uint64_t max_bytes) const override;
  absl::StatusOr<Term> GetTerm(Index index) const override;
  Index LastIndex() const override;
  Index FirstIndex() const override;
  absl::StatusOr<Snapshot> GetSnapshot() const override;

  void SetHardState(const HardState& state) { hard_state_ = state; }
  /// Replaces what overlaps, drops what the snapshot covers. REQUIRES: no gap after LastIndex()
  void Append(std::vector<Entry> entries);
  /// Replaces everything; kSnapshotOutOfDate where what is here reaches further.
  absl::Status ApplySnapshot(Snapshot snapshot);
  /// Makes the snapshot at `index` that GetSnapshot() returns from now on. REQUIRES: index <= LastIndex()
  absl::StatusOr<Snapshot> CreateSnapshot(Index index, const ConfState* conf_state, Bytes data);
  /// Drops the entries up to and including `index`. REQUIRES: index <= LastIndex()
  absl::Status Compact(Index index);

 private:
  HardState hard_state_;
  Snapshot snapshot_;
  /// entries_[0] stands for the snapshot: its index and term, no data. A deque-like vector: compaction moves
  /// the front.
  std::vector<Entry> entries_;
  size_t front_ = 0;
};

}  // namespace kvorum::raft
