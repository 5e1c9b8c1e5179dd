#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <new>
#include <string_view>

#include "base/check.h"
#include "mvcc/key_index.h"

namespace kvorum::mvcc {

// The nodes of KeyIndex's tree; included by its implementation alone.

inline constexpr int kNodeCapacity = 64;
/// A leaf with fewer entries is joined with a neighbour, where both together leave room to grow.
inline constexpr int kNodeSparse = 16;
inline constexpr int kNodeJoinLimit = 48;
inline constexpr int kMaxHeight = 16;
inline constexpr size_t kPrefixBytes = 32;

inline IndexedKey* NewIndexedKey(std::string_view key) {
  auto* made = new (::operator new(sizeof(IndexedKey) + key.size()))
      IndexedKey{.size = static_cast<uint32_t>(key.size())};
  if (!key.empty()) std::memcpy(made->data(), key.data(), key.size());
  return made;
}

inline void DeleteIndexedKey(IndexedKey* key) { ::operator delete(key); }

/// The 8 bytes of `key` behind `prefix`, as a number that orders as they do; zeros where it ends.
inline uint64_t KeyHead(std::string_view key, size_t prefix) {
  uint64_t head = 0;
  if (key.size() >= prefix + 8) {
    std::memcpy(&head, key.data() + prefix, 8);
  } else if (key.size() > prefix) {
    std::memcpy(&head, key.data() + prefix, key.size() - prefix);
  }
  return __builtin_bswap64(head);
}

inline size_t CommonPrefix(std::string_view a, std::string_view b) {
  const size_t n = std::min(a.size(), b.size());
  return std::mismatch(a.begin(), a.begin() + static_cast<ptrdiff_t>(n), b.begin()).first - a.begin();
}

/// What the index knows of one key. version 0: see `history`.
struct KeyIndex::Slot {
  int64_t main;  ///< of the newest revision
  union {
    int64_t created;
    KeyHistory* history;
  };
  uint32_t sub;
  uint32_t version;

  bool has_history() const { return version == 0; }
  bool live() const { return !has_history() || history->live(); }
  std::optional<Revision> Find(int64_t at) const {
    if (has_history()) return history->Find(at);
    if (main > at) return std::nullopt;
    return Revision{main, sub};
  }
  bool LivesAt(int64_t at) const {
    if (has_history()) return history->Find(at).has_value();
    return main <= at;
  }
  void EnsureHistory() {
    if (has_history()) return;
    history = new KeyHistory({main, sub, 0}, {created, version});
    version = 0;
  }
  /// Keeps a history of a single put in the slot itself.
  void DropHistoryOfOne() {
    const std::optional<KeyHistory::Life> life = history->Single();
    if (!life.has_value() || life->version <= 0 || life->version > UINT32_MAX) return;
    sub = static_cast<uint32_t>(history->newest().sub);
    delete history;
    created = life->created;
    version = static_cast<uint32_t>(life->version);
  }
};

/// Keys in order. Those from `first_key` on (0 in a leaf; 1 in an inner node, whose first child has no lower
/// bound of its own) begin with the same `prefix` bytes.
struct KeyIndex::Node {
  const bool leaf;
  uint16_t count = 0;
  uint16_t histories = 0;  ///< of a leaf: slots with a history
  uint32_t prefix = 0;
  char prefix_bytes[kPrefixBytes];  ///< the first of them, to spare a look at a key
  uint64_t heads[kNodeCapacity];
  IndexedKey* keys[kNodeCapacity];

  explicit Node(bool is_leaf) : leaf(is_leaf) {}

  int first_key() const { return leaf ? 0 : 1; }

  /// The first position whose key is not under `key`.
  int LowerBound(std::string_view key, bool* equal) const {
    *equal = false;
    const int first = first_key();
    if (first >= count) return count;
    if (prefix > 0) {
      const size_t compared = std::min<size_t>(prefix, key.size());
      int order = std::memcmp(key.data(), prefix_bytes, std::min(compared, kPrefixBytes));
      if (order == 0 && compared > kPrefixBytes)
        order = std::memcmp(key.data(), keys[first]->data(), compared);
      if (order > 0) return count;
      if (order < 0 || key.size() < prefix) return first;
    }
    const uint64_t head = KeyHead(key, prefix);
    int low = static_cast<int>(std::lower_bound(heads + first, heads + count, head) - heads);
    int high = low;
    while (high < count && heads[high] == head) ++high;
    const std::string_view rest = key.substr(prefix);
    while (low < high) {
      const int middle = (low + high) / 2;
      const int order = keys[middle]->view().substr(prefix).compare(rest);
      if (order == 0) {
        *equal = true;
        return middle;
      }
      if (order < 0) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }

  /// The position of `key`, or -1. Does without the prefix, which costs a look at another key.
  int Find(std::string_view key) const {
    if (key.size() < prefix) return -1;
    const uint64_t head = KeyHead(key, prefix);
    const int first = first_key();
    auto i =
        static_cast<int>(std::lower_bound(heads + first, heads + std::max<int>(first, count), head) - heads);
    for (int steps = 0; i < count && heads[i] == head; ++i, ++steps) {
      if (keys[i]->view() == key) return i;
      // Many heads alike: what is behind them decides.
      if (steps == 4) {
        bool equal = false;
        const int position = LowerBound(key, &equal);
        return equal ? position : -1;
      }
    }
    return -1;
  }

  void PrefetchHeads() const {
    const auto* bytes = reinterpret_cast<const char*>(this);
    for (size_t line = 0; line < offsetof(Node, keys); line += 64) __builtin_prefetch(bytes + line);
  }
  void PrefetchKey(std::string_view key) const {
    const uint64_t head = KeyHead(key, prefix);
    const auto position = std::lower_bound(heads, heads + count, head) - heads;
    __builtin_prefetch(&keys[position]);
  }

  /// Computes prefix and heads again.
  void Rehead() {
    const int first = first_key();
    if (first >= count) {
      prefix = 0;
      return;
    }
    prefix = static_cast<uint32_t>(CommonPrefix(keys[first]->view(), keys[count - 1]->view()));
    std::memcpy(prefix_bytes, keys[first]->data(), std::min<size_t>(prefix, kPrefixBytes));
    for (int i = first; i < count; ++i) heads[i] = KeyHead(keys[i]->view(), prefix);
  }

  /// Puts the key at `position`, whose place was made by the caller.
  void PlaceKey(int position, IndexedKey* key) {
    std::memmove(heads + position + 1, heads + position, (count - position) * sizeof heads[0]);
    std::memmove(keys + position + 1, keys + position, (count - position) * sizeof keys[0]);
    keys[position] = key;
    ++count;
    const int neighbour = position == first_key() ? position + 1 : first_key();
    if (neighbour < count && CommonPrefix(keys[neighbour]->view().substr(0, prefix), key->view()) < prefix) {
      Rehead();
    } else {
      if (neighbour >= count) prefix = 0;
      heads[position] = KeyHead(key->view(), prefix);
    }
  }
};

struct KeyIndex::Leaf : KeyIndex::Node {
  Slot slots[kNodeCapacity];
  Leaf() : Node(true) {}

