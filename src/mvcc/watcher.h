#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/synchronization/mutex.h"
#include "base/bytes.h"
#include "mvcc/watch.h"

namespace kvorum::mvcc {

struct Watcher;
struct WatchGroup;
class StreamState;

/// A callback that may be called from any thread until it is taken away; then it is not running any more.
class SharedCallback {
 public:
  void Set(absl::AnyInvocable<void()> call) {
    absl::MutexLock lock(&mutex_);
    call_ = std::move(call);
  }
  void Call() {
    absl::MutexLock lock(&mutex_);
    if (call_) call_();
  }

 private:
  absl::Mutex mutex_;
  absl::AnyInvocable<void()> call_ ABSL_GUARDED_BY(mutex_);
};

enum class WatcherState : uint8_t {
  kSynced,  ///< gets events as they are published
  kQueued,  ///< behind; waits for its turn to read history
  kParked,  ///< behind; its stream has no room
  kInTurn,  ///< behind; the catch-up thread reads for it
  kGone,    ///< compacted or cancelled: gets nothing more
};

/// One watcher. Counted: its stream, each queued event of it and the catch-up turn that works for it hold
/// one.
struct Watcher {
  // Constant.
  StreamState* stream = nullptr;
  WatchGroup* group = nullptr;  ///< while registered
  int64_t id = 0;
  bool prev_kv = false;
  bool no_put = false;
  bool no_delete = false;

  // Guarded by the hub's mutex; `next_revision` is the turn's while kInTurn.
  WatcherState state = WatcherState::kSynced;
  uint32_t group_slot = 0;    ///< in WatchGroup::synced, while kSynced
  int64_t next_revision = 0;  ///< its events from here on are still to come into the stream's queue
  Watcher* list_previous = nullptr;
  Watcher* list_next = nullptr;

  // The catch-up thread's.
  uint32_t turn_slot = 0;

  // The stream's thread's.
  bool cancelled = false;
  uint32_t batch = 0;  ///< its open batch within the Take numbered `take_number`
  uint64_t take_number = 0;
  int64_t last_revision = 0;  ///< of the last event taken

  std::atomic<uint32_t> references{1};  // dropped by whichever thread is last

  void Ref() { references.fetch_add(1, std::memory_order_relaxed); }
  void Unref() {
    if (references.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }
  bool Wants(bool tombstone) const { return tombstone ? !no_delete : !no_put; }
};

/// Watchers in a row; one is in at most one list.
class WatcherList {
 public:
  bool empty() const { return head_ == nullptr; }
  Watcher* front() const { return head_; }
  void PushBack(Watcher* watcher);
  void Remove(Watcher* watcher);

 private:
  Watcher* head_ = nullptr;
  Watcher* tail_ = nullptr;
};

/// Something for one watcher: an event, or with a null `event` the notice that it was compacted.
struct QueuedEvent {
  Watcher* watcher;  ///< holds a reference
  Bytes event;
  int64_t revision;  ///< of the event; 0 in a notice
  int64_t header;    ///< for WatchBatch::revision; in a notice the compact revision
  uint32_t charge;   ///< what it counts in the queue's bytes
};

/// What a turn may read for one stream, in bytes of events.
inline constexpr int64_t kTurnBytes = 1 << 20;

/// What hub and stream share of a stream. The stream holds it, and whoever is about to call its `ready` or
/// reads history for it.
class StreamState : public std::enable_shared_from_this<StreamState> {
 public:
  explicit StreamState(std::atomic<int64_t>* total_bytes) : total_bytes_(total_bytes) {}
  ~StreamState();

  /// Whether one more transaction may be appended; or more of `revision`, of which there is something
  /// already.
  bool HasRoom(size_t watchers, int64_t revision) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  /// Appends, and empties `events`. True where `ready` is to be called.
  bool Append(std::vector<QueuedEvent>* events) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  bool AppendOne(QueuedEvent event) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  /// Moves the oldest events out, about `max_bytes` of them; never some of a watcher's events of one revision
  /// only.
  std::vector<QueuedEvent> TakeSome(size_t max_bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  size_t queued() const ABSL_SHARED_LOCKS_REQUIRED(mutex) { return queue_.size() - head_; }
  /// Less than half of what it may hold is queued.
  bool HalfEmpty() const ABSL_SHARED_LOCKS_REQUIRED(mutex);

  /// Asks for the memory that AppendOne will touch.
  void Prefetch() const {
    __builtin_prefetch(&mutex);
    __builtin_prefetch(&bytes_);
  }

  // What publishing touches stands together.
  absl::Mutex mutex;  // taken inside the hub's
  bool ready_called ABSL_GUARDED_BY(mutex) = false;
  bool has_parked ABSL_GUARDED_BY(mutex) = false;

 private:
  std::vector<QueuedEvent> queue_ ABSL_GUARDED_BY(mutex);  // from head_ on
  size_t head_ ABSL_GUARDED_BY(mutex) = 0;
  int64_t bytes_ ABSL_GUARDED_BY(mutex) = 0;
  std::atomic<int64_t>* const total_bytes_;  // of all streams of the hub

 public:
  // Guarded by the hub's mutex.
  size_t watchers = 0;  ///< registered
  size_t behind = 0;    ///< of them, not synced
  WatcherList parked;
  std::vector<QueuedEvent> staged;  ///< of the transaction being published

  SharedCallback ready;

  // The catch-up turn's.
  int64_t turn_room = 0;          ///< bytes that may still be read for it
  int64_t turn_stop = INT64_MAX;  ///< no events behind this revision
};

}  // namespace kvorum::mvcc
