#include "v2store/snapshot.h"

#include "base/go_json.h"
#include "fmt/format.h"
#include "v2store/event_json.h"
#include "v2store/store.h"

namespace kvorum::v2store {
namespace {

/// Everything of a node up to its children.
void AppendHead(std::string& out, std::string_view path, const Node& node) {
  out += "{\"Path\":";
  AppendJsonString(out, path);
  fmt::format_to(std::back_inserter(out), ",\"CreatedIndex\":{},\"ModifiedIndex\":{},\"ExpireTime\":\"",
                 node.created_index(), node.modified_index());
  if (node.expires()) {
    AppendTime(out, *node.expires());
  } else {
    out += "0001-01-01T00:00:00Z";
  }
  out += "\",\"Value\":";
  AppendJsonString(out, node.value().view());
  out += ",\"Children\":";
}

void AppendTree(std::string& out, const Node& root) {
  std::string path = "/";
  Node::Walk(
      root,
      [&](const Node& node) {
        if (&node != &root) {
          if (out.back() != '{') out += ',';
          AppendJsonString(out, node.name());
          out += ':';
          if (path.size() > 1) path += '/';
          path += node.name();
        }
        AppendHead(out, path, node);
        out += node.dir() ? "{" : "null";
        return true;
      },
      [&](const Node& node) {
        out += node.dir() ? "}}" : "}";
        if (&node == &root) return;
        path.resize(path.size() - node.name().size());
        if (path.size() > 1) path.pop_back();
      });
}

void AppendPast(std::string& out, const WatchHub::Past& past) {
  out += "{\"EventHistory\":{\"Queue\":{\"Events\":[";
  for (size_t i = 0; i < kHistoryCapacity; ++i) {
    if (i > 0) out += ',';
    if (i < past.events.size()) {
      AppendSnapshotEvent(out, *past.events[i]);
    } else {
      out += "null";
    }
  }
  // The oldest is in the first slot; a full queue's next slot is that again.
  fmt::format_to(
      std::back_inserter(out),
      "],\"Size\":{},\"Front\":0,\"Back\":{},\"Capacity\":{}}},\"StartIndex\":{},\"LastIndex\":{}}}}}",
      past.events.size(), past.events.size() % kHistoryCapacity, kHistoryCapacity, past.start_index,
      past.last_index);
}

}  // namespace

std::string ToJson(const Snapshot& snapshot) {
  std::string out = "{\"Root\":";
  AppendTree(out, *snapshot.root);
  out += ",\"WatcherHub\":";
  AppendPast(out, snapshot.past);
  fmt::format_to(std::back_inserter(out), ",\"CurrentIndex\":{},\"Stats\":{},\"CurrentVersion\":2}}",
                 snapshot.index, ToJson(snapshot.stats));
  return out;
}

}  // namespace kvorum::v2store
