#pragma once

#include <cstdint>
#include <string>

namespace kvorum::v2store {

/// What the v2 API says went wrong (reference: v2-keys.md §6.1).
enum class ErrorCode : uint16_t {
  kKeyNotFound = 100,
  kCompareFailed = 101,
  kNotFile = 102,
  kNotDir = 104,
  kKeyExists = 105,
  kRootReadOnly = 107,
  kDirNotEmpty = 108,
  kUnauthorized = 110,
  kPrevValueRequired = 201,
  kTtlNotNumber = 202,
  kIndexNotNumber = 203,
  kInvalidField = 209,
  kInvalidForm = 210,
  kRefreshWithValue = 211,
  kRefreshTtlRequired = 212,
  kRaftInternal = 300,
  kHistoryCleared = 401,
};

struct Error {
  ErrorCode code = ErrorCode::kRaftInternal;
  std::string cause;   ///< with full store paths ("/1/foo")
  uint64_t index = 0;  ///< the store's index when it happened
  bool operator==(const Error&) const = default;
};

/// "Key not found"
const char* Message(ErrorCode code);
/// 404, 412, …
int HttpStatus(ErrorCode code);

}  // namespace kvorum::v2store
