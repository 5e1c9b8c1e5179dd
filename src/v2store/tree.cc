#include "v2store/tree.h"

#include "base/check.h"
#include "v2store/path.h"

namespace kvorum::v2store {
namespace {

std::string_view LastName(std::string_view path) { return path.substr(path.rfind('/') + 1); }

}  // namespace

Tree::Tree() : root_(Node::New({.dir = true})) {
  Node* root = Node::Edit(root_);
  for (const char* name : {"0", "1"}) root->Put(Node::New({.name = name, .dir = true}));
}

Tree::Tree(NodeRef root) : root_(std::move(root)) {
  KVORUM_CHECK(root_->dir());
  ForEachExpiring("/", *root_, [this](std::string_view path, WallTime at) {
    if (!IsReadOnly(path)) expiring_.insert({at, std::string(path)});
  });
}

Tree::Found Tree::Find(std::string_view path) const {
  const Node* node = root_.get();
  size_t length = 1;
  for (PathNames names(path); names.Next();) {
    if (!node->dir()) return {nullptr, ErrorCode::kNotDir, path.substr(0, length)};
    node = node->Child(names.name());
    if (node == nullptr) return {nullptr, ErrorCode::kKeyNotFound, names.prefix()};
    length = names.prefix().size();
  }
  return {node, ErrorCode::kKeyNotFound, {}};
}

Node* Tree::EditParent(std::string_view path, uint64_t index) {
  Node* directory = Node::Edit(root_);
  for (PathNames names(path); names.Next() && !names.last();) {
    Node* next = directory->EditChild(names.name());
    if (next == nullptr) {
      directory->Put(Node::New(
          {.name = std::string(names.name()), .dir = true, .created_index = index, .modified_index = index}));
      next = directory->EditChild(names.name());
    }
    directory = next;
  }
  return directory;
}

void Tree::Put(std::string_view path, Node::Fields fields) {
  Node* parent = EditParent(path, fields.modified_index);
  fields.name = LastName(path);
  const std::optional<WallTime> expires = fields.expires;
  const NodeRef old = parent->Put(Node::New(std::move(fields)));
  if (old) {
    KVORUM_CHECK(!old->dir());
    if (old->expires()) expiring_.erase({*old->expires(), std::string(path)});
  }
  if (expires) expiring_.insert({*expires, std::string(path)});
}

NodeRef Tree::Remove(std::string_view path) {
  NodeRef removed = EditParent(path, 0)->Take(LastName(path));
  if (!expiring_.empty()) Forget(path, *removed);
  return removed;
}

void Tree::Forget(std::string_view path, const Node& node) {
  ForEachExpiring(path, node, [this](std::string_view at, WallTime time) {
    expiring_.erase({time, std::string(at)});
  });
}

void Tree::SetDirectoryExpires(std::string_view path, std::optional<WallTime> expires) {
  Node* directory = EditParent(path, 0)->EditChild(LastName(path));
  if (directory->expires()) expiring_.erase({*directory->expires(), std::string(path)});
  if (expires) expiring_.insert({*expires, std::string(path)});
  directory->SetExpires(expires);
}

}  // namespace kvorum::v2store
