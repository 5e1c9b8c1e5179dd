#include "cluster/cluster.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/check.h"
#include "base/status.h"
#include "boost/json/parse.hpp"
#include "fmt/format.h"

namespace kvorum::cluster {
namespace {

using backend::Bucket;

constexpr std::string_view kVersionKey = "clusterVersion";
constexpr std::string_view kDowngradeKey = "downgrade";
constexpr std::string_view kRemovedValue = "removed";

std::optional<uint64_t> ParseId(std::string_view text) {
  uint64_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id, 16);
  if (error != std::errc() || end != text.data() + text.size() || id == 0) return std::nullopt;
  return id;
}

absl::Status NotFound() { return absl::NotFoundError("membership: ID not found"); }

std::string DowngradeJson(const Downgrade& downgrade) {
  return fmt::format(R"({{"target-version":"{}","enabled":{}}})", downgrade.target_version,
                     downgrade.enabled);
}

absl::StatusOr<Downgrade> DowngradeFromJson(std::string_view text) {
  boost::system::error_code error;
  const boost::json::value value = boost::json::parse({text.data(), text.size()}, error);
  if (error || !value.is_object()) return absl::DataLossError("the downgrade record is no JSON object");
  Downgrade downgrade;
  if (const auto* target = value.get_object().if_contains("target-version"); target && target->is_string()) {
    downgrade.target_version.assign(target->get_string().data(), target->get_string().size());
  }
  if (const auto* enabled = value.get_object().if_contains("enabled"); enabled && enabled->is_bool()) {
    downgrade.enabled = enabled->get_bool();
  }
  return downgrade;
}

}  // namespace

std::string IdText(uint64_t id) { return fmt::format("{:x}", id); }

absl::Status Cluster::Load() {
  std::map<MemberId, Member> members;
  std::set<MemberId> removed;
  absl::Status bad;
  const std::unique_ptr<backend::ReadView> view = backend_->NewReadView();
  KVORUM_RETURN_IF_ERROR(
      view->Scan(Bucket::kMembers, {}, {}, [&](std::string_view key, std::string_view value) {
        absl::StatusOr<Member> member = MemberFromJson(value);
        const std::optional<uint64_t> id = ParseId(key);
        if (!member.ok() || !id || member->id.value() != *id) {
          bad = absl::DataLossError(fmt::format("the record of member {} cannot be read", key));
          return false;
        }
        members[member->id] = *std::move(member);
        return true;
      }));
  KVORUM_RETURN_IF_ERROR(
      view->Scan(Bucket::kMembersRemoved, {}, {}, [&](std::string_view key, std::string_view) {
        const std::optional<uint64_t> id = ParseId(key);
        if (!id) {
          bad = absl::DataLossError(fmt::format("the record of removed member {} cannot be read", key));
          return false;
        }
        removed.insert(MemberId(*id));
        return true;
      }));
  KVORUM_RETURN_IF_ERROR(bad);
  KVORUM_ASSIGN_OR_RETURN(const std::optional<std::string_view> version,
                          view->Get(Bucket::kCluster, kVersionKey));
  KVORUM_ASSIGN_OR_RETURN(const std::optional<std::string_view> downgrade_json,
                          view->Get(Bucket::kCluster, kDowngradeKey));
  Downgrade downgrade;
  if (downgrade_json) {
    KVORUM_ASSIGN_OR_RETURN(downgrade, DowngradeFromJson(*downgrade_json));
  }

  absl::MutexLock lock(&mutex_);
  members_ = std::move(members);
  RefreshLocal();
  removed_ = std::move(removed);
  version_ = version.value_or(std::string_view());
  NoteVersionChange();
  downgrade_ = std::move(downgrade);
  return absl::OkStatus();
}

void Cluster::Store(const Member& member) {
  backend_->Put(Bucket::kMembers, IdText(member.id.value()), Bytes::Copy(ToJson(member)));
}

void Cluster::AddMember(const Member& member, Persist persist) {
  KVORUM_CHECK(member.id != MemberId(0));
  Member sorted = member;
  std::sort(sorted.peer_urls.begin(), sorted.peer_urls.end());
  if (persist == Persist::kYes) Store(sorted);
  absl::MutexLock lock(&mutex_);
  members_[member.id] = std::move(sorted);
  RefreshLocal();
}

void Cluster::RefreshLocal() {
  const auto local = members_.find(local_);
  local_is_learner_.store(local != members_.end() && local->second.is_learner, std::memory_order_release);
  changes_.fetch_add(1, std::memory_order_release);
}

void Cluster::NoteVersionChange() {
  version_changes_.fetch_add(1, std::memory_order_release);
  changes_.fetch_add(1, std::memory_order_release);
}

void Cluster::RemoveMember(MemberId id, Persist persist) {
  if (persist == Persist::kYes) {
    backend_->Delete(Bucket::kMembers, IdText(id.value()));
    backend_->Put(Bucket::kMembersRemoved, IdText(id.value()), Bytes::Copy(kRemovedValue));
  }
  absl::MutexLock lock(&mutex_);
  members_.erase(id);
  RefreshLocal();
  removed_.insert(id);
}

void Cluster::UpdatePeerUrls(MemberId id, std::vector<std::string> peer_urls, Persist persist) {
  std::sort(peer_urls.begin(), peer_urls.end());
  std::optional<Member> member = Find(id);
  KVORUM_CHECK(member, "member {:x} is unknown", id.value());
  member->peer_urls = std::move(peer_urls);
  AddMember(*member, persist);
}

void Cluster::Promote(MemberId id, Persist persist) {
  std::optional<Member> member = Find(id);
  KVORUM_CHECK(member, "member {:x} is unknown", id.value());
  member->is_learner = false;
  AddMember(*member, persist);
}

