#include "cluster/v2_store_json.h"

#include <charconv>
#include <optional>
#include <utility>
#include <vector>

#include "base/go_json.h"
#include "base/status.h"
#include "boost/json/monotonic_resource.hpp"
#include "boost/json/parse.hpp"

namespace kvorum::cluster {
namespace {

/// Writes nodes of the tree; paths and indexes are kept here. A v2 index counts the changes that made the
/// tree: one for each value.
class Writer {
 public:
  void BeginDirectory(std::string_view name) {
    const uint64_t index = index_;
    Begin(name, index + (path_.size() > 1 ? 1 : 0));
    out_ += "\"\",\"Children\":{";
    first_ = true;
  }
  void EndDirectory() {
    out_ += "}}";
    first_ = false;
    path_.resize(lengths_.back());
    lengths_.pop_back();
  }
  void Value(std::string_view name, std::string_view value) {
    Begin(name, ++index_);
    AppendJsonString(out_, value);
    out_ += ",\"Children\":null}";
    path_.resize(lengths_.back());
    lengths_.pop_back();
  }

  uint64_t index() const { return index_; }
  std::string Take() { return std::move(out_); }

 private:
  /// A node up to its value.
  void Begin(std::string_view name, uint64_t index) {
    if (!path_.empty()) {
      if (!first_) out_ += ',';
      AppendJsonString(out_, name);
      out_ += ':';
    }
    first_ = false;
    lengths_.push_back(path_.size());
    if (path_ != "/") path_ += '/';
    path_ += name;
    out_ += "{\"Path\":";
    AppendJsonString(out_, path_);
    const std::string number = std::to_string(index);
    out_ += ",\"CreatedIndex\":" + number + ",\"ModifiedIndex\":" + number +
            ",\"ExpireTime\":\"0001-01-01T00:00:00Z\",\"Value\":";
  }

