#include "http/url.h"

#include "fmt/format.h"
#include "http/text.h"

namespace kvorum::http {

namespace {

absl::Status Bad(std::string_view url, std::string_view why) {
  return absl::InvalidArgumentError(fmt::format("parse \"{}\": {}", url, why));
}

}  // namespace

absl::StatusOr<HttpUrl> ParseHttpUrl(std::string_view url) {
  for (const char c : url) {
    if (static_cast<unsigned char>(c) <= ' ' || c == '\x7f') return Bad("", "invalid character in URL");
  }
  const size_t scheme_end = url.find("://");
  if (scheme_end == std::string_view::npos) return Bad(url, "missing protocol scheme");
  HttpUrl parsed;
  parsed.secure = EqualsIgnoreCase(url.substr(0, scheme_end), "https");
  if (!parsed.secure && !EqualsIgnoreCase(url.substr(0, scheme_end), "http")) {
    return Bad(url, fmt::format("unsupported protocol scheme \"{}\"", url.substr(0, scheme_end)));
  }
  std::string_view rest = url.substr(scheme_end + 3);
  rest = rest.substr(0, rest.find('#'));
  const size_t authority_end = std::min(rest.find_first_of("/?"), rest.size());

  parsed.authority = rest.substr(0, authority_end);
  parsed.target = rest.substr(authority_end);
  if (!parsed.target.starts_with('/')) parsed.target.insert(0, "/");

  std::string_view authority = parsed.authority;
  if (authority.find('@') != std::string_view::npos) return Bad(url, "user information is not taken");
  if (authority.starts_with('[')) {
    const size_t bracket = authority.find(']');
    if (bracket == std::string_view::npos) return Bad(url, "missing ']' in host");
    parsed.host = authority.substr(1, bracket - 1);
    authority.remove_prefix(bracket + 1);
  } else {
    const size_t colon = std::min(authority.find(':'), authority.size());
    parsed.host = authority.substr(0, colon);
    authority.remove_prefix(colon);
  }
  if (parsed.host.empty()) return Bad(url, "no host in URL");
  parsed.port = parsed.secure ? "443" : "80";
  if (!authority.empty() && authority != ":") {
    uint64_t port = 0;
    if (!authority.starts_with(':') || !ParseDecimal(authority.substr(1), &port) || port > 65535) {
      return Bad(url, fmt::format("invalid port \"{}\" after host", authority));
    }
    parsed.port = authority.substr(1);
  }
  return parsed;
}

}  // namespace kvorum::http
