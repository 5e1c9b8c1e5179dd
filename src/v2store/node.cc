#include "v2store/node.h"

#include "base/check.h"

namespace kvorum::v2store {
namespace {

constexpr size_t kChunkNodes = 64;

/// Whether the share given up was the last.
bool IsLast(std::atomic<uint32_t>& shares) { return shares.fetch_sub(1, std::memory_order_acq_rel) == 1; }

bool NameLess(const Node* node, std::string_view name) { return node->name() < name; }

}  // namespace

void Node::Drop(const Node* node) {
  if (!IsLast(node->shares_)) return;
  if (node->chunks_.empty()) {
    delete node;
    return;
  }
  std::vector<const Node*> gone{node};
  while (!gone.empty()) {
    const Node* next = gone.back();
    gone.pop_back();
    for (const Chunk* chunk : next->chunks_) {
      if (!IsLast(chunk->shares)) continue;
      for (const Node* child : chunk->nodes) {
        if (IsLast(child->shares_)) gone.push_back(child);
      }
      delete chunk;
    }
    delete next;
  }
}

const Node* Node::Editable(const Node* node) {
  if (node->shares_.load(std::memory_order_acquire) == 1) return node;
  auto* copy = new Node(node->fields_);
  copy->chunks_ = node->chunks_;
  for (const Chunk* chunk : copy->chunks_) chunk->shares.fetch_add(1, std::memory_order_relaxed);
  Drop(node);
  return copy;
}

Node* Node::Edit(NodeRef& node) {
  node = NodeRef(Editable(node.Release()));
  return const_cast<Node*>(node.get());
}

Node::Chunk* Node::NewChunk(std::vector<const Node*> nodes) {
  auto* chunk = new Chunk;
  chunk->nodes = std::move(nodes);
  return chunk;
}

size_t Node::ChunkOf(std::string_view name) const {
  const auto after = std::upper_bound(
      chunks_.begin(), chunks_.end(), name,
      [](std::string_view n, const Chunk* chunk) { return n < chunk->nodes.front()->name(); });
  return after == chunks_.begin() ? 0 : static_cast<size_t>(after - chunks_.begin()) - 1;
}

const Node* Node::Child(std::string_view name) const {
  if (chunks_.empty()) return nullptr;
  const std::vector<const Node*>& nodes = chunks_[ChunkOf(name)]->nodes;
  const auto found = std::lower_bound(nodes.begin(), nodes.end(), name, NameLess);
  return found != nodes.end() && (*found)->name() == name ? *found : nullptr;
}

Node::Chunk* Node::EditChunk(size_t i) {
  const Chunk* chunk = chunks_[i];
  if (chunk->shares.load(std::memory_order_acquire) == 1) return const_cast<Chunk*>(chunk);
  Chunk* copy = NewChunk(chunk->nodes);
  for (const Node* node : copy->nodes) node->AddShare();
  if (IsLast(chunk->shares)) {  // whoever had it too gave it up meanwhile
    for (const Node* node : chunk->nodes) Drop(node);
    delete chunk;
  }
  chunks_[i] = copy;
  return copy;
}

Node* Node::EditChild(std::string_view name) {
  if (chunks_.empty()) return nullptr;
  std::vector<const Node*>& nodes = EditChunk(ChunkOf(name))->nodes;
  const auto found = std::lower_bound(nodes.begin(), nodes.end(), name, NameLess);
  if (found == nodes.end() || (*found)->name() != name) return nullptr;
  KVORUM_CHECK((*found)->dir());
  *found = Editable(*found);
  return const_cast<Node*>(*found);
}

NodeRef Node::Put(NodeRef child) {
  KVORUM_CHECK(dir());
  const std::string_view name = child->name();
  if (chunks_.empty()) {
    chunks_.push_back(NewChunk({child.Release()}));
    return {};
  }
  const size_t i = ChunkOf(name);
  std::vector<const Node*>& nodes = EditChunk(i)->nodes;
  const auto found = std::lower_bound(nodes.begin(), nodes.end(), name, NameLess);
  if (found != nodes.end() && (*found)->name() == name) {
    return NodeRef(std::exchange(*found, child.Release()));
  }
  const bool at_end = found == nodes.end() && i + 1 == chunks_.size();
  if (nodes.size() < kChunkNodes) {
    nodes.insert(found, child.Release());
    return {};
  }
  // Names often come in order: then the chunk stays full.
  const auto middle = nodes.begin() + (at_end ? kChunkNodes : kChunkNodes / 2);
  std::vector<const Node*> upper(middle, nodes.end());
  const bool in_upper = at_end || found > middle;
  const auto offset = found - (in_upper ? middle : nodes.begin());
  nodes.erase(middle, nodes.end());
  std::vector<const Node*>& half = in_upper ? upper : nodes;
  half.insert(half.begin() + offset, child.Release());
  chunks_.insert(chunks_.begin() + static_cast<ptrdiff_t>(i) + 1, NewChunk(std::move(upper)));
  return {};
}

NodeRef Node::Take(std::string_view name) {
  const size_t i = ChunkOf(name);
  std::vector<const Node*>& nodes = EditChunk(i)->nodes;
  const auto found = std::lower_bound(nodes.begin(), nodes.end(), name, NameLess);
  KVORUM_CHECK(found != nodes.end() && (*found)->name() == name);
  NodeRef taken(*found);
  nodes.erase(found);
  if (nodes.empty()) {
    delete chunks_[i];
    chunks_.erase(chunks_.begin() + static_cast<ptrdiff_t>(i));
  }
  return taken;
}

}  // namespace kvorum::v2store
