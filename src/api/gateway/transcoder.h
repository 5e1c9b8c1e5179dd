#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "google/protobuf/descriptor.h"

namespace kvorum::api_gateway {

// Between JSON and encoded messages, by Protocol Buffers' JSON mapping with etcd's conventions (reference:
// v3-api.md §3): field names as they are declared, zero values left out, unknown fields ignored.

/// The encoded message. Empty JSON is the empty message. Errors: InvalidArgument.
absl::StatusOr<std::string> JsonToMessage(const google::protobuf::Descriptor& type, std::string_view json);
/// Errors: Internal for what is no message of that type.
absl::StatusOr<std::string> MessageToJson(const google::protobuf::Descriptor& type, std::string_view message);

/// Cuts a stream of bytes into JSON objects, which may follow each other with or without white space.
class JsonSplitter {
 public:
  /// At most that many bytes to an object.
  explicit JsonSplitter(size_t max_bytes) : max_bytes_(max_bytes) {}

  void Feed(std::string_view data) { buffer_.append(data); }
  /// The next whole object, or nothing yet. Errors, which are final: InvalidArgument for what is no object,
  /// ResourceExhausted for one that is too large.
  absl::StatusOr<std::optional<std::string>> Next();
  /// True where what was fed and not taken is not only white space.
  bool mid_object() const;

 private:
  /// Drops what was taken.
  void Compact();

  const size_t max_bytes_;
  std::string buffer_;
  size_t begin_ = 0;    // of what was not taken yet
  size_t scanned_ = 0;  // up to here the state below is known
  int depth_ = 0;
  bool in_string_ = false;
  bool escaped_ = false;
};

/// `{"code":N,"message":"…"}`
std::string ErrorJson(const absl::Status& status);
/// The HTTP status of a gRPC code (reference: v3-api.md §3.1).
int HttpStatusOf(absl::StatusCode code);

}  // namespace kvorum::api_gateway
