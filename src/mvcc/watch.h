#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "base/bytes.h"
#include "mvcc/types.h"

namespace kvorum::mvcc {

/// What one watcher wants.
struct WatchSpec {
  std::string key;
  std::string end;             ///< as KeyRange::end
  int64_t start_revision = 0;  ///< inclusive; 0: after the current one; may lie in the future
  bool prev_kv = false;
  bool no_put = false;
  bool no_delete = false;
};

/// Some of a watcher's events, in order.
struct WatchBatch {
  int64_t watch_id = 0;
  /// Everything up to here was handed out to the watcher: never under the last event's revision. 0 in a
  /// compaction notice.
  int64_t revision = 0;
  /// Not 0: the watcher was behind this compaction; it is gone, and there are no events.
  int64_t compact_revision = 0;
  /// Each the wire form of one `WatchResponse.events` element, tag and length included, so that a response is
  /// its head followed by these bytes, and may be split between any two. Watchers share the buffers.
  std::vector<Bytes> events;
  size_t event_count = 0;
  size_t bytes = 0;  ///< of `events` together
};

/// The watchers of one client stream. Owned and called by one thread; the hub only ever calls `ready`.
/// Memory: a stream holds positions, not events; what it has not taken is read again from history.
class WatchStream {
 public:
  virtual ~WatchStream() = default;

  /// Adds a watcher; its events begin to come only after this returns. `watch_id` 0: the smallest free one;
  /// the id is returned. An empty key means one zero byte. To name a revision that the events certainly
  /// follow, read the store's before the call and pass the one after it as `start_revision`. A start that was
  /// compacted is accepted; a notice follows. Errors (texts of reference v3-api.md §6.8): InvalidArgument
  /// "mvcc: watcher range is empty", "mvcc: duplicate watch ID provided on the WatchStream"; CompactedError
  /// for a negative start.
  virtual absl::StatusOr<int64_t> Watch(int64_t watch_id, WatchSpec spec) = 0;
  /// False where there is no such id (any more: it is free again when its compaction notice was taken).
  virtual bool Cancel(int64_t watch_id) = 0;

  /// What is there to be sent, about `max_bytes` of it (at least one batch): in the order in which it came,
  /// so fair between the stream's watchers; all events of one revision of one watcher in one batch. Arms
  /// `ready` again, and calls it where something is left.
  virtual std::vector<WatchBatch> Take(size_t max_bytes) = 0;

  /// The revision up to which every event of every watcher was taken; 0 where some watcher is behind or
  /// starts in the future (behind the next revision), or there is none.
  virtual int64_t SyncedRevision() = 0;
  /// The same for one watcher.
  virtual int64_t SyncedRevision(int64_t watch_id) = 0;

  virtual size_t watcher_count() const = 0;
};

/// Hands each transaction's events to the watchers. Live watchers share one encoding of an event; a stream
/// that does not keep up falls back to reading the history from the store, in turns with the others, and
/// never holds up the writer or grows the memory.
class WatchHub {
 public:
  virtual ~WatchHub() = default;

  /// `ready` is called, from any thread and without the hub's locks, when there is something to take and it
  /// was not called since the last `Take`; it must return at once, without calling into the stream (typically
  /// it posts to the stream's executor). It is not called any more once the stream's destructor returns; the
  /// stream must go before the store does. Thread-safe.
  virtual std::unique_ptr<WatchStream> NewStream(absl::AnyInvocable<void()> ready) = 0;

  /// One fair turn of reading history for streams that are behind, at most about `max_records` records; true
  /// where there is more to do. To be called on a background executor, by one thread at a time, whenever
  /// `on_behind` was called, until it returns false.
  virtual bool CatchUpStep(size_t max_records) = 0;
  /// `on_behind` is called, from any thread, when a stream falls behind and no catch-up is known to be
  /// needed. It must return at once, without calling into the hub.
  virtual void SetBehindCallback(absl::AnyInvocable<void()> on_behind) = 0;
};

}  // namespace kvorum::mvcc