void Cluster::UpdateAttributes(MemberId id, std::string name, std::vector<std::string> client_urls,
                               Persist persist, bool is_kvorum) {
  if (IsRemoved(id)) return;
  std::optional<Member> member = Find(id);
  KVORUM_CHECK(member, "member {:x} is unknown", id.value());
  member->name = std::move(name);
  member->client_urls = std::move(client_urls);
  member->is_kvorum = is_kvorum;
  AddMember(*member, persist);
}

void Cluster::SetVersion(std::string version, Persist persist) {
  if (persist == Persist::kYes) backend_->Put(Bucket::kCluster, kVersionKey, Bytes::Copy(version));
  absl::MutexLock lock(&mutex_);
  version_ = std::move(version);
  NoteVersionChange();
}

void Cluster::SetDowngrade(Downgrade downgrade, Persist persist) {
  if (persist == Persist::kYes) {
    backend_->Put(Bucket::kCluster, kDowngradeKey, Bytes::Copy(DowngradeJson(downgrade)));
  }
  absl::MutexLock lock(&mutex_);
  downgrade_ = std::move(downgrade);
}

void Cluster::Restore(const Roster& roster) {
  for (const MemberId id : roster.removed) {
    if (!IsRemoved(id) || Find(id)) RemoveMember(id, Persist::kYes);
  }
  std::set<MemberId> listed;
  for (Member member : roster.members) {
    // What a forced new cluster wrote at the same position stays: who is removed does not come back, and a
    // promotion is not taken back.
    if (IsRemoved(member.id)) continue;
    const std::optional<Member> known = Find(member.id);
    if (known && !known->is_learner) member.is_learner = false;
    // The v2 store does not say what kind a member is of.
    if (known && known->name == member.name) member.is_kvorum = known->is_kvorum;
    listed.insert(member.id);
    if (known != member) AddMember(member, Persist::kYes);
  }
  for (const Member& member : members()) {
    if (listed.contains(member.id)) continue;
    backend_->Delete(Bucket::kMembers, IdText(member.id.value()));
    absl::MutexLock lock(&mutex_);
    members_.erase(member.id);
    RefreshLocal();
  }
  if (!roster.version.empty() && roster.version != version()) SetVersion(roster.version, Persist::kYes);
}

bool Cluster::UrlTaken(const Member& by, MemberId except) const {
  for (const auto& [id, member] : members_) {
    if (id == except) continue;
    for (const std::string& url : by.peer_urls) {
      if (std::find(member.peer_urls.begin(), member.peer_urls.end(), url) != member.peer_urls.end()) {
        return true;
      }
    }
  }
  return false;
}

absl::Status Cluster::Validate(const raft::ConfChange& change) const {
  absl::ReaderMutexLock lock(&mutex_);
  const MemberId id(change.node_id.value());
  if (removed_.contains(id)) return absl::NotFoundError("membership: ID removed");
  if (change.type == raft::ConfChangeType::kRemoveNode) {
    return members_.contains(id) ? absl::OkStatus() : NotFound();
  }
  return ValidateContext(change);
}

absl::Status Cluster::ValidateContext(const raft::ConfChange& change) const {
  using raft::ConfChangeType;
  const MemberId id(change.node_id.value());
  KVORUM_ASSIGN_OR_RETURN(const ChangeContext context, ChangeContextFromJson(change.context.view()));
  const auto found = members_.find(id);
  if (change.type == ConfChangeType::kUpdateNode) {
    if (found == members_.end()) return NotFound();
    return UrlTaken(context.member, id) ? absl::FailedPreconditionError("membership: peerURL exists")
                                        : absl::OkStatus();
  }
  if (context.is_promote) {
    if (found == members_.end()) return NotFound();
    return found->second.is_learner
               ? absl::OkStatus()
               : absl::FailedPreconditionError("membership: can only promote a learner member");
  }
  if (found != members_.end()) return absl::FailedPreconditionError("membership: ID exists");
  if (UrlTaken(context.member, MemberId(0))) {
    return absl::FailedPreconditionError("membership: peerURL exists");
  }
  if (change.type != ConfChangeType::kAddLearnerNode) return absl::OkStatus();
  const auto learners =
      std::count_if(members_.begin(), members_.end(), [](const auto& m) { return m.second.is_learner; });
  return static_cast<size_t>(learners) < max_learners_
             ? absl::OkStatus()
             : absl::FailedPreconditionError("membership: too many learner members in cluster");
}

std::vector<Member> Cluster::members() const {
  absl::ReaderMutexLock lock(&mutex_);
  std::vector<Member> out;
  out.reserve(members_.size());
  for (const auto& [id, member] : members_) out.push_back(member);
  return out;
}

std::optional<Member> Cluster::Find(MemberId id) const {
  absl::ReaderMutexLock lock(&mutex_);
  const auto it = members_.find(id);
  if (it == members_.end()) return std::nullopt;
  return it->second;
}

bool Cluster::IsRemoved(MemberId id) const {
  absl::ReaderMutexLock lock(&mutex_);
  return removed_.contains(id);
}

std::string Cluster::version() const {
  absl::ReaderMutexLock lock(&mutex_);
  return version_;
}

Downgrade Cluster::downgrade() const {
  absl::ReaderMutexLock lock(&mutex_);
  return downgrade_;
}

std::set<MemberId> Cluster::removed() const {
  absl::ReaderMutexLock lock(&mutex_);
  return removed_;
}

raft::ConfState Cluster::conf_state() const {
  absl::ReaderMutexLock lock(&mutex_);
  raft::ConfState state;
  for (const auto& [id, member] : members_) {
    (member.is_learner ? state.learners : state.voters).push_back(raft::NodeId(id.value()));
  }
  return state;
}

}  // namespace kvorum::cluster
