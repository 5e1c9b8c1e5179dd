#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace kvorum::api_v3 {

// Errors that the API layer itself finds (reference: v3-errors.md §1), as clients get them.
absl::Status KeyNotProvidedError();
absl::Status ValueProvidedError();
absl::Status LeaseProvidedError();
absl::Status TooManyOperationsError();
absl::Status DuplicateKeyError();
absl::Status InvalidClientApiVersionError();
absl::Status InvalidSortOptionError();
absl::Status KeyNotFoundError();
absl::Status NoLeaderError();
absl::Status NotCapableError();
absl::Status NotSupportedForLearnerError();
absl::Status InvalidMemberUrlsError();
/// Internal, gRPC's text for a message that is no Protocol Buffer.
absl::Status MalformedRequestError();

/// What a client gets for an error of the member, the store or the leases: looked up by its text in the table
/// of v3-errors.md §1, §2 and §6. Texts that are not in it leave as Unknown with the raw text, except
/// Canceled and DeadlineExceeded, which keep their code. OK stays OK.
absl::Status ToClientError(const absl::Status& internal);

/// Go's text of a gRPC error: "rpc error: code = OutOfRange desc = …", as watch responses carry it.
std::string RpcErrorText(const absl::Status& status);

/// "InvalidArgument" and so on, as metrics name the codes; also for codes out of range ("Unknown").
std::string_view CodeName(absl::StatusCode code);

}  // namespace kvorum::api_v3
