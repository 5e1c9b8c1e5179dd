#include "v2store/event.h"

#include "base/go_json.h"
#include "fmt/format.h"
#include "v2store/event_json.h"

namespace kvorum::v2store {
namespace {

using std::chrono::nanoseconds;
using std::chrono::seconds;

void AppendNumber(std::string& out, auto number) {
  const fmt::format_int digits(number);
  out.append(digits.data(), digits.size());
}

/// `"name":` with the comma before it where it is not the first of its object.
void AppendName(std::string& out, std::string_view name) {
  if (out.empty() || out.back() != '{') out += ',';
  out += '"';
  out += name;
  out += "\":";
}

void AppendEvent(std::string& out, const Event& event, bool with_nodes, Keys keys) {
  out += "{\"action\":\"";
  out += Name(event.action);
  out += '"';
  if (with_nodes) {
    out += ",\"node\":";
    AppendNode(out, event.node, keys);
    if (event.prev_node) {
      out += ",\"prevNode\":";
      AppendNode(out, *event.prev_node, keys);
    }
  }
  if (keys == Keys::kFull && event.refresh) out += ",\"refresh\":true";
  out += '}';
}

void AppendImageHead(std::string& out, const NodeImage& node, Keys keys) {
  AppendNodeKey(out, node.path, keys);
  if (!node.value.is_null()) AppendNodeValue(out, node.value.view());
  AppendNodeKind(out, node.dir, node.expires, node.ttl);
}

}  // namespace

std::string_view Name(Action action) {
  switch (action) {
    case Action::kGet:
      return "get";
    case Action::kCreate:
      return "create";
    case Action::kSet:
      return "set";
    case Action::kUpdate:
      return "update";
    case Action::kDelete:
      return "delete";
    case Action::kCompareAndSwap:
      return "compareAndSwap";
    case Action::kCompareAndDelete:
      return "compareAndDelete";
    case Action::kExpire:
      return "expire";
  }
  return "";
}

int64_t ShownTtl(WallTime expires, WallTime now) {
  constexpr int64_t kSecond = nanoseconds(seconds(1)).count();
  int64_t left = 0;
  // Where the difference does not fit, its sign is what is left of it.
  if (__builtin_sub_overflow(expires.time_since_epoch().count(), now.time_since_epoch().count(), &left)) {
    left = expires > now ? INT64_MAX : INT64_MIN;
  }
  return left / kSecond + (left % kSecond > 0 ? 1 : 0);
}

void AppendNodeKey(std::string& out, std::string_view path, Keys keys) {
  out += '{';
  if (keys == Keys::kShown && path.starts_with("/1")) path.remove_prefix(2);
  if (path.empty()) return;
  AppendName(out, "key");
  AppendJsonString(out, path);
}

void AppendNodeValue(std::string& out, std::string_view value) {
  AppendName(out, "value");
  AppendJsonString(out, value);
}

void AppendNodeKind(std::string& out, bool dir, const std::optional<WallTime>& expires, int64_t ttl) {
  if (dir) {
    AppendName(out, "dir");
    out += "true";
  }
  if (expires) {
    AppendName(out, "expiration");
    out += '"';
    AppendTime(out, *expires);
    out += '"';
  }
  if (ttl != 0) {
    AppendName(out, "ttl");
    AppendNumber(out, ttl);
  }
}

void AppendNodeTail(std::string& out, uint64_t modified_index, uint64_t created_index) {
  if (modified_index != 0) {
    AppendName(out, "modifiedIndex");
    AppendNumber(out, modified_index);
  }
  if (created_index != 0) {
    AppendName(out, "createdIndex");
    AppendNumber(out, created_index);
  }
  out += '}';
}

void AppendNode(std::string& out, const NodeImage& top, Keys keys) {
  struct Place {
    const NodeImage* node;
    size_t next = 0;
  };
  AppendImageHead(out, top, keys);
  if (top.nodes.empty()) return AppendNodeTail(out, top.modified_index, top.created_index);
  // Not by recursion: a tree may be deeper than a stack.
  std::vector<Place> way{{&top}};
  while (!way.empty()) {
    Place& place = way.back();
    const NodeImage& node = *place.node;
    if (place.next < node.nodes.size()) {
      if (place.next == 0) AppendName(out, "nodes");
      out += place.next == 0 ? '[' : ',';
      const NodeImage& child = node.nodes[place.next++];
      AppendImageHead(out, child, keys);
      way.push_back({&child});
      continue;
    }
    if (!node.nodes.empty()) out += ']';
    AppendNodeTail(out, node.modified_index, node.created_index);
    way.pop_back();
  }
}

void AppendJson(std::string& out, const Event& event, bool with_nodes) {
  AppendEvent(out, event, with_nodes, Keys::kShown);
}

void AppendSnapshotEvent(std::string& out, const Event& event) { AppendEvent(out, event, true, Keys::kFull); }

}  // namespace kvorum::v2store
