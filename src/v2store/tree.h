#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "base/clock.h"
#include "v2store/error.h"
#include "v2store/node.h"

namespace kvorum::v2store {

/// The nodes, and which of them expire when. Not thread-safe, but for the shares that were taken in `root`.
/// All paths are clean.
class Tree {
 public:
  /// "/" with empty directories "/0" and "/1".
  Tree();
  /// A tree from elsewhere. REQUIRES: `root` is a directory, and the only share.
  explicit Tree(NodeRef root);

  const NodeRef& root() const { return root_; }

  struct Found {
    const Node* node = nullptr;  ///< null: `code` and `cause` say why
    ErrorCode code = ErrorCode::kKeyNotFound;
    std::string_view cause;  ///< the path, up to the first name that is missing or is a file on the way
  };
  Found Find(std::string_view path) const;

  // REQUIRES of all: no read-only path, and no file on the way.

  /// Adds a node of the path's last name, or puts it in a file's place. Missing parents become permanent
  /// directories with the node's index.
  void Put(std::string_view path, Node::Fields fields);
  /// REQUIRES: it is there.
  NodeRef Remove(std::string_view path);
  /// REQUIRES: a directory is there.
  void SetDirectoryExpires(std::string_view path, std::optional<WallTime> expires);

  /// Who expires first: by time, then by path.
  struct Expiring {
    WallTime at;
    std::string path;
    auto operator<=>(const Expiring&) const = default;
  };
  const std::set<Expiring>& expiring() const { return expiring_; }

 private:
  /// The directory that the path's last name is in, to change it, made where missing.
  Node* EditParent(std::string_view path, uint64_t index);
  void Forget(std::string_view path, const Node& node);

  NodeRef root_;
  std::set<Expiring> expiring_;
};

/// What `node`, at `path`, and all below say about their expiry: `expires(path, time)` for each that does.
template <typename Expires>
void ForEachExpiring(std::string_view path, const Node& node, Expires expires) {
  std::string at(path);
  const Node* top = &node;
  Node::Walk(
      node,
      [&](const Node& next) {
        if (&next != top) {
          if (at != "/") at += '/';
          at += next.name();
        }
        if (next.expires()) expires(at, *next.expires());
        return true;
      },
      [&](const Node& next) {
        if (&next == top) return;
        at.resize(at.size() - next.name().size());
        if (at.size() > 1) at.pop_back();
      });
}

}  // namespace kvorum::v2store
