#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "http/client.h"

namespace kvorum::discovery {

/// A node of the v2 key space (reference: v2-keys.md §5), as far as discovery needs it.
struct KeysNode {
  std::string key;
  std::string value;
  uint64_t created_index = 0;
  uint64_t modified_index = 0;
  std::vector<KeysNode> nodes;  ///< without what lies below them
};

/// An error of the key space: "100: Key not found (/a) [5]".
struct KeysError {
  int code = 0;
  std::string text;
};

/// What a request for a key was answered with.
struct KeysAnswer {
  std::optional<KeysError> error;
  std::string action;
  KeysNode node;
  uint64_t index = 0;  ///< X-Etcd-Index; 0 where there is none
  bool empty = false;  ///< a watch that ended without an event
};

/// Errors: Unavailable for one that the service may not give again (5xx); FailedPrecondition "discovery: bad
/// discovery endpoint" for what comes from no key space.
absl::StatusOr<KeysAnswer> ParseKeysAnswer(const http::ClientResponse& response);

}  // namespace kvorum::discovery
