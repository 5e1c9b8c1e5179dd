// The store against a map of paths, over random operations.

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <map>

#include "v2store/path.h"
#include "v2store/store.h"
#include "v2store/testing.h"

namespace kvorum::v2store {
namespace {

/// What the v2 API does, in the simplest way: one flat map, walked whole wherever that is easier.
class Model {
 public:
  struct Entry {
    bool dir = false;
    std::string value;
    uint64_t created = 0;
    uint64_t modified = 0;
    int64_t expires = 0;
  };

  uint64_t index() const { return index_; }
  const std::map<std::string, Entry>& entries() const { return entries_; }

  /// "code cause", or empty where it succeeded.
  std::string Apply(const Request& r) {
    if (r.method == "SYNC") return Sync(r.time);
    const bool compares = r.prev_index != 0 || !r.prev_value.empty();
    if (r.method == "POST") return Create(fmt::format("{}/{:020}", r.path, index_ + 1), r);
    if (r.method == "DELETE") return compares ? CompareAndDelete(r) : Delete(r);
    if (r.prev_exist == false) return Create(r.path, r);
    if (compares) return CompareAndSwap(r);
    return r.prev_exist ? Update(r) : Set(r);
  }

 private:
  static std::string Fail(int code, const std::string& cause) { return fmt::format("{} {}", code, cause); }
  static int64_t AtCreation(int64_t expires) { return expires < 946'684'800'000'000'000 ? 0 : expires; }

  /// Why there is no entry; empty where there is one.
  std::string Missing(const std::string& path) const {
    for (PathNames names(path); names.Next();) {
      const auto entry = entries_.find(std::string(names.prefix()));
      if (entry == entries_.end()) return Fail(100, std::string(names.prefix()));
      if (!entry->second.dir && !names.last()) return Fail(104, entry->first);
    }
    return "";
  }

  void Write(const std::string& path, Entry entry) {
    ++index_;
    for (PathNames names(path); names.Next() && !names.last();) {
      entries_.try_emplace(std::string(names.prefix()), Entry{true, "", index_, index_, 0});
    }
    entry.modified = index_;
    if (entry.created == 0) entry.created = index_;
    entries_[path] = std::move(entry);
  }

  void Remove(const std::string& path) {
    ++index_;
    std::erase_if(entries_, [&](const auto& e) { return e.first == path || IsBelow(e.first, path); });
  }

  std::string Set(const Request& r) {
    const std::string missing = Missing(r.path);
    if (!missing.empty() && (r.refresh || missing.starts_with("104"))) return missing;
    if (r.path == "/1") return Fail(107, "/");
    if (missing.empty() && entries_[r.path].dir) return Fail(102, r.path);
    const std::string value = r.refresh ? entries_[r.path].value : r.value;
    Write(r.path, {r.dir, r.dir ? "" : value, 0, 0, AtCreation(r.expiration)});
    return "";
  }

  std::string Create(const std::string& path, const Request& r) {
    if (path == "/1") return Fail(107, "/");
    const std::string missing = Missing(path);
    if (missing.empty()) return Fail(105, path);
    if (missing.starts_with("104")) return missing;
    Write(path, {r.dir, r.dir ? "" : r.value, 0, 0, AtCreation(r.expiration)});
    return "";
  }

  std::string Update(const Request& r) {
    if (r.path == "/1") return Fail(107, "/");
    if (const std::string missing = Missing(r.path); !missing.empty()) return missing;
    Entry& entry = entries_[r.path];
    if (!entry.dir) {
      Write(r.path, {false, r.refresh ? entry.value : r.value, entry.created, 0, r.expiration});
      return "";
    }
    if (!r.value.empty()) return Fail(102, r.path);
    ++index_;
    entry.expires = r.expiration;
    return "";
  }

  std::string Compare(const Request& r) {
    if (const std::string missing = Missing(r.path); !missing.empty()) return missing;
    const Entry& entry = entries_[r.path];
    if (entry.dir) return Fail(102, r.path);
    std::string cause;
    if (!r.prev_value.empty() && r.prev_value != entry.value) {
      cause = fmt::format("[{} != {}]", r.prev_value, entry.value);
    }
    if (r.prev_index != 0 && r.prev_index != entry.modified) {
      cause += fmt::format("{}[{} != {}]", cause.empty() ? "" : " ", r.prev_index, entry.modified);
    }
    return cause.empty() ? "" : Fail(101, cause);
  }

  std::string CompareAndSwap(const Request& r) {
    if (r.path == "/1") return Fail(107, "/");
    if (const std::string wrong = Compare(r); !wrong.empty()) return wrong;
    const Entry& entry = entries_[r.path];
    Write(r.path, {false, r.refresh ? entry.value : r.value, entry.created, 0, r.expiration});
    return "";
  }

  std::string CompareAndDelete(const Request& r) {
    if (const std::string wrong = Compare(r); !wrong.empty()) return wrong;
    Remove(r.path);
    return "";
  }

  std::string Delete(const Request& r) {
    if (r.path == "/1") return Fail(107, "/");
    if (const std::string missing = Missing(r.path); !missing.empty()) return missing;
    const bool full = std::any_of(entries_.begin(), entries_.end(),
                                  [&](const auto& e) { return IsBelow(e.first, r.path); });
    if (entries_[r.path].dir && !r.recursive) {
      if (!r.dir) return Fail(102, r.path);
      if (full) return Fail(108, r.path);
    }
    Remove(r.path);
    return "";
  }

  std::string Sync(int64_t cutoff) {
    for (;;) {
      const std::pair<const std::string, Entry>* first = nullptr;
      for (const auto& entry : entries_) {
        if (entry.second.expires == 0 || entry.second.expires > cutoff) continue;
        if (first == nullptr || entry.second.expires < first->second.expires) first = &entry;
      }
      if (first == nullptr) return "";
      Remove(std::string(first->first));
    }
  }

  uint64_t index_ = 0;
  std::map<std::string, Entry> entries_{{"/1", {.dir = true}}};
};

constexpr int64_t kStart = 1'700'000'000'000'000'000;

Request AnyRequest(uint64_t index) {
  const auto sometimes = [](int in) { return *rc::gen::inRange(0, in) == 0; };
  Request request;
  request.method =
      *rc::gen::weightedElement<std::string>({{6, "PUT"}, {1, "POST"}, {3, "DELETE"}, {1, "SYNC"}});
  request.path = "/1";
  if (!sometimes(20)) {
    const int depth = *rc::gen::inRange(1, 4);
    for (int i = 0; i < depth; ++i) request.path += *rc::gen::element<std::string>("/a", "/b", "/b-", "/_c");
  }
  request.value = *rc::gen::element<std::string>("", "x", "y");
  request.dir = sometimes(3);
  request.recursive = sometimes(3);
  if (sometimes(4)) request.prev_exist = sometimes(2);
  if (sometimes(5)) request.prev_value = *rc::gen::element<std::string>("x", "y");
  if (sometimes(5)) request.prev_index = *rc::gen::inRange<uint64_t>(1, index + 2);
  if (sometimes(3)) request.expiration = sometimes(5) ? 1 : kStart + *rc::gen::inRange(0, 20);
  if (sometimes(5)) request.refresh = true;
  request.time = kStart + *rc::gen::inRange(-5, 15);
  return request;
}

/// Every entry of the tree as a model has it.
std::map<std::string, std::string> Listed(const Store& store) {
  std::map<std::string, std::string> listed;
  // One level at a time, and what a listing hides by its name.
  std::vector<std::string> paths = {"/1"};
  const auto add = [&](const NodeImage& node) {
    listed[node.path] =
        fmt::format("{} {} {} {} {}", node.dir, node.value.view(), node.created_index, node.modified_index,
                    node.expires ? node.expires->time_since_epoch().count() : 0);
  };
  while (!paths.empty()) {
    const std::string path = paths.back();
    paths.pop_back();
    const Result result = store.Get(path, false, true);
    const NodeImage& node = std::get<EventPtr>(result)->node;
    add(node);
    for (const NodeImage& child : node.nodes) paths.push_back(child.path);
    const std::string hidden = path + "/_c";
    if (std::holds_alternative<EventPtr>(store.Get(hidden, false, true))) paths.push_back(hidden);
  }
  return listed;
}

std::map<std::string, std::string> Listed(const Model& model) {
  std::map<std::string, std::string> listed;
  for (const auto& [path, entry] : model.entries()) {
    listed[path] =
        fmt::format("{} {} {} {} {}", entry.dir, entry.value, entry.created, entry.modified, entry.expires);
  }
  return listed;
}

RC_GTEST_PROP(V2StorePropertyTest, DoesWhatAMapOfPathsDoes, ()) {
  StandingClock clock;
  Store store(&clock);
  Model model;
  const int operations = *rc::gen::inRange(1, 150);
  for (int i = 0; i < operations; ++i) {
    const Request request = AnyRequest(model.index());
    const uint64_t before = model.index();
    const std::string expected = model.Apply(request);
    const Result result = store.Apply(request);
    if (const Error* error = std::get_if<Error>(&result)) {
      RC_ASSERT(fmt::format("{} {}", static_cast<int>(error->code), error->cause) == expected);
      RC_ASSERT(error->index == before);
    } else {
      RC_ASSERT(expected.empty());
      if (const EventPtr& event = std::get<EventPtr>(result)) RC_ASSERT(event->index() == model.index());
    }
    RC_ASSERT(store.index() == model.index());
    if (*rc::gen::inRange(0, 20) == 0) {
      const std::string json = store.SaveView()->ToJson();
      RC_ASSERT(store.Recover(json).ok());
      RC_ASSERT(store.SaveView()->ToJson() == json);
    }
  }
  RC_ASSERT(Listed(store) == Listed(model));
  const bool expires = std::any_of(model.entries().begin(), model.entries().end(),
                                   [](const auto& entry) { return entry.second.expires != 0; });
  RC_ASSERT(store.HasTtls() == expires);
}

}  // namespace
}  // namespace kvorum::v2store
