#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/log.h"
#include "raft/types.h"

namespace kvorum::raft {

/// The end of the log that is not known to be durable: perhaps a snapshot, and the entries from `offset()`
/// on. Those before `offset_in_progress()` were handed out to be written.
///
/// Invariant: entries are contiguous and start at offset().
/// Invariant: offset() <= offset_in_progress() <= offset() + number of entries
class UnstableLog {
 public:
  /// `logger` is borrowed.
  UnstableLog(Index offset, Logger& logger)
      : offset_(offset), offset_in_progress_(offset), logger_(&logger) {}

  /// The first index of the whole log, where a snapshot says so.
  std::optional<Index> FirstIndex() const;
  /// The last index of the whole log, where there is an entry or a snapshot.
  std::optional<Index> LastIndex() const;
  std::optional<Term> TermAt(Index index) const;

  Index offset() const { return offset_; }
  Index offset_in_progress() const { return offset_in_progress_; }
  bool has_entries() const { return !entries_.empty(); }
  size_t entry_count() const { return entries_.size(); }
  /// REQUIRES: offset() <= low <= high <= the end
  std::span<const Entry> Slice(Index low, Index high) const;

  /// What was not handed out yet.
  std::span<const Entry> NextEntries() const;
  const Snapshot* NextSnapshot() const { return snapshot_ && !snapshot_in_progress_ ? &*snapshot_ : nullptr; }
  /// Also one that was handed out and is not durable yet.
  const Snapshot* snapshot() const { return snapshot_ ? &*snapshot_ : nullptr; }
  /// Everything there is was handed out.
  void AcceptInProgress();

  /// Everything up to `index` is durable, if the entry there still has the term `term`: an entry that was
  /// replaced while it was written is not what the answer was about.
  void StableTo(Index index, Term term);
  void StableSnapshotTo(Index index);

  /// Starts anew behind `snapshot`.
  void Restore(Snapshot snapshot);
  /// Replaces everything from the first of `entries` on. REQUIRES: entries is not empty, no gap
  void TruncateAndAppend(std::vector<Entry> entries);

  /// Stops the process where an `Invariant:` above does not hold.
  void CheckInvariants() const;

 private:
  Index end() const { return offset_ + entries_.size(); }

  std::optional<Snapshot> snapshot_;
  bool snapshot_in_progress_ = false;
  std::vector<Entry> entries_;
  Index offset_;
  Index offset_in_progress_;
  Logger* logger_;
};

}  // namespace kvorum::raft
