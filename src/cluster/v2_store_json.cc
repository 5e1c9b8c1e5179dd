#include "cluster/v2_store_json.h"

#include <charconv>
#include <utility>

#include "base/status.h"
#include "fmt/format.h"
#include "v2store/snapshot.h"
#include "v2store/tree.h"

namespace kvorum::cluster {
namespace {

using v2store::Node;

absl::Status Malformed(std::string_view what) {
  return absl::DataLossError(fmt::format("the v2 store has a bad {}", what));
}

const Node* Child(const Node* directory, std::string_view name) {
  return directory == nullptr ? nullptr : directory->Child(name);
}

/// Null where there is no such file.
const Node* File(const Node* directory, std::string_view name) {
  const Node* node = Child(directory, name);
  return node == nullptr || node->dir() ? nullptr : node;
}

absl::StatusOr<MemberId> IdFrom(std::string_view text) {
  uint64_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id, 16);
  if (error != std::errc() || end != text.data() + text.size() || id == 0) return Malformed("member id");
  return MemberId(id);
}

absl::StatusOr<Member> MemberFrom(const Node& directory) {
  const Node* raft = File(&directory, "raftAttributes");
  if (raft == nullptr) return Malformed("member");
  KVORUM_ASSIGN_OR_RETURN(Member member, MemberFromJson(raft->value().view()));
  KVORUM_ASSIGN_OR_RETURN(member.id, IdFrom(directory.name()));
  if (const Node* own = File(&directory, "attributes")) {
    KVORUM_ASSIGN_OR_RETURN(Member attributes, AttributesFromJson(own->value().view()));
    member.name = std::move(attributes.name);
    member.client_urls = std::move(attributes.client_urls);
  }
  return member;
}

}  // namespace

std::string V2StoreJson(const Cluster& cluster) {
  v2store::Tree tree;
  uint64_t index = 0;  // counts the changes that made the tree: one for each value
  const auto put = [&tree, &index](const std::string& path, std::string_view value) {
    ++index;
    tree.Put(path, {.value = Bytes::Copy(value), .created_index = index, .modified_index = index});
  };
  tree.Put("/0/members", {.dir = true, .created_index = 1, .modified_index = 1});
  for (const Member& member : cluster.members()) {
    const std::string directory = "/0/members/" + IdText(member.id.value());
    if (!member.name.empty() || !member.client_urls.empty()) {
      put(directory + "/attributes",
          AttributesToJson({.name = member.name, .client_urls = member.client_urls}));
    }
    put(directory + "/raftAttributes", RaftAttributesToJson(member));
  }
  for (const MemberId id : cluster.removed()) put("/0/removed_members/" + IdText(id.value()), "");
  if (const std::string version = cluster.version(); !version.empty()) put("/0/version", version);
  return v2store::ToJson(v2store::Snapshot{.root = tree.root(), .index = index});
}

absl::StatusOr<Roster> RosterFromV2StoreJson(std::string_view text) {
  KVORUM_ASSIGN_OR_RETURN(const v2store::Snapshot snapshot, v2store::SnapshotFromJson(text, {}));
  const Node* cluster = snapshot.root->Child("0");
  const Node* members = Child(cluster, "members");
  if (members == nullptr || !members->dir()) return Malformed("membership");
  Roster roster;
  absl::Status status;
  members->ForEachChild([&](const Node& directory) {
    absl::StatusOr<Member> member = MemberFrom(directory);
    if (member.ok()) roster.members.push_back(*std::move(member));
    status.Update(member.status());
  });
  if (const Node* removed = Child(cluster, "removed_members")) {
    removed->ForEachChild([&](const Node& marker) {
      const absl::StatusOr<MemberId> id = IdFrom(marker.name());
      if (id.ok()) roster.removed.insert(*id);
      status.Update(id.status());
    });
  }
  KVORUM_RETURN_IF_ERROR(status);
  if (const Node* version = File(cluster, "version")) roster.version = version->value().view();
  return roster;
}

}  // namespace kvorum::cluster
