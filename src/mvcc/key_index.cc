#include "mvcc/key_index.h"

#include "mvcc/key_index_node.h"

namespace kvorum::mvcc {

KeyIndex::KeyIndex() : root_(new Leaf) {}

KeyIndex::~KeyIndex() { Destroy(root_); }

void KeyIndex::Destroy(Node* node) {
  if (node->leaf) {
    auto* leaf = static_cast<Leaf*>(node);
    for (int i = 0; i < leaf->count; ++i) {
      DeleteIndexedKey(leaf->keys[i]);
      if (leaf->slots[i].has_history()) delete leaf->slots[i].history;
    }
    delete leaf;
    return;
  }
  auto* inner = static_cast<Inner*>(node);
  for (int i = 0; i < inner->count; ++i) {
    if (i > 0) DeleteIndexedKey(inner->keys[i]);
    Destroy(inner->children[i]);
  }
  delete inner;
}

KeyIndex::Leaf* KeyIndex::Descend(std::string_view key, Path* path) const {
  path->depth = 0;
  Node* node = root_;
  while (!node->leaf) {
    auto* inner = static_cast<Inner*>(node);
    const int child = inner->ChildOf(key);
    KVORUM_CHECK(path->depth < kMaxHeight);
    path->nodes[path->depth] = inner;
    path->children[path->depth] = child;
    ++path->depth;
    node = inner->children[child];
  }
  return static_cast<Leaf*>(node);
}

const KeyIndex::Slot* KeyIndex::FindSlot(std::string_view key) const {
  const Node* node = root_;
  while (!node->leaf) {
    const auto* inner = static_cast<const Inner*>(node);
    node = inner->children[inner->ChildOf(key)];
  }
  const int position = node->Find(key);
  return position < 0 ? nullptr : &static_cast<const Leaf*>(node)->slots[position];
}

KeyIndex::Place KeyIndex::FindOrInsert(std::string_view key, Path* path) {
  for (;;) {
    Leaf* leaf = Descend(key, path);
    bool equal = false;
    const int position = leaf->LowerBound(key, &equal);
    if (equal) return {leaf, position, false};
    if (leaf->count < kNodeCapacity) {
      leaf->Insert(position, NewIndexedKey(key));
      ++key_count_;
      return {leaf, position, true};
    }
    SplitLeaf(path, leaf, position);
  }
}

void KeyIndex::SplitLeaf(Path* path, Leaf* leaf, int position) {
  // Keys that come in order leave full leaves behind them.
  int keep = kNodeCapacity / 2;
  if (position == kNodeCapacity) keep = kNodeCapacity - 4;
  if (position == 0) keep = 4;
  auto* right = new Leaf;
  right->count = static_cast<uint16_t>(kNodeCapacity - keep);
  std::copy_n(leaf->keys + keep, right->count, right->keys);
  std::copy_n(leaf->slots + keep, right->count, right->slots);
  leaf->count = static_cast<uint16_t>(keep);
  leaf->Rehead();
  right->Rehead();
  leaf->CountHistories();
  right->CountHistories();
  InsertChild(path, path->depth - 1, NewIndexedKey(right->keys[0]->view()), right);
}

/// Hangs `right` behind the child that the path takes at `level`; -1: behind the root. The sums of the levels
/// above stay as they are: what moved stays below them.
void KeyIndex::InsertChild(Path* path, int level, IndexedKey* separator, Node* right) {
  if (level < 0) {
    auto* root = new Inner;
    root->children[0] = root_;
    root->count = 1;
    root->Refresh(0);
    root->Insert(1, separator, right);
    root_ = root;
    return;
  }
  Inner* parent = path->nodes[level];
  int position = path->children[level] + 1;
  if (parent->count == kNodeCapacity) {
    const int keep = position == kNodeCapacity ? kNodeCapacity - 4 : kNodeCapacity / 2;
    auto* sibling = new Inner;
    sibling->count = static_cast<uint16_t>(kNodeCapacity - keep);
    std::copy_n(parent->keys + keep, sibling->count, sibling->keys);
    std::copy_n(parent->children + keep, sibling->count, sibling->children);
    std::copy_n(parent->live + keep, sibling->count, sibling->live);
    std::copy_n(parent->newest + keep, sibling->count, sibling->newest);
    parent->count = static_cast<uint16_t>(keep);
    parent->Rehead();
    sibling->Rehead();
    InsertChild(path, level - 1, sibling->keys[0], sibling);
    if (position > keep) {
      parent = sibling;
      position -= keep;
    }
  }
  parent->Refresh(position - 1);
  parent->Insert(position, separator, right);
}

KeyIndex::PutResult KeyIndex::PutOrRestore(std::string_view key, Revision revision, KeyHistory::Life life) {
  KVORUM_CHECK(revision.sub <= INT32_MAX, "sub revision {}", revision.sub);
  Path path;
  const Place place = FindOrInsert(key, &path);
  Slot& slot = place.leaf->slots[place.position];
  const auto sub = static_cast<uint32_t>(revision.sub);
  bool was_live = false;
  if (!place.inserted) {
    was_live = slot.live();
    if (!slot.has_history()) ++place.leaf->histories;
    slot.EnsureHistory();
    life = slot.history->Put(revision);
  } else if (life.version > 0 && life.version <= UINT32_MAX) {
    slot.created = life.created;
    slot.sub = sub;
    slot.version = static_cast<uint32_t>(life.version);
  } else {
    slot.history = new KeyHistory({revision.main, sub, 0}, life);
    slot.version = 0;
    ++place.leaf->histories;
  }
  slot.main = revision.main;
  path.Touch(revision.main, was_live ? 0 : 1);
  return {place.leaf->keys[place.position], life};
}

KeyIndex::PutResult KeyIndex::Put(std::string_view key, Revision revision) {
  return PutOrRestore(key, revision, {revision.main, 1});
}

const IndexedKey* KeyIndex::RestorePut(std::string_view key, Revision revision, KeyHistory::Life life) {
  return PutOrRestore(key, revision, life).key;
}

const IndexedKey* KeyIndex::Tombstone(std::string_view key, Revision revision) {
  KVORUM_CHECK(revision.sub <= INT32_MAX, "sub revision {}", revision.sub);
  Path path;
  Leaf* leaf = Descend(key, &path);
  const int position = leaf->Find(key);
  if (position < 0 || !leaf->slots[position].live()) return nullptr;
  Slot& slot = leaf->slots[position];
  if (!slot.has_history()) ++leaf->histories;
  slot.EnsureHistory();
  slot.history->Tombstone(revision);
  slot.main = revision.main;
  path.Touch(revision.main, -1);
  return leaf->keys[position];
}

const IndexedKey* KeyIndex::RestoreTombstone(std::string_view key, Revision revision) {
  if (FindSlot(key) != nullptr) return Tombstone(key, revision);
  Path path;
  const Place place = FindOrInsert(key, &path);
  Slot& slot = place.leaf->slots[place.position];
  slot.history = new KeyHistory({revision.main, static_cast<uint32_t>(revision.sub), 1}, {0, 1});
  slot.version = 0;
  slot.main = revision.main;
  ++place.leaf->histories;
  path.Touch(revision.main, 0);
  return place.leaf->keys[place.position];
}

void KeyIndex::Prefetch(absl::Span<const std::string_view> keys) const {
  constexpr size_t kAtOnce = 32;
  for (; !keys.empty(); keys.remove_prefix(std::min(kAtOnce, keys.size()))) {
    const Node* nodes[kAtOnce];
    const size_t count = std::min(kAtOnce, keys.size());
    std::fill_n(nodes, count, root_);
    // One level for all keys, then the next: while one waits, the others ask.
    for (const Node* level = root_; !level->leaf; level = static_cast<const Inner*>(level)->children[0]) {
      for (size_t i = 0; i < count; ++i) {
        const auto* inner = static_cast<const Inner*>(nodes[i]);
        nodes[i] = inner->children[inner->ChildOf(keys[i])];
        nodes[i]->PrefetchHeads();
      }
    }
    for (size_t i = 0; i < count; ++i) nodes[i]->PrefetchKey(keys[i]);
  }
}

std::optional<Revision> KeyIndex::Find(std::string_view key, int64_t at) const {
  const Slot* slot = FindSlot(key);
  return slot == nullptr ? std::nullopt : slot->Find(at);
}

bool KeyIndex::VisitNode(const Node* node, const Bounds& bounds, int64_t at, Visitor visit) {
  bool equal = false;
  if (node->leaf) {
    const auto* leaf = static_cast<const Leaf*>(node);
    const int begin = bounds.from == nullptr ? 0 : leaf->LowerBound(*bounds.from, &equal);
    const int end = bounds.to == nullptr ? leaf->count : leaf->LowerBound(*bounds.to, &equal);
    for (int i = begin; i < end; ++i) {
      const std::optional<Revision> revision = leaf->slots[i].Find(at);
      if (revision.has_value() && !visit(*leaf->keys[i], *revision)) return false;
    }
    return true;
  }
  const auto* inner = static_cast<const Inner*>(node);
  const int begin = bounds.from == nullptr ? 0 : inner->ChildOf(*bounds.from);
  const int last = bounds.to == nullptr ? inner->count - 1 : inner->LowerBound(*bounds.to, &equal) - 1;
  for (int i = begin; i <= last; ++i) {
    if (inner->live[i] == 0 && inner->newest[i] <= at) continue;
    const Bounds of_child{i == begin ? bounds.from : nullptr, i == last ? bounds.to : nullptr};
    if (!VisitNode(inner->children[i], of_child, at, visit)) return false;
  }
  return true;
}

int64_t KeyIndex::CountNode(const Node* node, const Bounds& bounds, int64_t at) {
  bool equal = false;
  int64_t count = 0;
  if (node->leaf) {
    const auto* leaf = static_cast<const Leaf*>(node);
    const int begin = bounds.from == nullptr ? 0 : leaf->LowerBound(*bounds.from, &equal);
    const int end = bounds.to == nullptr ? leaf->count : leaf->LowerBound(*bounds.to, &equal);
    for (int i = begin; i < end; ++i) count += leaf->slots[i].LivesAt(at) ? 1 : 0;
    return count;
  }
  const auto* inner = static_cast<const Inner*>(node);
  const int begin = bounds.from == nullptr ? 0 : inner->ChildOf(*bounds.from);
  const int last = bounds.to == nullptr ? inner->count - 1 : inner->LowerBound(*bounds.to, &equal) - 1;
  for (int i = begin; i <= last; ++i) {
    const Bounds of_child{i == begin ? bounds.from : nullptr, i == last ? bounds.to : nullptr};
    const bool whole = of_child.from == nullptr && of_child.to == nullptr;
    if (inner->newest[i] <= at && (whole || inner->live[i] == 0)) {
      count += inner->live[i];
    } else {
      count += CountNode(inner->children[i], of_child, at);
    }
  }
  return count;
}

void KeyIndex::ForEach(const KeyRange& range, int64_t at, Visitor visit) const {
  if (range.single()) {
    Path path;
    const Leaf* leaf = Descend(range.key, &path);
    const int position = leaf->Find(range.key);
    if (position < 0) return;
    const std::optional<Revision> revision = leaf->slots[position].Find(at);
    if (revision.has_value()) visit(*leaf->keys[position], *revision);
    return;
  }
  VisitNode(root_, {&range.key, range.open_ended() ? nullptr : &range.end}, at, visit);
}

int64_t KeyIndex::Count(const KeyRange& range, int64_t at) const {
  if (range.single()) return Find(range.key, at).has_value() ? 1 : 0;
  return CountNode(root_, {&range.key, range.open_ended() ? nullptr : &range.end}, at);
}

bool KeyIndex::NewestSome(int64_t at, size_t max_keys, std::string* cursor,
                          absl::FunctionRef<void(KeyHistory::Item)> visit) const {
  for (size_t seen = 0; seen < max_keys;) {
    Path path;
    const Leaf* leaf = Descend(*cursor, &path);
    bool equal = false;
    for (int i = leaf->LowerBound(*cursor, &equal); i < leaf->count; ++i) {
      const Slot& slot = leaf->slots[i];
      if (slot.has_history()) {
        if (const KeyHistory::Item* item = slot.history->NewestAt(at)) visit(*item);
      } else if (slot.main <= at) {
        visit({slot.main, slot.sub, 0});
      }
    }
    seen += leaf->count;
    const IndexedKey* next = path.Upper();
    if (next == nullptr) return false;
    cursor->assign(next->view());
  }
  return true;
}

int64_t KeyIndex::live_count() const { return CountNode(root_, {nullptr, nullptr}, INT64_MAX); }

size_t KeyIndex::CheckNode(const Node* node, const IndexedKey* lower, const IndexedKey* upper) {
  for (int i = node->first_key(); i < node->count; ++i) {
    const std::string_view key = node->keys[i]->view();
    KVORUM_CHECK(i == node->first_key() || node->keys[i - 1]->view() < key);
    KVORUM_CHECK(lower == nullptr || lower->view() <= key);
    KVORUM_CHECK(upper == nullptr || key < upper->view());
    KVORUM_CHECK(CommonPrefix(node->keys[node->first_key()]->view(), key) >= node->prefix);
    KVORUM_CHECK(node->heads[i] == KeyHead(key, node->prefix));
  }
  if (node->leaf) {
    const auto* leaf = static_cast<const Leaf*>(node);
    int histories = 0;
    for (int i = 0; i < leaf->count; ++i) {
      if (!leaf->slots[i].has_history()) continue;
      ++histories;
      leaf->slots[i].history->CheckInvariants();
      KVORUM_CHECK(leaf->slots[i].history->newest().main == leaf->slots[i].main);
    }
    KVORUM_CHECK(histories == leaf->histories);
    return leaf->count;
  }
  const auto* inner = static_cast<const Inner*>(node);
  size_t keys = 0;
  KVORUM_CHECK(inner->count > 0);
  for (int i = 0; i < inner->count; ++i) {
    Inner sums;
    sums.children[0] = inner->children[i];
    sums.Refresh(0);
    KVORUM_CHECK(sums.live[0] == inner->live[i], "{} live keys, not {}", sums.live[0], inner->live[i]);
    KVORUM_CHECK(sums.newest[0] <= inner->newest[i]);
    keys += CheckNode(inner->children[i], i == 0 ? lower : inner->keys[i],
                      i + 1 == inner->count ? upper : inner->keys[i + 1]);
  }
  return keys;
}

void KeyIndex::CheckInvariants() const { KVORUM_CHECK(CheckNode(root_, nullptr, nullptr) == key_count_); }

}  // namespace kvorum::mvcc
