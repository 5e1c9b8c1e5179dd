#pragma once

#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "raft/types.h"

namespace kvorum::raft {

/// How many of `entries`, from the front, encode to at most `max_bytes`; at least one where there is one.
size_t CountWithinSize(std::span<const Entry> entries, uint64_t max_bytes);

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
  /// Replaces everything; kSnapshotOutOfDate where the snapshot that is here reaches as far.
  absl::Status ApplySnapshot(Snapshot snapshot);
  /// Makes the snapshot at `index` that GetSnapshot() returns from now on; kSnapshotOutOfDate where the one
  /// that is here reaches as far, kCompacted. A null `conf_state` keeps the one before.
  /// REQUIRES: index <= LastIndex()
  absl::StatusOr<Snapshot> CreateSnapshot(Index index, const ConfState* conf_state, Bytes data);
  /// Drops the entries up to and including `index`; kCompacted where they are gone.
  /// REQUIRES: index <= LastIndex()
  absl::Status Compact(Index index);

 private:
  std::span<const Entry> live() const;

  HardState hard_state_;
  Snapshot snapshot_;
  /// From front_ on: an entry that stands for the compacted log (index and term, no data), then the log
  /// without a gap. What is before front_ is dropped, and moved over now and then.
  std::vector<Entry> entries_;
  size_t front_ = 0;
};

}  // namespace kvorum::raft
