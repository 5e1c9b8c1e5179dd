#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/functional/function_ref.h"
#include "mvcc/watcher.h"

namespace kvorum::mvcc {

/// The watchers of one key, or of one range.
struct WatchGroup {
  const std::string key;
  const bool single;
  uint32_t members = 0;         ///< registered watchers, synced or not
  uint32_t synced_prev_kv = 0;  ///< of `synced`, those that want prev_kv
  std::vector<Watcher*> synced;

  WatchGroup(std::string_view k, bool is_single) : key(k), single(is_single) {}
  void AddSynced(Watcher* watcher);
  void RemoveSynced(Watcher* watcher);
};

/// A group of a range is also a node of a tree that is ordered by key and a heap by `priority` (a treap).
struct RangeGroup : WatchGroup {
  const std::string end;  ///< as KeyRange::end
  const uint64_t priority;
  RangeGroup* left = nullptr;
  RangeGroup* right = nullptr;
  RangeGroup* farthest = nullptr;  ///< the one with the highest end of this subtree

  RangeGroup(std::string_view k, std::string_view e, uint64_t p)
      : WatchGroup(k, false), end(e), priority(p), farthest(this) {}
  KeyRange range() const { return {key, end}; }
};

/// The groups by what they watch: single keys in a hash table, ranges in an interval tree. Finding the groups
/// of a key costs the logarithm of the number of distinct ranges and what is found. Not thread-safe.
class WatcherTable {
 public:
  WatcherTable() = default;
  ~WatcherTable();
  WatcherTable(const WatcherTable&) = delete;
  WatcherTable& operator=(const WatcherTable&) = delete;

  /// The group of `range`, made where there is none, with one member more.
  WatchGroup* Acquire(const KeyRange& range);
  /// One member less; the group of none is deleted.
  void Release(WatchGroup* group);

  void ForEachMatch(std::string_view key, absl::FunctionRef<void(WatchGroup&)> visit) const;
  /// In an order that depends on nothing but the groups and the calls.
  void ForEach(absl::FunctionRef<void(WatchGroup&)> visit) const;

  bool empty() const { return singles_.empty() && root_ == nullptr; }

 private:
  struct KeyOf {
    using is_transparent = void;
    static std::string_view Of(std::string_view key) { return key; }
    static std::string_view Of(const WatchGroup* group) { return group->key; }
  };
  struct Hash : KeyOf {
    template <typename T>
    size_t operator()(const T& v) const {
      return absl::Hash<std::string_view>()(Of(v));
    }
  };
  struct Equal : KeyOf {
    template <typename A, typename B>
    bool operator()(const A& a, const B& b) const {
      return Of(a) == Of(b);
    }
  };

  uint64_t NextPriority();

  absl::flat_hash_set<WatchGroup*, Hash, Equal> singles_;
  RangeGroup* root_ = nullptr;
  uint64_t priority_state_ = 1;
};

}  // namespace kvorum::mvcc
