#pragma once

#include <atomic>
#include <deque>
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

class FrozenContent;

/// How readers outside see all of a transaction or nothing: they read at a main revision that is at most
/// `current_`, which the writer raises when the transaction's last change is in index and backend. What the
/// index gains before that is newer than any such revision, and so not there for them.
///
/// When another database takes the place of this one, index and views must not be mixed. `generation_` rises
/// when the backend's content is about to be replaced (from then on views are of what was frozen before) and
/// when the index was; a reader whose view is not of the generation in which it looked at the index begins
/// again.
class StoreImpl final : public Store, public WatchHistory {
 public:
  explicit StoreImpl(const StoreOptions& options);
  ~StoreImpl() override;

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
  void BeginReload() override;
  absl::Status Reload() override;
  absl::Status HashCompaction() override;
  std::vector<HashResult> compaction_hashes() const override;
  WatchHub& watch_hub() override { return hub_; }
  int64_t key_count() const override { return live_keys_.load(std::memory_order_relaxed); }
  void CheckInvariants() const override;

  std::unique_ptr<backend::ReadView> NewView() override {
    uint64_t generation = 0;
    return NewView(&generation);
  }
  absl::StatusOr<int64_t> ReadChanges(backend::ReadView& view, int64_t from, int64_t to, size_t max_records,
                                      std::vector<HistoryChange>* changes) override;
  std::optional<std::string_view> RecordAt(backend::ReadView& view, std::string_view key,
                                           int64_t revision) override;

 private:
  class Txn;

  /// What a range found in the index.
  struct Found {
    uint64_t generation = 0;
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

  /// A view of the content that belongs to the index, and when that was.
  std::unique_ptr<backend::ReadView> NewView(uint64_t* generation);

  /// What is built from the backend's content.
  struct Content {
    KeyIndex index;
    absl::flat_hash_map<const IndexedKey*, LeaseId> leases;
    int64_t current = 1;
    int64_t finished_compaction = -1;
    int64_t scheduled_compaction = -1;
  };
  struct RestoredRecord;
  absl::Status Load(Content* content) const;
  static absl::StatusOr<RestoredRecord> ParseRestored(std::string_view key, std::string_view value);
  void LoadBatch(const std::vector<RestoredRecord>& batch, Content* content) const;
  /// Puts it in the place of what is here, which it gets.
  void Take(Content* content) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ResumeCompaction(const Content& content);
  void AttachLeases();

  struct KeepSet;
  /// What is hashed; a compaction or another database meanwhile makes it begin again.
  struct ToHash {
    int64_t at = 0;         ///< the revision
    int64_t compacted = 0;  ///< as of which compaction
    uint64_t generation = 0;
    /// The store has been told to compact to `at`, and has not begun.
    bool before_compaction = false;
  };
  absl::StatusOr<KeepSet> CollectKeepSet(const ToHash& what);
  absl::StatusOr<uint32_t> HashRecords(const ToHash& what, const KeepSet& keep);
  absl::StatusOr<uint32_t> HashAsOf(const ToHash& what);
  bool Stands(const ToHash& what) const {
    return (what.before_compaction || compact_revision() == what.compacted) &&
           generation_.load(std::memory_order_acquire) == what.generation;
  }

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

  // Written by the writer; see the class comment.
  std::atomic<uint64_t> generation_{0};
  std::atomic<bool> frozen_{false};
  absl::Mutex frozen_mutex_;
  /// The content of before, while the backend's is replaced.
  std::shared_ptr<FrozenContent> frozen_content_ ABSL_GUARDED_BY(frozen_mutex_);  // shared with its views
  mutable absl::Mutex hashes_mutex_;
  std::optional<ToHash> to_hash_ ABSL_GUARDED_BY(hashes_mutex_);  // of the compaction that was scheduled
  std::deque<HashResult> hashes_ ABSL_GUARDED_BY(hashes_mutex_);  // of compactions, the newest first

  // The writer's.
  bool in_txn_ = false;
  /// Invariant: each key lives.
  absl::flat_hash_map<const IndexedKey*, LeaseId> leases_;
  std::vector<PublishedChange> changes_;  // of the open transaction
  Compactor compactor_;

  WatchHubImpl hub_;
};

}  // namespace kvorum::mvcc
