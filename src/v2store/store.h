#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "base/clock.h"
#include "v2store/error.h"
#include "v2store/event.h"
#include "v2store/listing.h"
#include "v2store/request.h"
#include "v2store/stats.h"

namespace kvorum::v2store {

/// What became of an operation.
using Result = std::variant<EventPtr, Error>;

inline constexpr size_t kHistoryCapacity = 1000;

/// Where a watcher's events go. Called on the writer's thread, under the store's lock, in the order of the
/// log: hands over and returns at once, and calls nothing of the store.
class WatchSink {
 public:
  virtual ~WatchSink() = default;
  /// Once for a watcher that is no stream. `body`: the event's JSON and a newline, encoded once for all who
  /// get it.
  virtual void OnEvent(const EventPtr& event, const std::shared_ptr<const std::string>& body) = 0;
  /// Last of all, for one whose next events nobody can tell any more: the store took a snapshot over whose
  /// history does not reach back to them.
  virtual void OnLost() = 0;
};

struct WatchRequest {
  std::string path;  ///< full store path
  bool recursive = false;
  bool stream = false;
  uint64_t since = 0;  ///< 0: what comes next
};

/// A watcher that waits. Destroying it ends it: no call of its sink is under way or comes any more after
/// that. Thread-safe against the store; outlived by the store.
class Watcher {
 public:
  virtual ~Watcher() = default;
};

/// The tree of the v2 API: directories and files under "/0" (the cluster), "/1" (clients' keys) and "/2"
/// (auth), the events of late, and who waits for some. Changed by entries of the log alone, so that it is the
/// same on each member: nothing expires by a clock of its own (reference: v2-keys.md, v2-replication.md).
///
/// Thread rule: writes on one thread, the writer's; everything that reads or watches from any thread. The
/// clock serves only the ttl that replies show.
///
/// Listings are always in the order of names, sorted or not: the children are kept so. No limit is set here
/// to how deep a path is, and nothing recurses over the tree; who takes paths from clients bounds their
/// length.
class Store {
 public:
  explicit Store(const Clock* clock);
  ~Store();

  // Writes. Each successful one takes an index; failed ones take none.

  /// By the table of v2-replication.md §1.4, SYNC and QGET too (a SYNC gives a null event). What the paths of
  /// members and of the version mean besides is the caller's. A method that is none: kRaftInternal
  /// "etcdserver: unknown method".
  Result Apply(const RequestView& request);

  // The same one by one. `expires`: none: permanent. Paths need not be clean.
  Result Create(std::string_view path, bool dir, std::string_view value, bool unique,
                std::optional<WallTime> expires);
  Result Set(std::string_view path, bool dir, std::string_view value, std::optional<WallTime> expires,
             bool refresh = false);
  Result Update(std::string_view path, std::string_view value, std::optional<WallTime> expires,
                bool refresh = false);
  Result CompareAndSwap(std::string_view path, std::string_view prev_value, uint64_t prev_index,
                        std::string_view value, std::optional<WallTime> expires, bool refresh = false);
  Result Delete(std::string_view path, bool dir, bool recursive);
  Result CompareAndDelete(std::string_view path, std::string_view prev_value, uint64_t prev_index);
  /// Removes what expires at or before `cutoff`, one index each.
  void Expire(WallTime cutoff);

  // Reads; counted in the statistics.

  Result Get(std::string_view path, bool recursive, bool sorted) const;
  /// The reply's body, without images of the nodes on the way. `index` is the store's of that moment.
  std::variant<Listing, Error> List(std::string_view path, bool recursive, uint64_t* index) const;

  uint64_t index() const { return index_.load(std::memory_order_acquire); }
  /// Whether there is anything to expire; lock-free, so that the leader can ask twice a second.
  bool HasTtls() const { return ttls_.load(std::memory_order_acquire) != 0; }
  /// Rises with every change under "/2" and when a snapshot was recovered; lock-free, so that each request
  /// can ask whether what it knows of auth still holds.
  uint64_t auth_changes() const { return auth_changes_.load(std::memory_order_acquire); }
  /// Whether clients ever wrote: there is something under "/1" or "/2".
  bool HasUserKeys() const;
  Stats stats() const;  ///< `watchers` as of now

  // Watches (reference: v2-keys.md §8). A watcher sees
  //  - what is done to its path, and below it when it is recursive;
  //  - that a directory above it was removed or expired, where its path went with it;
  //  - but never a refresh, and nothing below a name with '_' in front that comes after its path.
  // The history answers by the same rules, except that it cannot tell whether a path was there when a
  // directory above it went: it says yes. In this we do not follow etcd 3.4, whose history also shows hidden
  // keys, and the end of "/a" to who asks for "/ab"; nor do we tell a stream twice when its own path is
  // removed.
  //
  // Telling takes time in proportion to those who wait on the prefixes of the event's path and, where a
  // directory was removed, below it. A waiter takes 80 bytes, and some 130 more the first one at its path.

  struct WatchStart {
    /// Null where the history had the event: then `event` and `body` are it, and nothing more comes, for a
    /// stream too.
    std::unique_ptr<Watcher> watcher;
    EventPtr event;
    std::shared_ptr<const std::string> body;
    uint64_t index = 0;  ///< the store's when the watch began
  };
  /// The sink may be called before this returns. It is borrowed until the watcher is destroyed. Errors:
  /// kHistoryCleared.
  std::variant<WatchStart, Error> Watch(const WatchRequest& request, WatchSink* sink);
  /// What the history has from `index` on, also what nobody is told: for holding stores against each other.
  std::vector<EventPtr> EventsSince(uint64_t index) const;

  // Snapshots (reference: v2-replication.md §3).

  /// The whole as etcd's JSON. May take long with many keys: SaveView is what the writer takes, in time that
  /// does not depend on their number; its ToJson may run on any thread. A view shares the nodes with the
  /// store: only the chunk of 64 children that a write changes, and the directories above it, are copied
  /// while a view lives, each once. `watchers` is 0 in it: they are this member's alone.
  class View {
   public:
    virtual ~View() = default;
    virtual std::string ToJson() const = 0;
  };
  std::unique_ptr<View> SaveView() const;
  /// Puts what the JSON of any release says in the place of everything; what it does not say of the counters,
  /// the index and the history stays as it was, and the tree it has to say. Nothing expires of it before the
  /// next SYNC. Watchers stay: they are told what the history has of the changes since the index of before,
  /// or are lost where it does not reach back to that; etcd's miss those changes without a word. Errors:
  /// DataLoss, and then nothing was changed. Writer only.
  absl::Status Recover(std::string_view json);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
  std::atomic<uint64_t> index_{0};
  std::atomic<uint64_t> ttls_{0};
  std::atomic<uint64_t> auth_changes_{0};
};

}  // namespace kvorum::v2store
