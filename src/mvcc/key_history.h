#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "mvcc/types.h"

namespace kvorum::mvcc {

/// The revisions of one key that were not compacted, oldest first, over all its generations (a generation
/// begins with the put that creates the key and ends with the deletion; reference: backend-schema.md §5).
/// Not thread-safe.
class KeyHistory {
 public:
  struct Item {
    int64_t main;
    uint32_t sub;
    uint32_t tombstone;
    Revision revision() const { return {main, sub}; }
  };
  static_assert(sizeof(Item) == 16);

  struct Life {
    int64_t created;
    int64_t version;
  };

  /// A key known by one revision. Of a put: the `version`-th since `created`.
  KeyHistory(Item first, Life life) : created_(life.created), dropped_(life.version - 1), items_{first} {}

  /// What the key's generation is after one more put. REQUIRES: `revision` is newer than all others
  Life Put(Revision revision);
  /// REQUIRES: as Put; `live()`
  void Tombstone(Revision revision);

  /// The put that a reader at `at` sees; nothing where the key did not exist then.
  std::optional<Revision> Find(int64_t at) const;

  /// The newest change with main <= at, or null.
  const Item* NewestAt(int64_t at) const {
    const ptrdiff_t position = Position(at);
    return position < 0 ? nullptr : &items_[position];
  }

  bool live() const { return items_.back().tombstone == 0; }
  Revision newest() const { return items_.back().revision(); }

  /// Drops what no reader at `at` or later sees, except a deletion at exactly `at`, and appends it to
  /// `dropped`, oldest first. False where nothing is left: the key is to be forgotten.
  bool Compact(int64_t at, std::vector<Item>* dropped);

  /// Where a single put is left: its life, to be kept without this object.
  std::optional<Life> Single() const;

  void CheckInvariants() const;

 private:
  /// The last position with main <= at, or -1.
  ptrdiff_t Position(int64_t at) const;

  // Of the first generation in items_: when it began, and how many of its puts were compacted.
  int64_t created_;
  int64_t dropped_;
  /// Where the last generation begins. Invariant: 0 or behind a tombstone, with no tombstone from there to
  /// the last item but one.
  size_t last_begin_ = 0;
  /// Invariant: not empty, strictly ascending.
  std::vector<Item> items_;
};

}  // namespace kvorum::mvcc
