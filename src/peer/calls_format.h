#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "base/ids.h"
#include "lease/lessor.h"
#include "member/ports.h"
#include "mvcc/store.h"

namespace kvorum::peer {

// The bodies of the questions that members ask each other (reference: peer-protocol.md §6). The list of
// members is in cluster/members_json.h. Everything that parses: DataLoss for what is none.

// /members/hashkv
std::string HashRequestToJson(int64_t revision);
absl::StatusOr<int64_t> HashRequestFromJson(std::string_view text);
std::string HashResultToJson(const mvcc::HashResult& result);
/// `asked`: the revision that was asked for, which etcd before 3.6 does not repeat.
absl::StatusOr<mvcc::HashResult> HashResultFromJson(std::string_view text, int64_t asked);

// /version
absl::StatusOr<member::PeerVersions> VersionsFromJson(std::string_view text);

// /leases
std::string EncodeRenewal(LeaseId id);
absl::StatusOr<LeaseId> ParseRenewal(std::string_view bytes);
struct Renewed {
  LeaseId id;
  int64_t ttl_seconds = 0;
};
std::string EncodeRenewed(const Renewed& renewed);
absl::StatusOr<Renewed> ParseRenewed(std::string_view bytes);

// /leases/internal
struct LeaseQuestion {
  LeaseId id;
  bool with_keys = false;
};
std::string EncodeLeaseQuestion(const LeaseQuestion& question);
absl::StatusOr<LeaseQuestion> ParseLeaseQuestion(std::string_view bytes);
std::string EncodeLeaseView(const lease::LeaseView& view);
absl::StatusOr<lease::LeaseView> ParseLeaseView(std::string_view bytes);

}  // namespace kvorum::peer
