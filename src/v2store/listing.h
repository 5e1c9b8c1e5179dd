#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "v2store/node.h"

namespace kvorum::v2store {

/// The reply to a read, `{"action":"get","node":…}` and a newline, written piece by piece from a share of the
/// tree: of a long one, or of one that is taken slowly, only a piece is in memory. All of it is of the moment
/// when it was asked for, and the nodes of then live as long as this does.
class Listing {
 public:
  /// Of `top` at the clean `path`: a file, a directory with its children or, recursively, with all below.
  /// Hidden nodes below it are left out.
  Listing(NodeRef top, std::string_view path, bool recursive, WallTime now);

  /// Appends some `limit` bytes of what is left; more by a key, and by the escapes of a value.
  void Append(std::string* out, size_t limit);
  bool done() const { return done_; }

 private:
  /// A node that was begun and not ended.
  struct Place {
    const Node* node;
    Node::Children children;
    bool has_shown_one = false;
  };

  void Begin(const Node& node, std::string* out);
  /// What comes between the value and the children.
  void EndHead(const Node& node, std::string* out) const;
  void AppendValue(std::string* out, size_t limit);
  void End(std::string* out);
  const Node* NextShown(Place& place) const;

  NodeRef top_;
  std::string path_;  // of the last place
  bool recursive_;
  WallTime now_;
  std::vector<Place> way_;
  std::optional<std::string_view> value_left_;  // of the last place, while it is being written
  bool begun_ = false;
  bool done_ = false;
};

}  // namespace kvorum::v2store
