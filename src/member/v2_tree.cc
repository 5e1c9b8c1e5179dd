#include "member/v2_tree.h"

#include <charconv>
#include <utility>

#include "base/check.h"
#include "base/status.h"
#include "cluster/v2_store_json.h"
#include "fmt/format.h"
#include "member/membership_applier.h"
#include "member/request_view.h"
#include "proto/membership.pb.h"
#include "raft/codec.h"
#include "raft/membership.h"

namespace kvorum::member {
namespace {

using cluster::Cluster;
using raft::ConfChangeType;

constexpr std::string_view kMembers = "/0/members";
constexpr std::string_view kRemoved = "/0/removed_members";
constexpr std::string_view kAttributes = "/attributes";
constexpr std::string_view kRaftAttributes = "/raftAttributes";
constexpr uint64_t kReplayBytes = uint64_t{1} << 20;

std::string MemberPath(MemberId id) { return fmt::format("{}/{:x}", kMembers, id.value()); }

std::optional<MemberId> IdFrom(std::string_view text) {
  uint64_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id, 16);
  if (error != std::errc() || end != text.data() + text.size() || text.size() > 16) return std::nullopt;
  return MemberId(id);
}

std::string_view LastPart(std::string_view path) { return path.substr(path.rfind('/') + 1); }

/// The children of a directory of the store; empty where there is none.
std::vector<v2store::NodeImage> ChildrenOf(const v2store::Store& store, std::string_view path) {
  const v2store::Result result = store.Get(path, true, true);
  const auto* event = std::get_if<v2store::EventPtr>(&result);
  return event == nullptr ? std::vector<v2store::NodeImage>{} : (*event)->node.nodes;
}

std::optional<cluster::Member> MemberOf(const v2store::NodeImage& directory) {
  std::optional<cluster::Member> member;
  cluster::Member attributes;
  for (const v2store::NodeImage& file : directory.nodes) {
    const bool raft = std::string_view(file.path).ends_with(kRaftAttributes);
    absl::StatusOr<cluster::Member> said = cluster::AttributesFromJson(file.value.view());
    if (!said.ok()) return std::nullopt;
    raft ? member = *std::move(said) : attributes = *std::move(said);
  }
  const std::optional<MemberId> id = IdFrom(LastPart(directory.path));
  if (!member || !id) return std::nullopt;
  member->id = *id;
  member->name = std::move(attributes.name);
  member->client_urls = std::move(attributes.client_urls);
  return member;
}

/// The membership that the store says; null where that cannot be read.
std::optional<cluster::Roster> RosterOf(const v2store::Store& store) {
  cluster::Roster roster;
  for (const v2store::NodeImage& directory : ChildrenOf(store, kMembers)) {
    std::optional<cluster::Member> member = MemberOf(directory);
    if (!member) return std::nullopt;
    roster.members.push_back(*std::move(member));
  }
  if (roster.members.empty()) return std::nullopt;
  for (const v2store::NodeImage& file : ChildrenOf(store, kRemoved)) {
    const std::optional<MemberId> id = IdFrom(LastPart(file.path));
    if (!id) return std::nullopt;
    roster.removed.insert(*id);
  }
  const v2store::Result version = store.Get(kLegacyVersionPath, false, false);
  if (const auto* event = std::get_if<v2store::EventPtr>(&version)) {
    roster.version = (*event)->node.value.view();
  }
  return roster;
}

}  // namespace

std::optional<V2MembershipPut> MembershipPutOf(const v2store::RequestView& request) {
  const bool conditions = request.prev_exist || request.prev_index != 0 || !request.prev_value.empty();
  if (request.method != "PUT" || conditions) return std::nullopt;
  std::string_view path = request.path;
  if (path == kLegacyVersionPath) return V2MembershipPut{};
  if (!path.starts_with(kMembers) || !path.ends_with(kAttributes)) return std::nullopt;
  path.remove_prefix(kMembers.size());
  if (path.size() < kAttributes.size() + 2 || path[0] != '/') return std::nullopt;
  path.remove_suffix(kAttributes.size());
  const std::optional<MemberId> id = IdFrom(path.substr(1));
  if (!id) return std::nullopt;
  return V2MembershipPut{.attributes_of = id};
}

