#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/synchronization/mutex.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/metrics.h"

namespace kvorum::proxy_grpc {

/// Keys as requests name them: one key where `end` is empty, all from `key` on where it is "\0".
struct KeyRange {
  std::string key;
  std::string end;

  bool IsOneKey() const { return end.empty(); }
  bool Intersects(const KeyRange& other) const;
};

/// Replies to serializable reads (reference: proxy-discovery.md §11.4). A reply is found under its form: the
/// user's token and the whole request, so that nobody sees what was read for another. It leaves when a write
/// that passes through the proxy touches its range, and after `max_age` for the writes that do not.
///
/// A write calls `Invalidate` before it is sent and again before its answer is passed on. A reply of a read
/// that ran beside it, at whatever time, is not kept:
///     read begins · write begins · read sees the old value · write ends (spoils it) · EndRead keeps nothing
///     write begins · read begins · read sees the old value · EndRead keeps it · write ends (drops it)
/// Thread-safe.
class RangeCache {
 public:
  struct Options {
    size_t max_entries = 2048;
    size_t max_bytes = 64 << 20;
    size_t max_reply_bytes = 1 << 20;  ///< longer ones are not kept
    std::chrono::nanoseconds max_age = std::chrono::seconds(1);
  };
  RangeCache(const Options& options, metrics::Registry& metrics);

  /// The reply, if there is one. Counts a hit or a miss.
  std::optional<Bytes> Find(const std::string& form, MonotonicTime now);
  /// Whether there is one, of whatever age; counts nothing.
  bool Contains(const std::string& form) const;

  /// Names a read that is going to be sent, until EndRead or DropRead.
  using ReadId = uint64_t;
  /// `at_revision`: the read is of a past revision, which no write changes.
  ReadId BeginRead(KeyRange range, bool at_revision);
  /// Keeps the reply, unless a write came between.
  void EndRead(ReadId id, std::string form, Bytes reply, MonotonicTime now);
  void DropRead(ReadId id);

  /// Forgets replies that hold one of these keys.
  void Invalidate(std::span<const KeyRange> ranges);
  void InvalidateAll();

  /// Revisions below this are compacted.
  void RaiseFloor(int64_t revision);
  bool IsCompacted(int64_t revision) const { return revision < floor_.load(); }

 private:
  struct Entry {
    std::string form;
    KeyRange range;
    bool at_revision;
    Bytes reply;
    MonotonicTime since;
  };
  using Entries = std::list<Entry>;
  struct Read {
    KeyRange range;
    bool at_revision;
    bool spoiled = false;
  };

  void Forget(Entries::iterator entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void InvalidateOne(const KeyRange& range) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SetCounts() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  metrics::Gauge& keys_;
  metrics::Counter& hits_;
  metrics::Counter& misses_;

  std::atomic<int64_t> floor_{0};
  std::atomic<size_t> used_{0};  // entries and reads: writers need not look where there are none

  mutable absl::Mutex mutex_;
  Entries entries_ ABSL_GUARDED_BY(mutex_);  // the one used last is the first
  size_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::flat_hash_map<std::string_view, Entries::iterator> by_form_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<std::string_view, std::vector<Entry*>> by_key_ ABSL_GUARDED_BY(mutex_);  // of one key
  absl::flat_hash_set<Entry*> ranges_ ABSL_GUARDED_BY(mutex_);                                 // of more
  absl::flat_hash_map<ReadId, Read> reads_ ABSL_GUARDED_BY(mutex_);
  ReadId next_read_ ABSL_GUARDED_BY(mutex_) = 1;
};

}  // namespace kvorum::proxy_grpc
