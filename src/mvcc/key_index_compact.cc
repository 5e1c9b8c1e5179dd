#include "mvcc/key_index.h"
#include "mvcc/key_index_node.h"

namespace kvorum::mvcc {

bool KeyIndex::CompactSome(int64_t at, size_t max_keys, std::string* cursor,
                           std::vector<KeyHistory::Item>* dropped) {
  // What a leaf without histories and what a dropped revision cost, as fractions of a key.
  constexpr size_t kLeavesPerKey = 8;
  constexpr size_t kDroppedPerKey = 8;
  size_t seen = 0;
  const size_t before = dropped->size();
  for (size_t leaves = 0;
       seen + leaves / kLeavesPerKey + (dropped->size() - before) / kDroppedPerKey < max_keys; ++leaves) {
    Path path;
    Leaf* leaf = Descend(*cursor, &path);
    const IndexedKey* upper = path.Upper();
    const bool last = upper == nullptr;
    if (!last) cursor->assign(upper->view());
    if (leaf->histories > 0) {
      seen += leaf->histories;
      CompactLeaf(leaf, at, dropped);
      if (leaf->count == 0) {
        RemoveEmptyLeaf(path);
      } else if (leaf->count < kNodeSparse) {
        JoinLeaf(path);
      }
    }
    if (last) return false;
  }
  return true;
}

void KeyIndex::CompactLeaf(Leaf* leaf, int64_t at, std::vector<KeyHistory::Item>* dropped) {
  int kept = 0;
  for (int i = 0; i < leaf->count; ++i) {
    Slot& slot = leaf->slots[i];
    if (slot.has_history()) {
      if (!slot.history->Compact(at, dropped)) {
        delete slot.history;
        DeleteIndexedKey(leaf->keys[i]);
        --key_count_;
        continue;
      }
      slot.DropHistoryOfOne();
    }
    leaf->slots[kept] = slot;
    leaf->keys[kept] = leaf->keys[i];
    leaf->heads[kept] = leaf->heads[i];
    ++kept;
  }
  leaf->count = static_cast<uint16_t>(kept);
  leaf->CountHistories();
}

void KeyIndex::RemoveEmptyLeaf(const Path& path) {
  if (path.depth == 0) return;
  Node* empty = path.nodes[path.depth - 1]->children[path.children[path.depth - 1]];
  for (int level = path.depth - 1; level >= 0; --level) {
    if (empty->leaf) {
      delete static_cast<Leaf*>(empty);
    } else {
      delete static_cast<Inner*>(empty);
    }
    Inner* parent = path.nodes[level];
    if (parent->count > 1) {
      parent->Remove(path.children[level]);
      LowerRoot();
      return;
    }
    empty = parent;
  }
  delete static_cast<Inner*>(empty);
  root_ = new Leaf;
}

void KeyIndex::JoinLeaf(const Path& path) {
  if (path.depth == 0) return;
  Inner* parent = path.nodes[path.depth - 1];
  const int child = path.children[path.depth - 1];
  for (const int left : {child, child - 1}) {
    if (left < 0 || left + 1 >= parent->count) continue;
    auto* to = static_cast<Leaf*>(parent->children[left]);
    auto* from = static_cast<Leaf*>(parent->children[left + 1]);
    if (to->count + from->count > kNodeJoinLimit) continue;
    std::copy_n(from->keys, from->count, to->keys + to->count);
    std::copy_n(from->slots, from->count, to->slots + to->count);
    to->count = static_cast<uint16_t>(to->count + from->count);
    to->Rehead();
    to->CountHistories();
    delete from;
    parent->Remove(left + 1);
    parent->Refresh(left);
    if (parent->count < kNodeSparse && path.depth > 1) JoinInner(path, path.depth - 1);
    LowerRoot();
    return;
  }
}

/// Joins the inner node at `level` of the path with a neighbour, and its parent in turn.
void KeyIndex::JoinInner(const Path& path, int level) {
  Inner* parent = path.nodes[level - 1];
  const int child = path.children[level - 1];
  for (const int left : {child, child - 1}) {
    if (left < 0 || left + 1 >= parent->count) continue;
    auto* to = static_cast<Inner*>(parent->children[left]);
    auto* from = static_cast<Inner*>(parent->children[left + 1]);
    if (to->count + from->count > kNodeJoinLimit) continue;
    from->keys[0] = NewIndexedKey(parent->keys[left + 1]->view());
    std::copy_n(from->keys, from->count, to->keys + to->count);
    std::copy_n(from->children, from->count, to->children + to->count);
    std::copy_n(from->live, from->count, to->live + to->count);
    std::copy_n(from->newest, from->count, to->newest + to->count);
    to->count = static_cast<uint16_t>(to->count + from->count);
    to->Rehead();
    delete from;
    parent->Remove(left + 1);
    parent->Refresh(left);
    if (parent->count < kNodeSparse && level > 1) JoinInner(path, level - 1);
    return;
  }
}

void KeyIndex::LowerRoot() {
  while (!root_->leaf && root_->count == 1) {
    auto* old = static_cast<Inner*>(root_);
    root_ = old->children[0];
    delete old;
  }
}

}  // namespace kvorum::mvcc