V2Tree::V2Tree(v2store::Store* store, MemberId local, ClusterId id, size_t max_learners)
    : store_(*store),
      local_(local),
      id_(id),
      max_learners_(max_learners),
      members_(std::make_unique<Cluster>(local, id, nullptr, max_learners)) {}

// ---- From a snapshot.

std::optional<cluster::Roster> V2Tree::Recover(const raft::Snapshot& snapshot, const Cluster& otherwise,
                                               Logger& logger) {
  const uint64_t had = store_.HasUserKeys() ? store_.index() : 0;
  const absl::Status status = store_.Recover(snapshot.data.view());
  std::optional<cluster::Roster> said = status.ok() ? RosterOf(store_) : std::nullopt;
  cluster::Roster roster;
  if (said) {
    roster = *said;
    conf_state_ = snapshot.metadata.conf_state;
  } else {
    KVORUM_LOG(logger, kWarn,
               "the snapshot's data says no membership; going by the database's, without keys of the v2 API",
               {"snapshot-index", snapshot.metadata.index.value()},
               {"error", status.ok() ? "no members" : std::string(status.message())});
    const absl::Status bare = store_.Recover(cluster::V2StoreJson(otherwise));
    KVORUM_CHECK(bare.ok(), "{}", bare.ToString());
    roster = {.members = otherwise.members(), .removed = otherwise.removed(), .version = otherwise.version()};
    conf_state_ = otherwise.conf_state();
  }
  if (store_.index() < had) {
    // etcd without the v2 API leads, and knows of none.
    KVORUM_LOG(logger, kError, "the leader's snapshot has no keys of the v2 API: this member's are gone",
               {"snapshot-index", snapshot.metadata.index.value()}, {"v2-index-before", had},
               {"v2-index", store_.index()});
  }
  members_ = std::make_unique<Cluster>(local_, id_, nullptr, max_learners_);
  for (const cluster::Member& member : roster.members) members_->AddMember(member, Cluster::Persist::kNo);
  for (const MemberId id : roster.removed) members_->RemoveMember(id, Cluster::Persist::kNo);
  return said;
}

absl::Status V2Tree::Replay(const raft::Storage& log, raft::Index to) {
  for (raft::Index next = log.FirstIndex(); next <= to;) {
    KVORUM_ASSIGN_OR_RETURN(const std::vector<raft::Entry> entries, log.Entries(next, to + 1, kReplayBytes));
    for (const raft::Entry& entry : entries) Follow(entry);
    next = entries.back().index + 1;
  }
  return absl::OkStatus();
}

// ---- From the log.

void V2Tree::Follow(const raft::Entry& entry) {
  if (entry.type == raft::EntryType::kNormal) return FollowNormal(entry);
  if (entry.type == raft::EntryType::kConfChange) {
    const absl::StatusOr<raft::ConfChange> change = raft::DecodeConfChange(entry.data.view());
    if (change.ok()) Change(*change);
    return;
  }
  const absl::StatusOr<raft::ConfChangeV2> change = raft::DecodeConfChangeV2(entry.data.view());
  if (change.ok()) ChangeSeveral(*change);
}

void V2Tree::FollowNormal(const raft::Entry& entry) {
  if (entry.data.empty()) return;
  const std::optional<EntryView> view = ParseEntry(entry.data.view());
  if (!view || view->kind == kV2Kind) {
    if (const auto request = V2RequestOf(entry.data.view(), view)) Apply(*request);
    return;
  }
  const auto decode = [&view](auto message) {
    const bool ok = message.ParseFromArray(view->body.data(), static_cast<int>(view->body.size()));
    return ok ? std::optional(std::move(message)) : std::nullopt;
  };
  if (view->kind == static_cast<uint32_t>(RequestKind::kClusterVersionSet)) {
    if (const auto request = decode(membershippb::ClusterVersionSetRequest())) SetVersion(request->ver());
  } else if (view->kind == static_cast<uint32_t>(RequestKind::kClusterMemberAttrSet)) {
    const auto request = decode(membershippb::ClusterMemberAttrSetRequest());
    if (!request) return;
    const membershippb::Attributes& said = request->member_attributes();
    SetAttributes(
        MemberId(request->member_id()),
        {.name = said.name(), .client_urls = {said.client_urls().begin(), said.client_urls().end()}});
  }
}

