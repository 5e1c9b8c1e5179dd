#include "sim/check/v2_model.h"

#include <utility>

#include "fmt/format.h"

namespace kvorum::sim {
namespace {

using v2store::Request;

constexpr char kRoot[] = "/1";

/// Times before the year 2000 mean none, where a node is made.
int64_t ExpiresWhenMade(int64_t expires) { return expires < 946'684'800'000'000'000 ? 0 : expires; }

V2Model::Effect Fail(int code) {
  V2Model::Effect effect;
  effect.error_code = code;
  return effect;
}

}  // namespace

bool IsUnder(const std::string& path, const std::string& directory) {
  return path.size() > directory.size() && path.starts_with(directory) &&
         (directory == "/" || path[directory.size()] == '/');
}

bool IsHiddenUnder(const std::string& path, const std::string& directory) {
  return path.find("/_", directory == "/" ? 0 : directory.size()) != std::string::npos;
}

int V2Model::Lookup(const std::string& path) const {
  for (size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    const auto node = nodes_.find(path.substr(0, end));
    if (node == nodes_.end()) return 100;
    if (end == std::string::npos) return 0;
    if (!node->second.dir) return 104;
  }
}

std::vector<std::string> V2Model::Children(const std::string& directory) const {
  std::vector<std::string> children;
  const std::string begin = directory + "/";
  for (auto it = nodes_.lower_bound(begin); it != nodes_.end() && it->first.starts_with(begin); ++it) {
    const std::string_view name = std::string_view(it->first).substr(begin.size());
    if (!name.starts_with('_') && name.find('/') == std::string_view::npos) children.push_back(it->first);
  }
  return children;
}

std::vector<std::string> V2Model::Descendants(const std::string& directory) const {
  std::vector<std::string> all;
  for (const std::string& child : Children(directory)) {
    all.push_back(child);
    const std::vector<std::string> below = Descendants(child);
    all.insert(all.end(), below.begin(), below.end());
  }
  return all;
}

V2Model::Effect V2Model::Write(std::string action, const std::string& path, Node node) const {
  Effect effect;
  effect.action = std::move(action);
  effect.path = path;
  effect.node = std::move(node);
  effect.node.modified = index_ + 1;
  if (effect.node.created == 0) effect.node.created = index_ + 1;
  const auto old = nodes_.find(path);
  effect.has_prev = old != nodes_.end();
  if (effect.has_prev) effect.prev = old->second;
  return effect;
}

V2Model::Effect V2Model::Remove(std::string action, const std::string& path) const {
  const Node& old = nodes_.at(path);
  Effect effect = Write(std::move(action), path, {.dir = old.dir, .value = "", .created = old.created});
  effect.removes = true;
  return effect;
}

V2Model::Effect V2Model::Create(const std::string& path, const Request& request) const {
  if (path == kRoot) return Fail(107);
  const int lookup = Lookup(path);
  if (lookup == 0) return Fail(105);
  if (lookup == 104) return Fail(104);
  return Write("create", path,
               {.dir = request.dir,
                .value = request.dir ? "" : request.value,
                .expires = ExpiresWhenMade(request.expiration)});
}

V2Model::Effect V2Model::Set(const Request& request) const {
  const bool refresh = request.refresh.value_or(false);
  const int lookup = Lookup(request.path);
  if (lookup == 104 || (refresh && lookup != 0)) return Fail(lookup);
  if (request.path == kRoot) return Fail(107);
  if (lookup == 0 && nodes_.at(request.path).dir) return Fail(102);
  const std::string& value = refresh ? nodes_.at(request.path).value : request.value;
  Effect effect = Write("set", request.path,
                        {.dir = request.dir,
                         .value = request.dir ? "" : value,
                         .expires = ExpiresWhenMade(request.expiration)});
  effect.refresh = refresh;
  return effect;
}

V2Model::Effect V2Model::Update(const Request& request) const {
  if (request.path == kRoot) return Fail(107);
  if (const int lookup = Lookup(request.path)) return Fail(lookup);
  const Node& old = nodes_.at(request.path);
  if (old.dir && !request.value.empty()) return Fail(102);
  const bool refresh = request.refresh.value_or(false);
  Effect effect = Write("update", request.path,
                        {.dir = old.dir,
                         .value = old.dir || refresh ? old.value : request.value,
                         .created = old.created,
                         .expires = request.expiration});
  effect.refresh = refresh;
  effect.keeps_modified = old.dir;
  return effect;
}

int V2Model::Compare(const Request& request) const {
  if (const int lookup = Lookup(request.path)) return lookup;
  const Node& old = nodes_.at(request.path);
  if (old.dir) return 102;
  const bool value = request.prev_value.empty() || request.prev_value == old.value;
  const bool index = request.prev_index == 0 || request.prev_index == old.modified;
  return value && index ? 0 : 101;
}

V2Model::Effect V2Model::CompareAndSwap(const Request& request) const {
  if (request.path == kRoot) return Fail(107);
  if (const int error = Compare(request)) return Fail(error);
  const Node& old = nodes_.at(request.path);
  const bool refresh = request.refresh.value_or(false);
  Effect effect = Write("compareAndSwap", request.path,
                        {.dir = false,
                         .value = refresh ? old.value : request.value,
                         .created = old.created,
                         .expires = request.expiration});
  effect.refresh = refresh;
  return effect;
}

V2Model::Effect V2Model::Delete(const Request& request) const {
  if (request.path == kRoot) return Fail(107);
  if (const int lookup = Lookup(request.path)) return Fail(lookup);
  if (nodes_.at(request.path).dir && !request.recursive) {
    if (!request.dir) return Fail(102);
    const auto below = nodes_.lower_bound(request.path + "/");
    if (below != nodes_.end() && IsUnder(below->first, request.path)) return Fail(108);
  }
  return Remove("delete", request.path);
}

V2Model::Effect V2Model::Evaluate(const Request& request) const {
  const bool compares = request.prev_index != 0 || !request.prev_value.empty();
  if (request.method == "POST") {
    return Create(fmt::format("{}/{:020}", request.path, index_ + 1), request);
  }
  if (request.method == "DELETE") {
    if (!compares) return Delete(request);
    const int error = Compare(request);
    return error != 0 ? Fail(error) : Remove("compareAndDelete", request.path);
  }
  if (request.prev_exist == false) return Create(request.path, request);
  if (compares) return CompareAndSwap(request);
  return request.prev_exist.has_value() ? Update(request) : Set(request);
}

V2Model::Effect V2Model::Expire(const std::string& path) const { return Remove("expire", path); }

std::vector<std::string> V2Model::Commit(const Effect& effect) {
  ++index_;
  std::vector<std::string> removed;
  if (effect.removes) {
    for (auto it = nodes_.find(effect.path);
         it != nodes_.end() && (it->first == effect.path || it->first.starts_with(effect.path));) {
      if (it->first != effect.path && !IsUnder(it->first, effect.path)) {
        ++it;
        continue;
      }
      removed.push_back(it->first);
      it = nodes_.erase(it);
    }
    return removed;
  }
  for (size_t end = effect.path.find('/', 1); end != std::string::npos;
       end = effect.path.find('/', end + 1)) {
    nodes_.try_emplace(effect.path.substr(0, end), Node{.dir = true, .created = index_, .modified = index_});
  }
  Node& node = nodes_[effect.path];
  const uint64_t modified = effect.keeps_modified ? node.modified : index_;
  node = effect.node;
  node.modified = modified;
  return removed;
}

}  // namespace kvorum::sim
