#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "v2store/history.h"
#include "v2store/node.h"
#include "v2store/path.h"
#include "v2store/store.h"

namespace kvorum::v2store {

/// Who waits for what, and the events of late. Thread-safe; Notify and Restore come from one thread.
class WatchHub {
 public:
  WatchHub() = default;
  WatchHub(const WatchHub&) = delete;
  WatchHub& operator=(const WatchHub&) = delete;
  /// REQUIRES: nobody waits any more.
  ~WatchHub();

  /// As Store::Watch; `path` is clean, `index` the store's, which may be ahead of what was told by one event.
  std::variant<Store::WatchStart, Error> Watch(std::string_view path, const WatchRequest& request,
                                               const std::atomic<uint64_t>& index, WatchSink* sink);

  /// Remembers the event, and tells it unless it is a refresh. `removed`: what it took away, else null.
  void Notify(EventPtr event, const Node* removed);

  uint64_t watchers() const;

  struct Past {
    std::vector<EventPtr> events;
    uint64_t start_index = 0;
    uint64_t last_index = 0;
  };
  Past past() const;
  std::vector<EventPtr> EventsSince(uint64_t index) const;
  /// The history of a snapshot that brings the store from index `before` to `index`: tells who waits what it
  /// has of that, or that they have lost it.
  void Restore(Past past, uint64_t before, uint64_t index);

 private:
  class Waiter;
  /// Who waits at one path, in the order they came.
  struct Line {
    Waiter* first = nullptr;
    Waiter* last = nullptr;
  };
  // Each line's waiters know its place here, which stays.
  using Lines = std::map<std::string, Line, PathLess>;
  /// An event on its way to those who wait.
  struct Delivery {
    History::Entry& entry;
    Body body;  // made for the first who gets it
  };

  void Remove(Waiter* waiter) ABSL_LOCKS_EXCLUDED(mutex_);
  /// Has it told the last time.
  template <typename Finally>
  void Dismiss(Waiter* waiter, Finally tell) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Unlink(Waiter* waiter) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Tell(Lines::iterator line, bool all, Delivery& delivery) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  /// What the history has from `from` to `to`, which were not told.
  void TellPast(Lines::iterator line, uint64_t from, uint64_t to) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TellBelow(const Node& removed, Delivery& delivery) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TellAlong(Delivery& delivery) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable absl::Mutex mutex_;
  Lines lines_ ABSL_GUARDED_BY(mutex_);
  uint64_t watchers_ ABSL_GUARDED_BY(mutex_) = 0;
  History history_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace kvorum::v2store
