#pragma once

#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "base/clock.h"
#include "v2store/error.h"
#include "v2store/request.h"

namespace kvorum::api_v2 {

/// The methods of /v2/keys.
enum class KeyMethod : uint8_t { kHead, kGet, kPut, kPost, kDelete };
inline constexpr std::string_view kKeyMethods = "HEAD,GET,PUT,POST,DELETE";
/// False where it is none of these.
bool ParseKeyMethod(std::string_view text, KeyMethod* method);

/// Bytes of a form that are read; more is an error.
inline constexpr size_t kMaxFormBytes = 10 << 20;

/// Names in the path of a key that a request may make: each directory of it shows its whole path in listings,
/// which grow by the square. Deeper ones, of etcd, are read, updated and deleted as any others.
inline constexpr size_t kMaxNewKeyNames = 128;

/// A request for /v2/keys as it came.
struct KeyRequestText {
  KeyMethod method = KeyMethod::kGet;
  std::string_view path;  ///< "/1" and the path after "/v2/keys", decoded and clean
  std::span<char> query;  ///< still encoded
  /// What was wrong with the body before it was read: its type. Empty: nothing.
  std::string_view body_error;
  std::span<char> form;  ///< a form as the body, still encoded; empty where there is none
  WallTime now;          ///< from when a ttl counts
};

/// A request for /v2/keys. Its texts are views of those that it was read from.
struct KeyRequest {
  KeyMethod method = KeyMethod::kGet;
  v2store::RequestView request;  ///< as it would be in the log, without an id
  bool no_value_on_success = false;

  /// Whether it reads what everybody acknowledged.
  bool IsQuorumRead() const { return method == KeyMethod::kGet && request.quorum; }
  bool IsWatch() const { return method == KeyMethod::kGet && request.wait && !request.quorum; }
  bool IsWrite() const { return method != KeyMethod::kGet && method != KeyMethod::kHead; }
};

/// Reads the parameters, a form's before the query's, and checks all of them, whether or not the method uses
/// them (reference: v2-keys.md §2.2). The error is of what is wrong first, with index 0. Query and form are
/// decoded where they stand.
std::variant<KeyRequest, v2store::Error> ParseKeyRequest(const KeyRequestText& text);

}  // namespace kvorum::api_v2
