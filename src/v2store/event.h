#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"

namespace kvorum::v2store {

/// A node as a reply or an event shows it (reference: v2-keys.md §3.1, §4.1).
struct NodeImage {
  std::string path;  ///< full store path: "/1/foo"
  Bytes value;       ///< null: not shown
  bool dir = false;
  std::optional<WallTime> expires;
  int64_t ttl = 0;  ///< seconds, as of when the image was taken; 0 is not shown
  std::vector<NodeImage> nodes;
  uint64_t modified_index = 0;
  uint64_t created_index = 0;
  bool operator==(const NodeImage&) const = default;
};

enum class Action : uint8_t {
  kGet,
  kCreate,
  kSet,
  kUpdate,
  kDelete,
  kCompareAndSwap,
  kCompareAndDelete,
  kExpire,
};
/// "compareAndSwap"
std::string_view Name(Action action);

/// What an operation did. Immutable once it was handed out; shared by history, watchers and replies.
struct Event {
  Action action = Action::kGet;
  NodeImage node;
  std::optional<NodeImage> prev_node;
  /// The store's index when it happened: X-Etcd-Index.
  uint64_t store_index = 0;
  bool refresh = false;

  /// The event's own index.
  uint64_t index() const { return node.modified_index; }
  /// Whether the reply's status is 201.
  bool IsCreated() const { return action == Action::kCreate || (action == Action::kSet && !prev_node); }
};
using EventPtr = std::shared_ptr<const Event>;

/// Appends the event as the HTTP API shows it: keys without the "/1" in front, no newline (reference:
/// v2-keys.md §4). `with_nodes` false: the action alone (noValueOnSuccess).
void AppendJson(std::string& out, const Event& event, bool with_nodes = true);

/// The seconds that a node has left, as shown: rounded up while positive, toward zero after (§4.3).
int64_t ShownTtl(WallTime expires, WallTime now);

}  // namespace kvorum::v2store