  std::string out_;
  std::string path_;
  std::vector<size_t> lengths_;  // of path_ before each open directory
  bool first_ = true;
  uint64_t index_ = 0;
};

/// 1,000 empty slots: a reader writes into them, so none may be missing.
std::string EmptyHistory() {
  constexpr int kCapacity = 1000;
  std::string out = "{\"EventHistory\":{\"Queue\":{\"Events\":[";
  for (int i = 0; i < kCapacity; ++i) out += i == 0 ? "null" : ",null";
  return out + "],\"Size\":0,\"Front\":0,\"Back\":0,\"Capacity\":1000},\"StartIndex\":0,\"LastIndex\":0}}";
}

std::string EmptyStats() {
  std::string out = "{";
  for (const char* name :
       {"getsSuccess", "getsFail", "setsSuccess", "setsFail", "deleteSuccess", "deleteFail", "updateSuccess",
        "updateFail", "createSuccess", "createFail", "compareAndSwapSuccess", "compareAndSwapFail",
        "compareAndDeleteSuccess", "compareAndDeleteFail", "expireCount", "watchers"}) {
    if (out.size() > 1) out += ',';
    AppendJsonString(out, name);
    out += ":0";
  }
  return out + "}";
}

}  // namespace

std::string V2StoreJson(const Cluster& cluster) {
  Writer writer;
  writer.BeginDirectory("");
  writer.BeginDirectory("0");
  writer.BeginDirectory("members");
  for (const Member& member : cluster.members()) {
    writer.BeginDirectory(IdText(member.id.value()));
    if (!member.name.empty() || !member.client_urls.empty()) {
      writer.Value("attributes", AttributesToJson({.name = member.name, .client_urls = member.client_urls}));
    }
    writer.Value("raftAttributes", RaftAttributesToJson(member));
    writer.EndDirectory();
  }
  writer.EndDirectory();
  if (const std::set<MemberId> removed = cluster.removed(); !removed.empty()) {
    writer.BeginDirectory("removed_members");
    for (MemberId id : removed) writer.Value(IdText(id.value()), "");
    writer.EndDirectory();
  }
  if (const std::string version = cluster.version(); !version.empty()) writer.Value("version", version);
  writer.EndDirectory();
  writer.BeginDirectory("1");
  writer.EndDirectory();
  writer.EndDirectory();
  const uint64_t index = writer.index();
  return "{\"Root\":" + writer.Take() + ",\"WatcherHub\":" + EmptyHistory() +
         ",\"CurrentIndex\":" + std::to_string(index) + ",\"Stats\":" + EmptyStats() +
         ",\"CurrentVersion\":2}";
}

namespace {

namespace json = boost::json;

constexpr size_t kMaxDepth = 100'000;

/// The children of a node; null where it is no directory.
const json::object* ChildrenOf(const json::value* node) {
  if (node == nullptr || !node->is_object()) return nullptr;
  const json::value* children = node->get_object().if_contains("Children");
  return children != nullptr && children->is_object() ? &children->get_object() : nullptr;
}

const json::value* Child(const json::object* directory, std::string_view name) {
  if (directory == nullptr) return nullptr;
  return directory->if_contains(json::string_view(name.data(), name.size()));
}

/// The value of a file; nothing where there is none.
std::optional<std::string_view> ValueOf(const json::value* node) {
  if (node == nullptr || !node->is_object()) return std::nullopt;
  const json::value* value = node->get_object().if_contains("Value");
  if (value == nullptr || !value->is_string()) return std::nullopt;
  return std::string_view(value->get_string().data(), value->get_string().size());
}

absl::Status Malformed(std::string_view what) {
  return absl::DataLossError(fmt::format("the v2 store has a bad {}", what));
}

absl::StatusOr<MemberId> IdFrom(std::string_view text) {
  uint64_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id, 16);
  if (error != std::errc() || end != text.data() + text.size() || id == 0) return Malformed("member id");
  return MemberId(id);
}

absl::StatusOr<Member> MemberFrom(std::string_view name, const json::value& node) {
  const json::object* files = ChildrenOf(&node);
  const std::optional<std::string_view> raft = ValueOf(Child(files, "raftAttributes"));
  if (!raft) return Malformed("member");
  KVORUM_ASSIGN_OR_RETURN(Member member, MemberFromJson(*raft));
  KVORUM_ASSIGN_OR_RETURN(member.id, IdFrom(name));
  if (const std::optional<std::string_view> own = ValueOf(Child(files, "attributes"))) {
    KVORUM_ASSIGN_OR_RETURN(Member attributes, AttributesFromJson(*own));
    member.name = std::move(attributes.name);
    member.client_urls = std::move(attributes.client_urls);
  }
  return member;
}

}  // namespace

absl::StatusOr<Roster> RosterFromV2StoreJson(std::string_view text) {
  // As deep as a client of the v2 API may have made it, and taken apart without recursion.
  json::parse_options options;
  options.max_depth = kMaxDepth;
  json::monotonic_resource memory;
  boost::system::error_code error;
  const json::value parsed =
      json::parse(json::string_view(text.data(), text.size()), error, &memory, options);
  if (error || !parsed.is_object()) return Malformed("form");
  const json::object* cluster = ChildrenOf(Child(ChildrenOf(parsed.get_object().if_contains("Root")), "0"));
  const json::object* members = ChildrenOf(Child(cluster, "members"));
  if (members == nullptr) return Malformed("membership");
  Roster roster;
  for (const auto& [name, node] : *members) {
    KVORUM_ASSIGN_OR_RETURN(Member member, MemberFrom({name.data(), name.size()}, node));
    roster.members.push_back(std::move(member));
  }
  if (const json::object* removed = ChildrenOf(Child(cluster, "removed_members"))) {
    for (const auto& [name, node] : *removed) {
      KVORUM_ASSIGN_OR_RETURN(const MemberId id, IdFrom({name.data(), name.size()}));
      roster.removed.insert(id);
    }
  }
  roster.version = ValueOf(Child(cluster, "version")).value_or(std::string_view());
  return roster;
}

}  // namespace kvorum::cluster
