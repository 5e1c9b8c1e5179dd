#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"

namespace kvorum::v2store {

class Node;

/// A share in a node; with the last one the node goes, and what only it had below.
class NodeRef {
 public:
  NodeRef() = default;
  /// Takes over the share that the caller has.
  explicit NodeRef(const Node* node) : node_(node) {}
  NodeRef(const NodeRef& other);
  NodeRef(NodeRef&& other) noexcept : node_(std::exchange(other.node_, nullptr)) {}
  NodeRef& operator=(NodeRef other) noexcept {
    std::swap(node_, other.node_);
    return *this;
  }
  ~NodeRef();

  const Node* get() const { return node_; }
  const Node& operator*() const { return *node_; }
  const Node* operator->() const { return node_; }
  explicit operator bool() const { return node_ != nullptr; }
  const Node* Release() { return std::exchange(node_, nullptr); }

 private:
  const Node* node_ = nullptr;
};

/// A file or a directory of a tree that is copied on write: whoever has a share in a node sees it, and all
/// below it, as it was when the share was taken. A file never changes; a directory does in place as long as
/// nobody else has a share in it or above it, and by a copy of the way down to the change otherwise.
///
/// The children are in chunks ordered by name, so that a copy is small: a directory shares its chunks, a
/// chunk its nodes.
///
/// Thread rule: any thread may read and drop what it has a share in; one thread changes.
class Node {
 public:
  struct Fields {
    std::string name;
    Bytes value;  ///< null for a directory alone
    bool dir = false;
    uint64_t created_index = 0;
    uint64_t modified_index = 0;
    std::optional<WallTime> expires;
  };

  static NodeRef New(Fields fields) { return NodeRef(new Node(std::move(fields))); }

  /// One more share in a node of a tree. REQUIRES: the tree is not changed meanwhile.
  static NodeRef Share(const Node& node);

  const std::string& name() const { return fields_.name; }
  const Bytes& value() const { return fields_.value; }
  bool dir() const { return fields_.dir; }
  uint64_t created_index() const { return fields_.created_index; }
  uint64_t modified_index() const { return fields_.modified_index; }
  const std::optional<WallTime>& expires() const { return fields_.expires; }
  /// Whether a listing of its parent leaves it out.
  bool hidden() const { return fields_.name.starts_with('_'); }

  bool empty() const { return chunks_.empty(); }
  /// Null where there is none.
  const Node* Child(std::string_view name) const;

  /// `visit(child)` in the order of their names.
  template <typename Visit>
  void ForEachChild(Visit visit) const;
  class Children;

  // Changes. REQUIRES: the caller's share is the only one, of this node and all above it.

  void SetExpires(std::optional<WallTime> expires) { fields_.expires = expires; }
  /// The child, a directory, to change it; null where there is none.
  Node* EditChild(std::string_view name);
  /// Adds the node, or puts it in the place of the one of its name, which it gives.
  NodeRef Put(NodeRef child);
  /// REQUIRES: there is one.
  NodeRef Take(std::string_view name);
  /// The node itself to change it: a copy where it is shared.
  static Node* Edit(NodeRef& node);

  /// Visits `top` and what is below, children in order of their names, without recursion. `enter` gives
  /// whether to go into a directory's children; `leave` is called when they are done, for a file at once, and
  /// not where `enter` said no.
  template <typename Enter, typename Leave>
  static void Walk(const Node& top, Enter enter, Leave leave);

 private:
  friend class NodeRef;
  struct Chunk;

  explicit Node(Fields fields) : fields_(std::move(fields)) {}
  ~Node() = default;

  void AddShare() const { shares_.fetch_add(1, std::memory_order_relaxed); }
  static void Drop(const Node* node);
  static const Node* Editable(const Node* node);
  static Chunk* NewChunk(std::vector<const Node*> nodes);
  /// Where `name` is or would be among the chunks.
  size_t ChunkOf(std::string_view name) const;
  Chunk* EditChunk(size_t i);

  mutable std::atomic<uint32_t> shares_{1};
  Fields fields_;
  std::vector<const Chunk*> chunks_;  // none is empty
};

struct Node::Chunk {
  mutable std::atomic<uint32_t> shares{1};
  std::vector<const Node*> nodes;  // by name
};

/// A directory's children one after another, by name; of a file none. REQUIRES: the node is not changed
/// meanwhile.
class Node::Children {
 public:
  explicit Children(const Node& node) : node_(&node) {}
  /// Null: there are no more.
  const Node* Next() {
    if (chunk_ == node_->chunks_.size()) return nullptr;
    const std::vector<const Node*>& nodes = node_->chunks_[chunk_]->nodes;
    const Node* child = nodes[position_++];
    if (position_ == nodes.size()) {
      position_ = 0;
      ++chunk_;
    }
    return child;
  }

 private:
  const Node* node_;
  size_t chunk_ = 0;
  size_t position_ = 0;
};

template <typename Visit>
void Node::ForEachChild(Visit visit) const {
  for (const Chunk* chunk : chunks_) {
    for (const Node* child : chunk->nodes) visit(*child);
  }
}

template <typename Enter, typename Leave>
void Node::Walk(const Node& top, Enter enter, Leave leave) {
  if (!enter(top)) return;
  struct Place {
    const Node* node;
    Children children;
  };
  std::vector<Place> way{{&top, Children(top)}};
  while (!way.empty()) {
    const Node* child = way.back().children.Next();
    if (child == nullptr) {
      leave(*way.back().node);
      way.pop_back();
      continue;
    }
    if (!enter(*child)) continue;
    if (child->dir()) {
      way.push_back({child, Children(*child)});
    } else {
      leave(*child);
    }
  }
}

inline NodeRef::NodeRef(const NodeRef& other) : node_(other.node_) {
  if (node_ != nullptr) node_->AddShare();
}
inline NodeRef Node::Share(const Node& node) {
  node.AddShare();
  return NodeRef(&node);
}
inline NodeRef::~NodeRef() {
  if (node_ != nullptr) Node::Drop(node_);
}

}  // namespace kvorum::v2store
