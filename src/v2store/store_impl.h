#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "absl/synchronization/mutex.h"
#include "base/clock.h"
#include "v2store/counters.h"
#include "v2store/snapshot.h"
#include "v2store/store.h"
#include "v2store/tree.h"
#include "v2store/watch_hub.h"

namespace kvorum::v2store {

/// The tree under its lock, the hub under another: reads go on while thousands of watchers are told, and
/// readers of directories take a share and read that without the lock, so that the writer waits for no
/// listing.
struct Store::Impl {
  using Expires = std::optional<WallTime>;
  using Kind = Counters::Kind;

  /// What an operation did to the tree, to be told after the lock.
  struct Change {
    std::shared_ptr<Event> event;
    NodeRef removed;
  };
  using Outcome = std::variant<Change, Error>;

  Impl(const Clock* clock_in, std::atomic<uint64_t>& index_in, std::atomic<uint64_t>& ttls_in,
       std::atomic<uint64_t>& auth_changes_in)
      : clock(clock_in), index(index_in), ttls(ttls_in), auth_changes(auth_changes_in) {}

  // The operations on the tree. All paths are clean.
  Outcome Create(std::string_view path, bool dir, std::string_view value, Expires expires)
      ABSL_LOCKS_EXCLUDED(mutex);
  Outcome Set(std::string_view path, bool dir, std::string_view value, Expires expires, bool refresh)
      ABSL_LOCKS_EXCLUDED(mutex);
  Outcome Update(std::string_view path, std::string_view value, Expires expires, bool refresh)
      ABSL_LOCKS_EXCLUDED(mutex);
  Outcome CompareAndSwap(std::string_view path, std::string_view prev_value, uint64_t prev_index,
                         std::string_view value, Expires expires, bool refresh) ABSL_LOCKS_EXCLUDED(mutex);
  Outcome Delete(std::string_view path, bool dir, bool recursive) ABSL_LOCKS_EXCLUDED(mutex);
  Outcome CompareAndDelete(std::string_view path, std::string_view prev_value, uint64_t prev_index)
      ABSL_LOCKS_EXCLUDED(mutex);
  /// Nothing where nothing expires by then.
  std::optional<Change> ExpireFirst(WallTime cutoff) ABSL_LOCKS_EXCLUDED(mutex);

  /// Counts it, and tells what there is to tell.
  Result Finish(Kind kind, Outcome outcome) ABSL_LOCKS_EXCLUDED(mutex);

  /// REQUIRES: the writer's thread, so that all of it is of one index.
  Snapshot TakeSnapshot() const ABSL_LOCKS_EXCLUDED(mutex);

  Error Fail(ErrorCode code, std::string_view cause) const;
  Error Fail(const Tree::Found& missing) const;
  /// The event of the next index, with what the node was.
  std::shared_ptr<Event> NewEvent(Action action, std::string_view path, const Node* prev) const;
  /// Puts a file or a directory there and into the event; its indexes and its refresh are the event's.
  Change Put(std::shared_ptr<Event> event, Node::Fields fields) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  Change Remove(Action action, std::string_view path, const Node& node) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  /// The end of a successful operation on the tree.
  Change Commit(std::shared_ptr<Event> event, NodeRef removed = {}) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);

  const Clock* const clock;
  // The store's own, for those who read them without the lock; changed under it.
  std::atomic<uint64_t>& index;
  std::atomic<uint64_t>& ttls;
  std::atomic<uint64_t>& auth_changes;

  mutable absl::Mutex mutex;
  Tree tree ABSL_GUARDED_BY(mutex);
  mutable Counters counters;
  WatchHub hub;
};

/// A node as a reply or an event has it, without its children. `now` counts where it expires.
NodeImage ImageOf(std::string_view path, const Node& node, WallTime now);

}  // namespace kvorum::v2store
