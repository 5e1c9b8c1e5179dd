#include "mvcc/watcher_table.h"

#include <algorithm>

#include "base/check.h"

namespace kvorum::mvcc {
namespace {

int Compare(const RangeGroup& group, const KeyRange& range) {
  const int order = std::string_view(group.key).compare(range.key);
  return order != 0 ? order : std::string_view(group.end).compare(range.end);
}

/// Whether `a` ends behind `b`; an open end is behind every other.
bool EndsBehind(const RangeGroup& a, const RangeGroup& b) {
  if (b.range().open_ended()) return false;
  return a.range().open_ended() || a.end > b.end;
}

bool EndsBeforeOrAt(const RangeGroup& group, std::string_view key) {
  return !group.range().open_ended() && std::string_view(group.end) <= key;
}

void Update(RangeGroup* node) {
  node->farthest = node;
  for (const RangeGroup* child : {node->left, node->right}) {
    if (child != nullptr && EndsBehind(*child->farthest, *node->farthest)) node->farthest = child->farthest;
  }
}

/// Cuts `node` in what is before `range` and what is behind it.
void Split(RangeGroup* node, const KeyRange& range, RangeGroup** before, RangeGroup** behind) {
  if (node == nullptr) {
    *before = nullptr;
    *behind = nullptr;
    return;
  }
  if (Compare(*node, range) < 0) {
    Split(node->right, range, &node->right, behind);
    *before = node;
  } else {
    Split(node->left, range, before, &node->left);
    *behind = node;
  }
  Update(node);
}

RangeGroup* Insert(RangeGroup* node, RangeGroup* made) {
  if (node == nullptr) return made;
  if (made->priority > node->priority) {
    Split(node, made->range(), &made->left, &made->right);
    Update(made);
    return made;
  }
  RangeGroup*& child = Compare(*node, made->range()) > 0 ? node->left : node->right;
  child = Insert(child, made);
  Update(node);
  return node;
}

RangeGroup* Join(RangeGroup* before, RangeGroup* behind) {
  if (before == nullptr) return behind;
  if (behind == nullptr) return before;
  RangeGroup* top = before->priority > behind->priority ? before : behind;
  if (top == before) {
    before->right = Join(before->right, behind);
  } else {
    behind->left = Join(before, behind->left);
  }
  Update(top);
  return top;
}

RangeGroup* Erase(RangeGroup* node, const RangeGroup* gone) {
  KVORUM_CHECK(node != nullptr);
  if (node == gone) return Join(node->left, node->right);
  RangeGroup*& child = Compare(*node, gone->range()) > 0 ? node->left : node->right;
  child = Erase(child, gone);
  Update(node);
  return node;
}

void Stab(RangeGroup* node, std::string_view key, absl::FunctionRef<void(WatchGroup&)> visit) {
  while (node != nullptr && !EndsBeforeOrAt(*node->farthest, key)) {
    Stab(node->left, key, visit);
    if (std::string_view(node->key) > key) return;
    if (!EndsBeforeOrAt(*node, key)) visit(*node);
    node = node->right;
  }
}

void DeleteTree(RangeGroup* node) {
  if (node == nullptr) return;
  DeleteTree(node->left);
  DeleteTree(node->right);
  delete node;
}

}  // namespace

void WatchGroup::AddSynced(Watcher* watcher) {
  watcher->state = WatcherState::kSynced;
  watcher->group_slot = static_cast<uint32_t>(synced.size());
  synced.push_back(watcher);
  synced_prev_kv += watcher->prev_kv ? 1 : 0;
}

void WatchGroup::RemoveSynced(Watcher* watcher) {
  KVORUM_CHECK(watcher->state == WatcherState::kSynced && synced[watcher->group_slot] == watcher);
  synced[watcher->group_slot] = synced.back();
  synced[watcher->group_slot]->group_slot = watcher->group_slot;
  synced.pop_back();
  synced_prev_kv -= watcher->prev_kv ? 1 : 0;
}

WatcherTable::~WatcherTable() {
  for (WatchGroup* group : singles_) delete group;
  DeleteTree(root_);
}

uint64_t WatcherTable::NextPriority() {
  // splitmix64: well spread, and the same in every run.
  uint64_t z = priority_state_ += 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

WatchGroup* WatcherTable::Acquire(const KeyRange& range) {
  if (range.single()) {
    auto it = singles_.find(range.key);
    if (it == singles_.end()) it = singles_.insert(new WatchGroup(range.key, true)).first;
    ++(*it)->members;
    return *it;
  }
  RangeGroup* node = root_;
  while (node != nullptr) {
    const int order = Compare(*node, range);
    if (order == 0) break;
    node = order > 0 ? node->left : node->right;
  }
  if (node == nullptr) {
    node = new RangeGroup(range.key, range.end, NextPriority());
    root_ = Insert(root_, node);
  }
  ++node->members;
  return node;
}

void WatcherTable::Release(WatchGroup* group) {
  if (--group->members > 0) return;
  KVORUM_CHECK(group->synced.empty());
  if (group->single) {
    singles_.erase(group);
    delete group;
    return;
  }
  auto* range = static_cast<RangeGroup*>(group);
  root_ = Erase(root_, range);
  delete range;
}

void WatcherTable::ForEachMatch(std::string_view key, absl::FunctionRef<void(WatchGroup&)> visit) const {
  const auto it = singles_.find(key);
  if (it != singles_.end()) visit(**it);
  Stab(root_, key, visit);
}

void WatcherTable::ForEach(absl::FunctionRef<void(WatchGroup&)> visit) const {
  // The set's own order is not the same from run to run.
  std::vector<WatchGroup*> singles(singles_.begin(), singles_.end());
  std::sort(singles.begin(), singles.end(),
            [](const WatchGroup* a, const WatchGroup* b) { return a->key < b->key; });
  for (WatchGroup* group : singles) visit(*group);
  std::vector<RangeGroup*> left;
  if (root_ != nullptr) left.push_back(root_);
  while (!left.empty()) {
    RangeGroup* node = left.back();
    left.pop_back();
    if (node->left != nullptr) left.push_back(node->left);
    if (node->right != nullptr) left.push_back(node->right);
    visit(*node);
  }
}

}  // namespace kvorum::mvcc