  Slot* Insert(int position, IndexedKey* key) {
    std::memmove(slots + position + 1, slots + position, (count - position) * sizeof slots[0]);
    PlaceKey(position, key);
    return &slots[position];
  }
  int64_t CountLive() const {
    return std::count_if(slots, slots + count, [](const Slot& slot) { return slot.live(); });
  }
  int64_t Newest() const {
    int64_t newest = 0;
    for (int i = 0; i < count; ++i) newest = std::max(newest, slots[i].main);
    return newest;
  }
  void CountHistories() {
    histories = static_cast<uint16_t>(
        std::count_if(slots, slots + count, [](const Slot& slot) { return slot.has_history(); }));
  }
};

struct KeyIndex::Inner : KeyIndex::Node {
  Node* children[kNodeCapacity];
  int64_t live[kNodeCapacity];    ///< keys under the child that live now
  int64_t newest[kNodeCapacity];  ///< no revision under the child is newer
  Inner() : Node(false) {}

  /// The child that has `key`.
  int ChildOf(std::string_view key) const {
    bool equal = false;
    const int position = LowerBound(key, &equal);
    return equal ? position : position - 1;
  }
  void Refresh(int child) {
    const Node* node = children[child];
    if (node->leaf) {
      live[child] = static_cast<const Leaf*>(node)->CountLive();
      newest[child] = static_cast<const Leaf*>(node)->Newest();
      return;
    }
    const auto* inner = static_cast<const Inner*>(node);
    live[child] = 0;
    newest[child] = 0;
    for (int i = 0; i < inner->count; ++i) {
      live[child] += inner->live[i];
      newest[child] = std::max(newest[child], inner->newest[i]);
    }
  }
  void Insert(int position, IndexedKey* separator, Node* child) {
    const size_t moved = count - position;
    std::memmove(children + position + 1, children + position, moved * sizeof children[0]);
    std::memmove(live + position + 1, live + position, moved * sizeof live[0]);
    std::memmove(newest + position + 1, newest + position, moved * sizeof newest[0]);
    children[position] = child;
    PlaceKey(position, separator);
    Refresh(position);
  }
  /// Forgets the child and the separator under it. REQUIRES: count > 1
  void Remove(int position) {
    // The first child's keys have no lower bound here: with it goes the bound of the second.
    DeleteIndexedKey(keys[std::max(position, 1)]);
    const int key = std::max(position, 1);
    const size_t moved = count - position - 1;
    std::memmove(heads + key, heads + key + 1, (count - key - 1) * sizeof heads[0]);
    std::memmove(keys + key, keys + key + 1, (count - key - 1) * sizeof keys[0]);
    std::memmove(children + position, children + position + 1, moved * sizeof children[0]);
    std::memmove(live + position, live + position + 1, moved * sizeof live[0]);
    std::memmove(newest + position, newest + position + 1, moved * sizeof newest[0]);
    --count;
  }
};

/// The way from the root to a leaf.
struct KeyIndex::Path {
  int depth = 0;
  Inner* nodes[kMaxHeight];
  int children[kMaxHeight];

  /// The lowest bound above the leaf; null where the leaf is the last.
  const IndexedKey* Upper() const {
    for (int i = depth - 1; i >= 0; --i) {
      if (children[i] + 1 < nodes[i]->count) return nodes[i]->keys[children[i] + 1];
    }
    return nullptr;
  }
  /// Counts a change in the leaf in on the way.
  void Touch(int64_t main, int live_delta) const {
    for (int i = 0; i < depth; ++i) {
      nodes[i]->live[children[i]] += live_delta;
      nodes[i]->newest[children[i]] = std::max(nodes[i]->newest[children[i]], main);
    }
  }
};

struct KeyIndex::Place {
  Leaf* leaf;
  int position;
  bool inserted;  ///< the slot is to be filled
};

/// What of a subtree is meant; null: without that bound.
struct KeyIndex::Bounds {
  const std::string_view* from;
  const std::string_view* to;
};

}  // namespace kvorum::mvcc
