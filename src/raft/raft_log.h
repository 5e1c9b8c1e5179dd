#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "base/log.h"
#include "raft/storage.h"
#include "raft/types.h"
#include "raft/unstable_log.h"

namespace kvorum::raft {

/// A position in the log, and the term of the entry there.
struct EntryId {
  Term term;
  Index index;

  bool operator==(const EntryId&) const = default;
};

/// The whole log: the stable storage, then the unstable end, with the marks of how far it is committed and
/// applied. Source: reference raft.md §3.
///
/// Invariant: applied() <= applying() <= committed() <= LastIndex()
class RaftLog {
 public:
  /// Whether entries that are not durable here may be handed out to be applied.
  enum class ApplyUnstable : uint8_t { kNo, kYes };

  /// `storage` and `logger` are borrowed. Committed entries are handed out until `max_applying_bytes` of them
  /// (encoded) are being applied.
  RaftLog(const Storage& storage, Logger& logger, uint64_t max_applying_bytes, ApplyUnstable apply_unstable);

  Index FirstIndex() const;
  Index LastIndex() const;
  EntryId LastEntryId() const;
  Index committed() const { return committed_; }
  Index applying() const { return applying_; }
  Index applied() const { return applied_; }
  const UnstableLog& unstable() const { return unstable_; }

  /// Nothing where the entry is compacted or not there; the entry before the first has its term known.
  std::optional<Term> TermAt(Index index) const;
  bool Matches(EntryId id) const { return TermAt(id.index) == id.term; }
  /// A log that ends in `last` has everything that may be committed here (paper §5.4.1).
  bool IsUpToDate(EntryId last) const;
  /// The last index at or before `index` whose term is at most `term`, or unknown (term 0 then): where the
  /// logs can agree at the latest.
  EntryId FindConflictByTerm(Index index, Term term) const;

  /// Entries of [low, end), as many as encode to `max_bytes`, at least one; error kCompacted.
  absl::StatusOr<std::vector<Entry>> EntriesFrom(Index low, uint64_t max_bytes) const;
  /// Whether `matches` holds for an entry of [low, high), fetched in pages of `page_bytes`.
  /// REQUIRES: nothing of it is compacted
  bool AnyEntry(Index low, Index high, uint64_t page_bytes,
                absl::FunctionRef<bool(const Entry&)> matches) const;
  /// The unstable snapshot, or the storage's.
  absl::StatusOr<Snapshot> GetSnapshot() const;

  /// Follower's append: takes `entries`, which follow `previous` on the leader, and what of `leader_commit`
  /// is covered by them; gives the last index that is known to agree with the leader's log, or nothing where
  /// `previous` does not match (paper fig. 2, AppendEntries 2 to 5).
  std::optional<Index> MaybeAppend(EntryId previous, Index leader_commit, std::vector<Entry> entries);
  /// Leader's append. REQUIRES: the first entry is behind committed()
  Index Append(std::vector<Entry> entries);
  /// Never decreases. REQUIRES: index <= LastIndex()
  void CommitTo(Index index);
  /// Everything up to the snapshot is committed; the entries are gone.
  void Restore(Snapshot snapshot);

  // ---- handing out ----

  std::span<const Entry> NextUnstableEntries() const { return unstable_.NextEntries(); }
  const Snapshot* NextUnstableSnapshot() const { return unstable_.NextSnapshot(); }
  bool HasUnstableSnapshot() const { return unstable_.snapshot() != nullptr; }
  bool HasUnstableEntries() const { return unstable_.has_entries(); }
  void AcceptUnstable() { unstable_.AcceptInProgress(); }
  void StableTo(EntryId id) { unstable_.StableTo(id.index, id.term); }
  void StableSnapshotTo(Index index) { unstable_.StableSnapshotTo(index); }

  bool HasNextCommittedEntries() const;
  std::vector<Entry> NextCommittedEntries() const;
  /// The entries up to `index`, of `bytes` (encoded), were handed out to be applied.
  void AcceptApplying(Index index, uint64_t bytes);
  /// They were applied. REQUIRES: applied() <= index <= committed()
  void AppliedTo(Index index, uint64_t bytes);

  /// "committed=3, applied=2, …", as the log line of a snapshot shows it.
  std::string ToString() const;
  /// Stops the process where an `Invariant:` above does not hold.
  void CheckInvariants() const;

 private:
  absl::StatusOr<std::vector<Entry>> Slice(Index low, Index high, uint64_t max_bytes) const;
  void CheckBounds(Index low, Index high) const;
  /// The first of `entries` that is not in the log as it is; their end where all are.
  size_t FindConflict(std::span<const Entry> entries) const;
  Index MaxAppliable() const;

  const Storage& storage_;
  Logger& logger_;
  UnstableLog unstable_;
  /// Known to be on a quorum. Written by CommitTo and Restore.
  Index committed_;
  /// Handed out to be applied. Written by AcceptApplying and AppliedTo.
  Index applying_;
  /// Reported as applied. Written by AppliedTo.
  Index applied_;
  const uint64_t max_applying_bytes_;
  const ApplyUnstable apply_unstable_;
  /// Encoded size of the entries in (applied_, applying_].
  uint64_t applying_bytes_ = 0;
  /// Nothing more is handed out until something was applied.
  bool applying_paused_ = false;
};

}  // namespace kvorum::raft
