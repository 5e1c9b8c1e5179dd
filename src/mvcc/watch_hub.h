#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "base/log.h"
#include "mvcc/store_metrics.h"
#include "mvcc/watch.h"
#include "mvcc/watch_history.h"
#include "mvcc/watcher.h"
#include "mvcc/watcher_table.h"

namespace kvorum::mvcc {

/// One change of a transaction, as it is published.
struct PublishedChange {
  std::string_view key;
  Bytes record;
  bool tombstone = false;
  bool creates = false;  ///< a put of a key that did not exist
};

/// The forms in which one change is sent, each made when the first watcher needs it.
class EventForms {
 public:
  EventForms(std::string_view key, std::string_view record, int64_t main, bool tombstone, bool creates)
      : key_(key), record_(record), main_(main), tombstone_(tombstone), creates_(creates) {}

  /// `previous()` gives the record of before; asked at most once.
  template <typename Previous>
  const Bytes& For(const Watcher& watcher, Previous previous) {
    if (!watcher.prev_kv || creates_) return Get(&plain_, nullptr);
    if (!with_previous_.is_null()) return with_previous_;
    const std::optional<std::string_view> record = previous();
    return Get(&with_previous_, record.has_value() ? &*record : nullptr);
  }

 private:
  const Bytes& Get(Bytes* form, const std::string_view* previous);

  std::string_view key_;
  std::string_view record_;
  int64_t main_;
  bool tombstone_;
  bool creates_;
  Bytes plain_;
  Bytes with_previous_;
};

/// Where a watcher's events come from: as long as it keeps up (kSynced) from Publish, which puts them into
/// its stream's queue. Where that has no room, the watcher is behind: its next revision is remembered, and
/// the catch-up thread reads history for it, in turns with all others that are behind, as its stream takes
/// what is queued. It is synced again when it has everything up to `published_`; that is decided under the
/// lock that Publish holds, so that no transaction falls between.
///
/// Locks: `mutex_`, and inside it the streams' own. No callback is called under either.
class WatchHubImpl final : public WatchHub {
 public:
  WatchHubImpl(WatchHistory* history, Logger* logger, StoreMetrics* metrics)
      : history_(history), logger_(*logger), metrics_(*metrics) {}

  /// The store's revision at start; before any other call.
  void Start(int64_t revision);

  /// The store's content was replaced by one at `revision`: watchers that are not there yet read from history
  /// what lies between, or are told that it was compacted. Writer only.
  void Restart(int64_t revision);

  /// Hands out one transaction. Writer only.
  void Publish(int64_t main, const std::vector<PublishedChange>& changes);

  std::unique_ptr<WatchStream> NewStream(absl::AnyInvocable<void()> ready) override;
  bool CatchUpStep(size_t max_records) override;
  void SetBehindCallback(absl::AnyInvocable<void()> on_behind) override;

 private:
  friend class WatchStreamImpl;
  struct Previous;
  struct Turn;
  using Streams = std::vector<std::shared_ptr<StreamState>>;

  // For streams, on their threads.
  void Register(Watcher* watcher, const KeyRange& range, int64_t start_revision);
  void Unregister(absl::Span<Watcher* const> watchers);
  void Unpark(StreamState* stream);

  // Publishing.
  bool FindWanted(const std::vector<PublishedChange>& changes, std::vector<Previous>* previous)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void StageAll(int64_t main, const std::vector<PublishedChange>& changes,
                const std::vector<Previous>& previous) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void PublishOne(int64_t main, const PublishedChange& change, const Previous* previous, Streams* ready)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void FlushStaged(int64_t main, Streams* ready) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // The states of a watcher.
  void MakeSynced(Watcher* watcher) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void FallBehind(Watcher* watcher, int64_t next_revision) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Queue(Watcher* watcher) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Retire(Watcher* watcher) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  /// Whether the owner is to be told of work for CatchUpStep.
  bool TellBehind() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Catching up.
  void BeginTurn(Turn* turn);
  void ReadTurn(Turn* turn, int64_t from, int64_t to, size_t max_records);
  void ServeChange(Turn* turn, backend::ReadView* view, const HistoryChange& change);
  void EndTurn(Turn* turn, Streams* ready);
  void FinishEntry(Turn* turn, size_t entry, Streams* ready) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Deliver(StreamState* stream, std::vector<QueuedEvent>* events, Streams* ready)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  WatchHistory* const history_;
  Logger& logger_;
  StoreMetrics& metrics_;
  SharedCallback on_behind_;
  std::atomic<int64_t> queued_bytes_{0};  // of all streams; added to on several threads

  absl::Mutex mutex_;
  WatcherTable table_ ABSL_GUARDED_BY(mutex_);
  size_t synced_prev_kv_ ABSL_GUARDED_BY(mutex_) = 0;  ///< synced watchers that want prev_kv
  /// Every transaction up to here was handed out.
  int64_t published_ ABSL_GUARDED_BY(mutex_) = 1;
  WatcherList queue_ ABSL_GUARDED_BY(mutex_);
  /// Whether the owner knows that catch-up is needed.
  bool behind_known_ ABSL_GUARDED_BY(mutex_) = false;
  /// Streams with something staged; kept for its memory.
  std::vector<StreamState*> touched_ ABSL_GUARDED_BY(mutex_);
  /// Watchers whose streams had no room for the change being published; kept for its memory.
  std::vector<Watcher*> refused_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace kvorum::mvcc
