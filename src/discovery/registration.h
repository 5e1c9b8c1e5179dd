#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/ids.h"

namespace kvorum::discovery {

/// What a member says of itself to a discovery service.
struct Registration {
  MemberId id;  ///< of its name and URLs alone, under the service's token
  std::string name;
  std::vector<std::string> peer_urls;

  /// "name=url,name=url2", sorted.
  std::string Text() const;
};

/// Why a member did not find its cluster, where an operator is told more than the error's text.
enum class Failure : uint8_t { kOther, kFull, kDuplicateId, kDuplicateName };

// The errors that both protocols know (reference: proxy-discovery.md §7.3).
absl::Status FullError();
absl::Status DuplicateIdError();
absl::Status DuplicateNameError();
absl::Status BadSizeError();
absl::Status TooManyRetriesError();

/// Also of an error that has one of these within: `Annotated` keeps it.
Failure FailureOf(const absl::Status& status);
/// `status` with another text.
absl::Status Annotated(const absl::Status& status, std::string text);

/// The members that the registrations `values` name, as one text, and how many they are by name; with
/// `invalid` where that is no such text.
struct ClusterText {
  std::string text;
  size_t names = 0;
};
absl::StatusOr<ClusterText> JoinTexts(const std::vector<std::string>& values, std::string_view invalid);

/// The size of a cluster: decimal, at least 1. BadSizeError where it is none.
absl::StatusOr<size_t> ParseSize(std::string_view text);

/// How long to wait before the `n`th try after the first: 2^n seconds, at most 2^8.
std::chrono::seconds BackOff(uint64_t n);

}  // namespace kvorum::discovery
