#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "mvcc/key_history.h"
#include "mvcc/types.h"

namespace kvorum::mvcc {

/// A key's own bytes, at one address as long as the index knows the key.
struct IndexedKey {
  uint32_t size;
  char* data() { return reinterpret_cast<char*>(this + 1); }
  const char* data() const { return reinterpret_cast<const char*>(this + 1); }
  std::string_view view() const { return {data(), size}; }
};

/// The ordered index from keys to the revisions they have in the backend. A key with one live revision (the
/// usual case) is a slot of 24 bytes in a leaf; any other has a KeyHistory.
///
/// A B+tree whose nodes keep 8 bytes of each key behind the prefix that the node's keys share, so that a
/// search seldom touches the keys themselves; and for each child, how many of its keys live and which is the
/// newest main revision in it, so that counting goes into those children only that changed since the revision
/// asked for.
///
/// Not thread-safe; const functions may run beside each other.
class KeyIndex {
 public:
  KeyIndex();
  ~KeyIndex();
  KeyIndex(const KeyIndex&) = delete;
  KeyIndex& operator=(const KeyIndex&) = delete;

  struct PutResult {
    const IndexedKey* key;
    KeyHistory::Life life;
  };
  /// REQUIRES: `revision` is newer than every other in the index
  PutResult Put(std::string_view key, Revision revision);
  /// Null where the key does not live. REQUIRES: as Put
  const IndexedKey* Tombstone(std::string_view key, Revision revision);

  /// As Put, from a record found at start: a key not known yet goes on from the record's `life`.
  const IndexedKey* RestorePut(std::string_view key, Revision revision, KeyHistory::Life life);
  /// As Tombstone; a key not known yet is remembered as deleted. Null where it was deleted already.
  const IndexedKey* RestoreTombstone(std::string_view key, Revision revision);

  /// Brings the ways to these keys into the processor's caches, all at once: for restoring many of them,
  /// whose cost is waiting for memory.
  void Prefetch(absl::Span<const std::string_view> keys) const;

  /// What a reader at `at` sees of the key.
  std::optional<Revision> Find(std::string_view key, int64_t at) const;

  using Visitor = absl::FunctionRef<bool(const IndexedKey& key, Revision revision)>;
  /// The keys of `range` that live at `at`, in order, until `visit` returns false.
  void ForEach(const KeyRange& range, int64_t at, Visitor visit) const;
  int64_t Count(const KeyRange& range, int64_t at) const;

  /// Drops what no reader at `at` or later sees (KeyHistory::Compact) from the keys behind `*cursor`, looking
  /// at about `max_keys` keys that have a history, and moves the cursor (start with ""). False where it came
  /// to the end.
  bool CompactSome(int64_t at, size_t max_keys, std::string* cursor, std::vector<KeyHistory::Item>* dropped);

  /// For every key from `*cursor` on, about `max_keys` of them, the newest revision <= at, tombstones
  /// included. False where it came to the end.
  bool NewestSome(int64_t at, size_t max_keys, std::string* cursor,
                  absl::FunctionRef<void(KeyHistory::Item)> visit) const;

  void Swap(KeyIndex& other) {
    std::swap(root_, other.root_);
    std::swap(key_count_, other.key_count_);
  }

  int64_t live_count() const;
  size_t key_count() const { return key_count_; }  ///< deleted ones included

  void CheckInvariants() const;

 private:
  struct Slot;
  struct Node;
  struct Leaf;
  struct Inner;
  struct Path;
  struct Bounds;
  struct Place;

  Leaf* Descend(std::string_view key, Path* path) const;
  const Slot* FindSlot(std::string_view key) const;
  Place FindOrInsert(std::string_view key, Path* path);
  void SplitLeaf(Path* path, Leaf* leaf, int position);
  void InsertChild(Path* path, int level, IndexedKey* separator, Node* right);
  PutResult PutOrRestore(std::string_view key, Revision revision, KeyHistory::Life life);
  void CompactLeaf(Leaf* leaf, int64_t at, std::vector<KeyHistory::Item>* dropped);
  void RemoveEmptyLeaf(const Path& path);
  void JoinLeaf(const Path& path);
  static void JoinInner(const Path& path, int level);
  void LowerRoot();

  static bool VisitNode(const Node* node, const Bounds& bounds, int64_t at, Visitor visit);
  static int64_t CountNode(const Node* node, const Bounds& bounds, int64_t at);
  static void Destroy(Node* node);
  static size_t CheckNode(const Node* node, const IndexedKey* lower, const IndexedKey* upper);

  Node* root_;
  size_t key_count_ = 0;
};

}  // namespace kvorum::mvcc
