#include "bootstrap/follow.h"

#include <utility>

#include "base/status.h"
#include "raft/codec.h"

namespace kvorum::bootstrap {

using cluster::Cluster;
using raft::ConfChangeType;

absl::Status FollowConfChange(const raft::Entry& entry, Cluster* cluster) {
  if (entry.type != raft::EntryType::kConfChange) return absl::OkStatus();
  KVORUM_ASSIGN_OR_RETURN(const raft::ConfChange change, raft::DecodeConfChange(entry.data.view()));
  const absl::Status valid = cluster->Validate(change);
  if (valid.code() == absl::StatusCode::kDataLoss) return valid;
  if (!valid.ok()) return absl::OkStatus();
  const MemberId id(change.node_id.value());
  if (change.type == ConfChangeType::kRemoveNode) {
    cluster->RemoveMember(id, Cluster::Persist::kNo);
    return absl::OkStatus();
  }
  KVORUM_ASSIGN_OR_RETURN(cluster::ChangeContext context,
                          cluster::ChangeContextFromJson(change.context.view()));
  if (change.type == ConfChangeType::kUpdateNode) {
    cluster->UpdatePeerUrls(id, std::move(context.member.peer_urls), Cluster::Persist::kNo);
  } else if (context.is_promote) {
    cluster->Promote(id, Cluster::Persist::kNo);
  } else {
    context.member.id = id;
    context.member.is_learner = change.type == ConfChangeType::kAddLearnerNode;
    cluster->AddMember(context.member, Cluster::Persist::kNo);
  }
  return absl::OkStatus();
}

}  // namespace kvorum::bootstrap
