#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "base/bytes.h"
#include "base/ids.h"

namespace kvorum::lease {

/// A lease as Bucket::kLease has it: leasepb.Lease under the id, 8 bytes big-endian (reference:
/// backend-schema.md §1).
struct StoredLease {
  LeaseId id;
  int64_t ttl_seconds = 0;
  int64_t remaining_ttl_seconds = 0;  ///< as of the last checkpoint; 0: none
};

std::string StoredLeaseKey(LeaseId id);
Bytes EncodeStoredLease(const StoredLease& lease);
/// DataLoss where the record is malformed or stands under another id.
absl::StatusOr<StoredLease> DecodeStoredLease(std::string_view key, std::string_view value);

}  // namespace kvorum::lease
