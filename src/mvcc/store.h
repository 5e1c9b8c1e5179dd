#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "backend/backend.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "mvcc/types.h"
#include "mvcc/watch.h"

namespace kvorum::mvcc {

struct StoreOptions {
  backend::Backend* backend = nullptr;   ///< borrowed
  LeaseBinder* leases = nullptr;         ///< borrowed; null: keys have no leases
  Logger* logger = &NullLogger();        ///< borrowed
  metrics::Registry* metrics = nullptr;  ///< borrowed; may be null
  const Clock* clock = nullptr;          ///< borrowed; for durations in metrics and logs alone
};

struct RangeOptions {
  KeyRange range;
  int64_t revision = 0;  ///< <= 0: the newest
  int64_t limit = 0;     ///< <= 0: no limit
  bool count_only = false;
  /// The walk over the index may end at the limit; RangeResult::count is then just what was seen. For reads
  /// in pieces, each of which would count all that follow again.
  bool skip_count = false;
  /// Records of the database may come unchecked: see RangeResult::Check.
  bool check_later = false;
};

/// What a range found. A record is an encoded mvccpb.KeyValue, ready to be copied into a reply; the views
/// live as long as the result.
struct RangeResult {
  int64_t revision = 0;  ///< the store's, when it was read
  int64_t count = 0;     ///< of keys in the range, whatever the limit
  std::vector<std::string_view> records;
  std::unique_ptr<backend::ReadView> pin;
  /// Of `check_later`: beside each record its revision where it is to be checked, else zero.
  std::vector<Revision> unchecked;

  /// To be called before the bytes of records[i] are used, of a read with `check_later`. Errors: DataLoss.
  absl::Status Check(size_t i) const;
};

struct HashResult {
  uint32_t hash = 0;
  int64_t revision = 0;           ///< the revision hashed
  int64_t compact_revision = -1;  ///< -1: never compacted
  int64_t current_revision = 0;
};

class WriteTxn;

/// The multi-version store: an index of keys in memory over the revisions in the backend (reference:
/// backend-schema.md §5-§9). One writer thread; reads from any thread, which hold a shared lock for the walk
/// over the index only.
class Store {
 public:
  /// Builds the index from what the backend holds, and attaches keys to their leases. An interrupted
  /// compaction goes on: see `compacting()`.
  static absl::StatusOr<std::unique_ptr<Store>> Open(const StoreOptions& options);
  virtual ~Store() = default;

  /// Thread-safe. Errors: CompactedError, FutureRevisionError, DataLoss.
  virtual absl::StatusOr<RangeResult> Range(const RangeOptions& options) = 0;

  /// The writer's next transaction. REQUIRES: none is open.
  virtual std::unique_ptr<WriteTxn> Begin() = 0;

  virtual int64_t current_revision() const = 0;  ///< thread-safe; 1 for an empty store
  virtual int64_t compact_revision() const = 0;  ///< thread-safe; -1 where never compacted

  /// Refuses reads under `revision` from now on and schedules the removal; the writer then calls
  /// `CompactStep` between other work until it returns false. Writer only. Errors: CompactedError,
  /// FutureRevisionError.
  virtual absl::Status StartCompaction(int64_t revision) = 0;
  /// One bounded step of the scheduled compaction: at most `max_records` records looked at
  /// (--compaction-batch-limit), a few milliseconds at most. True where there is more to do. Writer only.
  virtual bool CompactStep(size_t max_records) = 0;
  virtual bool compacting() const = 0;

  /// The hash of the history up to `revision` (<= 0: current), equal to etcd's for the same history.
  /// Thread-safe; reads everything, so not on a request thread. Errors: as Range.
  virtual absl::StatusOr<HashResult> Hash(int64_t revision) = 0;

  /// The backend's content is about to be replaced by another database's: until `Reload`, reads and watchers
  /// go on with the content of now. Writer only. REQUIRES: no transaction is open
  virtual void BeginReload() = 0;
  /// Goes over to what the backend holds now, as Open does; results that are out keep what they show, and
  /// watchers get what lies between from its history. Errors: DataLoss, after which the store is of no use.
  /// Writer only. REQUIRES: BeginReload, and leases that were loaded anew without keys
  virtual absl::Status Reload() = 0;
  /// Hashes the history up to the revision that StartCompaction was called with last, as it was before, and
  /// keeps the result: members compare these (reference: backend-schema.md §7). Nothing where a compaction
  /// was under way by then. Thread-safe; reads everything. REQUIRES: no CompactStep from that StartCompaction
  /// to the end of this. Errors: DataLoss.
  virtual absl::Status HashCompaction() = 0;
  /// What was kept, the newest first, at most kCompactionHashes. `Hash` of such a revision gives the same.
  /// Thread-safe.
  virtual std::vector<HashResult> compaction_hashes() const = 0;
  static constexpr size_t kCompactionHashes = 10;

  virtual WatchHub& watch_hub() = 0;

  /// Live keys. Thread-safe.
  virtual int64_t key_count() const = 0;

  /// Stops the process where an invariant does not hold. For tests and simulation.
  virtual void CheckInvariants() const = 0;
};

/// Changes that become visible together, at revision current + 1. Writer only.
class WriteTxn {
 public:
  /// Ends the transaction if `End` was not called.
  virtual ~WriteTxn() = default;

  /// Sees the changes of this transaction. Errors as Store::Range.
  virtual absl::StatusOr<RangeResult> Range(const RangeOptions& options) = 0;

  /// REQUIRES: a lease that is not 0 exists. The previous lease of the key is let go.
  virtual void Put(std::string_view key, std::string_view value, LeaseId lease) = 0;
  /// How many keys there were.
  virtual int64_t DeleteRange(const KeyRange& range) = 0;

  /// The store's revision as this transaction sees it: current + 1 once something changed.
  virtual int64_t revision() const = 0;
  virtual bool changed() const = 0;

  /// Publishes: readers see the changes, watchers get their events.
  virtual void End() = 0;
};

}  // namespace kvorum::mvcc
