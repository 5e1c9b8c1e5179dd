#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace kvorum::http {

/// A header that no HTTP/2 message may have (RFC 9113 §8.2.2). The name is lower case.
bool IsConnectionSpecific(std::string_view name, std::string_view value);

/// Checks one request against the rules of RFC 9113 §8: pseudo-header fields, forbidden fields, the announced
/// length. In place of nghttp2's own checks, which know no `:authority` with a slash in it: etcd's clients
/// send the path of a Unix socket there. Everything else is held to the letter.
class Http2Rules {
 public:
  // Each returns false when the request is malformed.

  /// A field of the request's head.
  bool OnField(std::string_view name, std::string_view value);
  /// The head is complete.
  bool OnHeadEnd(bool end_stream);
  /// A field of the trailer section.
  bool OnTrailerField(std::string_view name, std::string_view value) const;
  /// The trailer section is complete.
  bool OnTrailerEnd(bool end_stream) const { return end_stream && LengthMatches(); }
  bool OnData(size_t size);
  bool OnDataEnd() const { return LengthMatches(); }

 private:
  enum Pseudo : uint8_t { kMethod = 1, kScheme = 2, kPath = 4, kAuthority = 8 };

  bool OnPseudo(std::string_view name, std::string_view value);
  bool LengthMatches() const { return !announced_ || *announced_ == received_; }

  uint8_t seen_ = 0;  // of Pseudo
  bool regular_seen_ = false;
  bool is_connect_ = false;
  bool is_options_ = false;
  bool asterisk_ = false;  // the path is "*"
  std::optional<uint64_t> announced_;
  uint64_t received_ = 0;
};

}  // namespace kvorum::http
