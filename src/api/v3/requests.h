#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "member/request_view.h"
#include "proto/rpc.pb.h"

namespace kvorum::api_v3 {

// Reading and checking the requests of KV (reference: v3-api.md §6.2-§6.5). The views point into the encoded
// request, which outlives them. Errors are in the form that clients get; a request that is no Protocol Buffer
// is MalformedRequestError().

/// Errors: malformed, "key is not provided", "invalid sort option".
absl::StatusOr<member::RangeRequestView> ParseRange(std::string_view request);

/// A request that goes into the log.
template <typename View>
struct Loggable {
  View view;
  /// Where the request is not in the form that we write: itself in that form. Else empty.
  std::string reencoded;

  std::string_view encoded(std::string_view request) const {
    return reencoded.empty() ? request : std::string_view(reencoded);
  }
};

/// Errors: malformed, "key is not provided", "value is provided", "lease is provided".
absl::StatusOr<Loggable<member::PutRequestView>> ParsePut(std::string_view request);

/// Errors: malformed, "key is not provided".
absl::StatusOr<Loggable<member::DeleteRangeRequestView>> ParseDeleteRange(std::string_view request);

/// A checked transaction.
struct ParsedTxn {
  std::string encoded;          ///< in the form that we write
  member::TxnRequestView view;  ///< of `encoded`: REQUIRES that it is not moved
};

/// Errors: malformed, and those of CheckTxn.
absl::StatusOr<std::unique_ptr<ParsedTxn>> ParseTxn(std::string_view request, size_t max_ops);

/// The shape of a transaction: "too many operations in txn request", "key is not provided", "duplicate key
/// given in txn request", "key not found" for an operation without a request, and what ParseRange and
/// ParsePut say of its operations.
absl::Status CheckTxn(const etcdserverpb::TxnRequest& txn, size_t max_ops);

}  // namespace kvorum::api_v3
