#include "backend/backend.h"

#include "base/check.h"

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

}  // namespace kvorum::backend
