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
  /// The store's revision when the batch was formed: never under the last event's. 0 in a compaction notice.
  int64_t revision = 0;
  /// Not 0: the watcher was behind this compaction; it is gone, and there are no events.
  int64_t compact_revision = 0;
  /// Each the wire form of one `WatchResponse.events` element, tag and length included, so that a response is
  /// its head followed by these bytes. One buffer holds whole events only; watchers share the buffers.
  std::vector<Bytes> events;
  /// Where each event of `events` begins, counted over the buffers joined; for splitting a large response.
  size_t event_count = 0;
  size_t bytes = 0;  ///< of `events` together
};

/// The watchers of one client stream. Owned and called by one thread; the hub only ever calls `ready`.
/// Memory: a stream holds positions, not events; what it has not taken is read again from history.
class WatchStream {
 public:
  virtual ~WatchStream() = default;

  /// Adds a watcher; its events begin to come only after this returns. `watch_id` 0: the smallest free one;
  /// the id is returned. Errors (texts of reference v3-api.md §6.8): InvalidArgument "mvcc: watcher range is
  /// empty", "mvcc: duplicate watch ID provided on the WatchStream".
  virtual absl::StatusOr<int64_t> Watch(int64_t watch_id, WatchSpec spec) = 0;
  /// False where there is no such id.
  virtual bool Cancel(int64_t watch_id) = 0;

  /// What is there to be sent, about `max_bytes` of it (at least one batch): fair between the stream's
  /// watchers, all events of one revision of one watcher in one batch. Arms `ready` again when it returns
  /// less than there could be nothing more of.
  virtual std::vector<WatchBatch> Take(size_t max_bytes) = 0;

  /// The revision up to which every event of every watcher was taken; 0 where some watcher is behind or
  /// starts in the future, or there is none.
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

  /// `ready` is called, from any thread and without locks, when there is something to take and it was not
  /// called since the last `Take`; it must return at once (typically it posts to the stream's executor).
  /// Thread-safe.
  virtual std::unique_ptr<WatchStream> NewStream(absl::AnyInvocable<void()> ready) = 0;

  /// One fair turn of reading history for streams that are behind, at most about `max_records` records; true
  /// where there is more to do. To be called on a background executor whenever `on_behind` was called.
  virtual bool CatchUpStep(size_t max_records) = 0;
  /// `on_behind` is called, from any thread, when a stream falls behind and no catch-up is known to be
  /// needed.
  virtual void SetBehindCallback(absl::AnyInvocable<void()> on_behind) = 0;
};

}  // namespace kvorum::mvcc
