#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "base/bytes.h"
#include "base/ids.h"
#include "base/strong_int.h"
#include "v2store/store.h"

namespace kvorum::member {

using RequestId = StrongInt<struct RequestIdTag, uint64_t>;

/// Who asks, as the entry's header records it. Empty while authentication is off.
struct Identity {
  std::string username;
  uint64_t auth_revision = 0;
};

/// The field of etcdserverpb.InternalRaftRequest that a request goes into (reference: apply.md §2.1).
enum class RequestKind : uint32_t {
  kPut = 4,
  kDeleteRange = 5,
  kTxn = 6,
  kCompaction = 7,
  kLeaseGrant = 8,
  kLeaseRevoke = 9,
  kAlarm = 10,
  kLeaseCheckpoint = 11,
  kClusterVersionSet = 1300,
  kClusterMemberAttrSet = 1301,
  kDowngradeInfoSet = 1302,
};

/// Of a kClusterMemberAttrSet: that the member is one of Kvorum. etcd passes over the field.
inline constexpr uint32_t kSaysKvorumField = 100;

/// The log entry for an encoded request: the request's own bytes behind a tag, and a header with the id. The
/// request must be in the form in which we would have encoded it.
Bytes BuildEntry(RequestKind kind, std::string_view encoded_request, RequestId id, const Identity& identity);

/// The log entry by which members of releases before 3.6 publish themselves and the cluster's version: a PUT
/// of etcd's v2 store (reference: apply.md §2.2, §2.3). 3.7 does not read it any more.
Bytes BuildLegacyPut(std::string_view path, std::string_view value, RequestId id);
/// The paths of such requests.
inline constexpr std::string_view kLegacyVersionPath = "/0/version";
std::string LegacyAttributesPath(MemberId member);

/// What a request of the v2 API did.
struct V2Applied {
  v2store::Result result;
  uint64_t raft_index = 0;  ///< what was committed by then
  uint64_t raft_term = 0;   ///< of the entry
};

/// What became of a proposal.
struct ApplyResult {
  /// The error, in etcd's internal text ("etcdserver: no space", "lease not found", …).
  absl::Status status;
  /// For the response header: the store's revision after the request, and the term.
  int64_t revision = 0;
  uint64_t term = 0;
  /// The encoded response message without its header (field 1): a reply is a header field followed by this.
  std::string body;
  std::shared_ptr<V2Applied> v2;  ///< of a request of the v2 API; handed on, not shared
};
using ApplyDone = absl::AnyInvocable<void(ApplyResult)>;

}  // namespace kvorum::member
