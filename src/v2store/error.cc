#include "v2store/error.h"

namespace kvorum::v2store {

const char* Message(ErrorCode code) {
  switch (code) {
    case ErrorCode::kKeyNotFound:
      return "Key not found";
    case ErrorCode::kCompareFailed:
      return "Compare failed";
    case ErrorCode::kNotFile:
      return "Not a file";
    case ErrorCode::kNotDir:
      return "Not a directory";
    case ErrorCode::kKeyExists:
      return "Key already exists";
    case ErrorCode::kRootReadOnly:
      return "Root is read only";
    case ErrorCode::kDirNotEmpty:
      return "Directory not empty";
    case ErrorCode::kUnauthorized:
      return "The request requires user authentication";
    case ErrorCode::kPrevValueRequired:
      return "PrevValue is Required in POST form";
    case ErrorCode::kTtlNotNumber:
      return "The given TTL in POST form is not a number";
    case ErrorCode::kIndexNotNumber:
      return "The given index in POST form is not a number";
    case ErrorCode::kInvalidField:
      return "Invalid field";
    case ErrorCode::kInvalidForm:
      return "Invalid POST form";
    case ErrorCode::kRefreshWithValue:
      return "Value provided on refresh";
    case ErrorCode::kRefreshTtlRequired:
      return "A TTL must be provided on refresh";
    case ErrorCode::kRaftInternal:
      return "Raft Internal Error";
    case ErrorCode::kHistoryCleared:
      return "The event in requested index is outdated and cleared";
  }
  return "";
}

int HttpStatus(ErrorCode code) {
  switch (code) {
    case ErrorCode::kKeyNotFound:
      return 404;
    case ErrorCode::kNotFile:
    case ErrorCode::kDirNotEmpty:
      return 403;
    case ErrorCode::kUnauthorized:
      return 401;
    case ErrorCode::kCompareFailed:
    case ErrorCode::kKeyExists:
      return 412;
    case ErrorCode::kRaftInternal:
      return 500;
    case ErrorCode::kNotDir:
    case ErrorCode::kRootReadOnly:
    case ErrorCode::kPrevValueRequired:
    case ErrorCode::kTtlNotNumber:
    case ErrorCode::kIndexNotNumber:
    case ErrorCode::kInvalidField:
    case ErrorCode::kInvalidForm:
    case ErrorCode::kRefreshWithValue:
    case ErrorCode::kRefreshTtlRequired:
    case ErrorCode::kHistoryCleared:
      return 400;
  }
  return 500;
}

}  // namespace kvorum::v2store