v2store::Result V2Tree::Apply(const v2store::RequestView& request) {
  const std::optional<V2MembershipPut> put = MembershipPutOf(request);
  if (!put) return store_.Apply(request);
  if (!put->attributes_of) {
    SetVersion(request.value);
  } else if (const auto attributes = cluster::AttributesFromJson(request.value); attributes.ok()) {
    SetAttributes(*put->attributes_of, *attributes);
  }
  return v2store::EventPtr();
}

void V2Tree::SetAttributes(MemberId id, const cluster::Member& attributes) {
  if (!members_->Find(id)) return;
  members_->UpdateAttributes(id, attributes.name, attributes.client_urls, Cluster::Persist::kNo);
  store_.Set(MemberPath(id) + std::string(kAttributes), false,
             cluster::AttributesToJson({.name = attributes.name, .client_urls = attributes.client_urls}), {});
}

void V2Tree::SetVersion(std::string_view version) { store_.Set(kLegacyVersionPath, false, version, {}); }

// ---- Changes of the membership.

bool V2Tree::SwitchTo(const raft::ConfChangeV2& change) {
  absl::StatusOr<raft::ConfState> next = NextConfState(conf_state_, change);
  if (next.ok()) conf_state_ = *std::move(next);
  return next.ok();
}

void V2Tree::Change(const raft::ConfChange& change) {
  if (!members_->Validate(change).ok() || !SwitchTo(raft::ToV2(change))) return;
  const MemberId id(change.node_id.value());
  if (change.type == ConfChangeType::kRemoveNode) return Remove(id);
  absl::StatusOr<cluster::ChangeContext> context = cluster::ChangeContextFromJson(change.context.view());
  if (!context.ok()) return;
  if (change.type == ConfChangeType::kUpdateNode) {
    members_->UpdatePeerUrls(id, std::move(context->member.peer_urls), Cluster::Persist::kNo);
    Update(id);
  } else if (context->is_promote) {
    members_->Promote(id, Cluster::Persist::kNo);
    Update(id);
  } else {
    context->member.id = id;
    context->member.is_learner = change.type == ConfChangeType::kAddLearnerNode;
    Add(context->member);
  }
}

void V2Tree::ChangeSeveral(const raft::ConfChangeV2& change) {
  if (!SwitchTo(change)) return;
  cluster::Member context;
  if (const auto parsed = cluster::ChangeContextFromJson(change.context.view()); parsed.ok()) {
    context = parsed->member;
  }
  for (const raft::ConfChangeSingle& one : change.changes) {
    const MemberId id(one.node_id.value());
    const std::optional<cluster::Member> known = members_->Find(id);
    if (one.type == ConfChangeType::kUpdateNode) continue;
    if (one.type == ConfChangeType::kRemoveNode) {
      if (known) Remove(id);
      continue;
    }
    cluster::Member member = known.value_or(context.id == id ? context : cluster::Member{});
    member.id = id;
    member.is_learner = one.type == ConfChangeType::kAddLearnerNode;
    if (!known) {
      Add(member);
      continue;
    }
    members_->AddMember(member, Cluster::Persist::kNo);
    Update(id);
  }
}

void V2Tree::Add(const cluster::Member& member) {
  members_->AddMember(member, Cluster::Persist::kNo);
  store_.Create(MemberPath(member.id) + std::string(kRaftAttributes), false,
                cluster::RaftAttributesToJson(*members_->Find(member.id)), false, {});
}

void V2Tree::Update(MemberId id) {
  store_.Update(MemberPath(id) + std::string(kRaftAttributes),
                cluster::RaftAttributesToJson(*members_->Find(id)), {});
}

void V2Tree::Remove(MemberId id) {
  members_->RemoveMember(id, Cluster::Persist::kNo);
  store_.Delete(MemberPath(id), true, true);
  store_.Create(fmt::format("{}/{:x}", kRemoved, id.value()), false, "", false, {});
}

}  // namespace kvorum::member
