#include "backend/backend.h"

#include "base/check.h"
#include "base/status.h"

namespace kvorum::backend {

std::string_view BucketName(Bucket bucket) {
  switch (bucket) {
    case Bucket::kAlarm:
      return "alarm";
    case Bucket::kAuth:
      return "auth";
    case Bucket::kAuthRoles:
      return "authRoles";
    case Bucket::kAuthUsers:
      return "authUsers";
    case Bucket::kCluster:
      return "cluster";
    case Bucket::kKey:
      return "key";
    case Bucket::kLease:
      return "lease";
    case Bucket::kMembers:
      return "members";
    case Bucket::kMembersRemoved:
      return "members_removed";
    case Bucket::kMeta:
      return "meta";
  }
  CheckFailed(__FILE__, __LINE__, "bucket", fmt::format("no bucket {}", static_cast<int>(bucket)));
}

absl::StatusOr<std::optional<Located>> ReadView::Locate(Bucket bucket, std::string_view key) {
  KVORUM_ASSIGN_OR_RETURN(const std::optional<std::string_view> value, Get(bucket, key));
  if (!value) return std::nullopt;
  return Located{.value = *value};
}

absl::Status ReadView::Check(Bucket, std::string_view, std::string_view) { return absl::OkStatus(); }

}  // namespace kvorum::backend
