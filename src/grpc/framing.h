#pragma once

#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "base/bytes.h"
#include "grpc/server.h"
#include "http/handler.h"

namespace kvorum::grpc {

/// Bytes before each message: a flag byte (1: compressed) and the length, big-endian.
constexpr size_t kPrefixBytes = 5;

void WritePrefix(char* out, size_t message_size);
size_t ReadMessageSize(const char* prefix);

/// Sends a message as pieces: small ones joined, large shared ones as they are.
void SendMessage(http::ResponseWriter& writer, Payload message);

enum class Encoding : uint8_t { kIdentity, kGzip, kUnknown };

/// Cuts a stream of bytes into messages and decompresses them. Errors are gRPC's texts and final.
class MessageReader {
 public:
  /// `name` is the value of grpc-encoding, empty where there is none.
  MessageReader(size_t max_bytes, std::string_view name);

  /// Takes the next bytes and calls `on_message` for each message that is complete, until it returns false.
  absl::Status Feed(std::string_view data, absl::FunctionRef<bool(std::string_view)> on_message);
  /// Bytes of an incomplete message that are kept.
  size_t kept() const { return buffer_.size(); }

 private:
  absl::Status CheckPrefix(unsigned char flag, size_t size) const;
  absl::Status Deliver(bool compressed, std::string_view message,
                       absl::FunctionRef<bool(std::string_view)> on_message, bool* go_on);

  size_t max_bytes_;
  Encoding encoding_;
  std::string encoding_name_;  // where it is unknown
  std::string buffer_;         // of a message that came in pieces, with its prefix
};

/// Gunzips into at most `limit` bytes. False: malformed. A result of more than `limit` bytes is given as
/// its first `limit` + 1.
bool Gunzip(std::string_view compressed, size_t limit, std::string* out);
std::string Gzip(std::string_view data);

}  // namespace kvorum::grpc
