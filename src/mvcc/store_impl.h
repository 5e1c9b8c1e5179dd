#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "mvcc/compactor.h"
#include "mvcc/key_index.h"
#include "mvcc/store.h"
#include "mvcc/store_metrics.h"
#include "mvcc/watch_history.h"
#include "mvcc/watch_hub.h"

namespace kvorum::mvcc {

/// How readers outside see all of a transaction or nothing: they read at a main revision that is at most
/// `current_`, which the writer raises when the transaction's last change is in index and backend. What the
/// index gains before that is newer than any such revision, and so not there for them.
class StoreImpl final : public Store, public WatchHistory {
 public:
  explicit StoreImpl(const StoreOptions& options);

  /// Reads everything from the backend; before any other call.
  absl::Status Restore();

  absl::StatusOr<RangeResult> Range(const RangeOptions& options) override;
  std::unique_ptr<WriteTxn> Begin() override;
  int64_t current_revision() const override { return current_.load(std::memory_order_acquire); }
  int64_t compact_revision() const override { return compacted_.load(std::memory_order_acquire); }
  absl::Status StartCompaction(int64_t revision) override;
  bool CompactStep(size_t max_records) override;
  bool compacting() const override { return compacting_.load(std::memory_order_acquire); }
  absl::StatusOr<HashResult> Hash(int64_t revision) override;
  WatchHub& watch_hub() override { return hub_; }
  int64_t key_count() const override { return live_keys_.load(std::memory_order_relaxed); }
  void CheckInvariants() const override;

  std::unique_ptr<backend::ReadView> NewView() override { return backend_->NewReadView(); }
  absl::StatusOr<int64_t> ReadChanges(backend::ReadView& view, int64_t from, int64_t to, size_t max_records,
                                      std::vector<HistoryChange>* changes) override;
  std::optional<std::string_view> RecordAt(backend::ReadView& view, std::string_view key,
                                           int64_t revision) override;

 private:
  class Txn;

  /// What a range found in the index.
  struct Found {
    int64_t current = 0;
    int64_t at = 0;  ///< the revision read
    int64_t count = 0;
    std::vector<Revision> revisions;
  };

  /// `newest`: the revision that the reader may see at most; nothing: the published one.
  absl::StatusOr<RangeResult> Read(const RangeOptions& options, std::optional<int64_t> newest);
  absl::StatusOr<Found> Search(const RangeOptions& options, std::optional<int64_t> newest);
  absl::Status CollectAll(const KeyRange& range, size_t want, Found* found);
  absl::Status CheckReadable(int64_t at, int64_t newest) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  /// False where a record is missing.
  static absl::StatusOr<bool> Fetch(const std::vector<Revision>& revisions, RangeResult* result);
  static absl::StatusOr<bool> FetchUnchecked(std::vector<Revision> revisions, RangeResult* result);

  absl::Status RestoreRecords();
  struct RestoredRecord;
  static absl::StatusOr<RestoredRecord> ParseRestored(std::string_view key, std::string_view value);
  void RestoreBatch(const std::vector<RestoredRecord>& batch);
  void AttachLeases();
  absl::StatusOr<int64_t> ReadCompactKey(std::string_view name, int64_t missing);

  struct KeepSet;
  absl::StatusOr<KeepSet> CollectKeepSet(int64_t at, int64_t compacted);
  absl::StatusOr<uint32_t> HashRecords(int64_t at, int64_t compacted, const KeepSet& keep);

  /// The key's lease from now on; zero: none. Writer only.
  void BindLease(const IndexedKey* key, LeaseId lease);

  backend::Backend* const backend_;
  LeaseBinder* const lease_binder_;
  Logger* const logger_;
  const Clock* const clock_;
  StoreMetrics metrics_;

  mutable absl::Mutex mutex_;
  KeyIndex index_ ABSL_GUARDED_BY(mutex_);

  // Written by the writer only; atomic because readers look without its turn. `compacted_` is raised under
  // `mutex_`, so that a walk over the index sees one value.
  // Invariant: compacted_ <= current_
  std::atomic<int64_t> current_{1};
  std::atomic<int64_t> compacted_{-1};
  std::atomic<int64_t> live_keys_{0};
  std::atomic<bool> compacting_{false};

  // The writer's.
  bool in_txn_ = false;
  /// Invariant: each key lives.
  absl::flat_hash_map<const IndexedKey*, LeaseId> leases_;
  std::vector<PublishedChange> changes_;  // of the open transaction
  Compactor compactor_;

  WatchHubImpl hub_;
};

}  // namespace kvorum::mvcc
