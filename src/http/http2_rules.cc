#include "http/http2_rules.h"

#include <nghttp2/nghttp2.h>

#include "http/text.h"

namespace kvorum::http {

namespace {

const uint8_t* Data(std::string_view text) { return reinterpret_cast<const uint8_t*>(text.data()); }

/// RFC 9113 §8.2.1.
bool IsFieldValid(std::string_view name, std::string_view value) {
  return nghttp2_check_header_name(Data(name), name.size()) != 0 &&
         nghttp2_check_header_value_rfc9113(Data(value), value.size()) != 0;
}

bool IsSchemeValid(std::string_view value) {
  for (const char c : value) {
    const char lower = LowerCase(c);
    const bool other = (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.';
    if ((lower < 'a' || lower > 'z') && !other) return false;
  }
  return !value.empty();
}

/// What may stand in a URI's authority, and a slash.
bool IsAuthorityValid(std::string_view value) {
  for (const char c : value) {
    if (c <= ' ' || c > '~' || c == '"' || c == '<' || c == '>' || c == '\\' || c == '^' || c == '`' ||
        c == '{' || c == '|' || c == '}') {
      return false;
    }
  }
  return true;
}

}  // namespace

bool IsConnectionSpecific(std::string_view name, std::string_view value) {
  switch (name.size()) {
    case 2:
      return name == "te" && !EqualsIgnoreCase(value, "trailers");
    case 7:
      return name == "upgrade";
    case 10:
      return name == "connection" || name == "keep-alive";
    case 16:
      return name == "proxy-connection";
    case 17:
      return name == "transfer-encoding";
    default:
      return false;
  }
}

bool Http2Rules::OnField(std::string_view name, std::string_view value) {
  if (name.empty()) return false;
  if (name[0] == ':') return OnPseudo(name, value);
  regular_seen_ = true;
  if (!IsFieldValid(name, value) || IsConnectionSpecific(name, value)) return false;
  if (name == "host") return IsAuthorityValid(value);
  if (name != "content-length") return true;
  uint64_t length;
  if (announced_ || !ParseDecimal(value, &length)) return false;
  announced_ = length;
  return true;
}

bool Http2Rules::OnPseudo(std::string_view name, std::string_view value) {
  if (regular_seen_) return false;
  uint8_t which = 0;
  if (name == ":method") {
    which = kMethod;
    is_connect_ = value == "CONNECT";
    is_options_ = value == "OPTIONS";
    if (nghttp2_check_method(Data(value), value.size()) == 0) return false;
  } else if (name == ":scheme") {
    which = kScheme;
    if (!IsSchemeValid(value)) return false;
  } else if (name == ":path") {
    which = kPath;
    asterisk_ = value == "*";
    if (value.empty() || (value[0] != '/' && !asterisk_)) return false;
    if (nghttp2_check_path(Data(value), value.size()) == 0) return false;
  } else if (name == ":authority") {
    which = kAuthority;
    if (!IsAuthorityValid(value)) return false;
  }
  if (which == 0 || (seen_ & which) != 0) return false;
  seen_ |= which;
  return true;
}

bool Http2Rules::OnHeadEnd(bool end_stream) {
  if (is_connect_) return false;  // no handler here opens tunnels
  constexpr uint8_t kRequired = kMethod | kScheme | kPath;
  if ((seen_ & kRequired) != kRequired) return false;
  if (asterisk_ && !is_options_) return false;
  return !end_stream || LengthMatches();
}

bool Http2Rules::OnTrailerField(std::string_view name, std::string_view value) const {
  return !name.empty() && name[0] != ':' && IsFieldValid(name, value) && !IsConnectionSpecific(name, value);
}

bool Http2Rules::OnData(size_t size) {
  received_ += size;
  return !announced_ || received_ <= *announced_;
}

}  // namespace kvorum::http
