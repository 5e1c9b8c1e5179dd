#pragma once

namespace kvorum::api_v2 {

// The statuses that are given besides those of the keys' errors, which v2store::HttpStatus tells.
inline constexpr int kOk = 200;
inline constexpr int kCreated = 201;
inline constexpr int kNoContent = 204;
inline constexpr int kBadRequest = 400;
inline constexpr int kUnauthorized = 401;
inline constexpr int kForbidden = 403;
inline constexpr int kNotFound = 404;
inline constexpr int kMethodNotAllowed = 405;
inline constexpr int kConflict = 409;
inline constexpr int kGone = 410;
inline constexpr int kTooLarge = 413;
inline constexpr int kUnsupportedType = 415;
inline constexpr int kInternalError = 500;
inline constexpr int kUnavailable = 503;

}  // namespace kvorum::api_v2
