#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "http/handler.h"

// The texts of gRPC's headers (gRPC over HTTP/2, "Requests" and "Responses").

namespace kvorum::grpc {

/// Escapes a status message for `grpc-message`: '%' and what is not printable ASCII become %XX.
std::string PercentEncode(std::string_view text);
/// The reverse; what is no valid escape stays as it is.
std::string PercentDecode(std::string_view text);

/// "100m" is 100 ms; nullopt where `text` is no valid timeout. More than 292 years counts as that.
std::optional<std::chrono::nanoseconds> ParseTimeout(std::string_view text);
/// At most eight digits and a unit, rounded up.
std::string FormatTimeout(std::chrono::nanoseconds timeout);

/// Standard base64, padded or not; nullopt for anything else.
std::optional<std::string> DecodeBase64(std::string_view text);
/// Without padding.
std::string EncodeBase64(std::string_view data);

/// True for headers that belong to the protocol and are no metadata: te, content-type, grpc-*.
bool IsReserved(std::string_view name);

/// The trailers for a status, which may be OK.
http::Headers StatusTrailers(const absl::Status& status);

/// std's view of a status's message.
inline std::string_view Message(const absl::Status& status) {
  return {status.message().data(), status.message().size()};
}

/// A status of that code with a text put together; absl's own functions know no std::string_view.
inline absl::Status MakeStatus(absl::StatusCode code, std::string_view text) {
  return absl::Status(code, absl::string_view(text.data(), text.size()));
}

}  // namespace kvorum::grpc
