#include "config/url.h"

#include <arpa/inet.h>

#include <algorithm>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "config/go_text.h"

namespace kvorum::config {
namespace {

bool IsAlpha(char c) { return (c | 0x20) >= 'a' && (c | 0x20) <= 'z'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsHex(char c) { return IsDigit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f'); }

std::string_view Trim(std::string_view text) {
  while (!text.empty() && absl::ascii_isspace(static_cast<unsigned char>(text.front())))
    text.remove_prefix(1);
  while (!text.empty() && absl::ascii_isspace(static_cast<unsigned char>(text.back()))) text.remove_suffix(1);
  return text;
}

absl::Status ParseError(std::string_view text, std::string_view cause) {
  return absl::InvalidArgumentError(fmt::format("parse {}: {}", Quoted(text), cause));
}

/// The scheme at the start of `text`: empty where there is none; false for a leading colon.
bool TakeScheme(std::string_view text, std::string_view* scheme, std::string_view* rest) {
  *rest = text;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (IsAlpha(c)) continue;
    if (c == ':') {
      if (i == 0) return false;
      *scheme = text.substr(0, i);
      *rest = text.substr(i + 1);
      return true;
    }
    const bool inner = IsDigit(c) || c == '+' || c == '-' || c == '.';
    if (!inner || i == 0) return true;
  }
  return true;
}

/// The first broken percent escape, or empty.
std::string_view BadEscape(std::string_view text) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') continue;
    if (i + 2 >= text.size() || !IsHex(text[i + 1]) || !IsHex(text[i + 2])) return text.substr(i, 3);
  }
  return {};
}

/// The first escape that may not stand in a host, or empty: only zones (%25) and bytes beyond ASCII may.
std::string_view BadHostEscape(std::string_view host) {
  if (const std::string_view bad = BadEscape(host); !bad.empty()) return bad;
  for (size_t i = host.find('%'); i != std::string_view::npos; i = host.find('%', i + 1)) {
    const bool zone = host.substr(i, 3) == "%25" && host.starts_with('[');
    if (!zone && host[i + 1] < '8') return host.substr(i, 3);
  }
  return {};
}

/// What is wrong with an authority, or empty.
std::string HostProblem(std::string_view host) {
  std::string_view port_part;
  if (host.starts_with('[')) {
    const size_t end = host.rfind(']');
    if (end == std::string_view::npos) return "missing ']' in host";
    port_part = host.substr(end + 1);
  } else if (const size_t colon = host.find(':'); colon != std::string_view::npos) {
    port_part = host.substr(colon);
  }
  const bool digits = port_part.empty() ||
                      (port_part[0] == ':' && std::all_of(port_part.begin() + 1, port_part.end(), IsDigit));
  if (!digits) return fmt::format("invalid port {} after host", Quoted(port_part));
  if (const std::string_view bad = BadHostEscape(host); !bad.empty()) {
    return fmt::format("invalid URL escape {}", Quoted(bad));
  }
  const size_t odd = host.find_first_of(" {}|\\^`");
  if (odd != std::string_view::npos) {
    return fmt::format("invalid character {} in host name", Quoted(host.substr(odd, 1)));
  }
  return "";
}

/// What Go's url.Parse takes for scheme, host and path, with its errors.
absl::StatusOr<Url> ParseGoUrl(std::string_view text) {
  if (std::any_of(text.begin(), text.end(), [](char c) { return (c >= 0 && c < 0x20) || c == 0x7f; })) {
    return ParseError(text, "net/url: invalid control character in URL");
  }
  std::string_view scheme;
  std::string_view rest;
  if (!TakeScheme(text.substr(0, text.find('#')), &scheme, &rest)) {
    return ParseError(text, "missing protocol scheme");
  }
  Url url;
  url.scheme = absl::AsciiStrToLower(std::string(scheme));
  const std::string_view before_query = rest.substr(0, rest.find('?'));
  if (!before_query.starts_with('/')) {
    if (!scheme.empty()) return url;  // opaque: no host and no path
    const std::string_view segment = before_query.substr(0, before_query.find('/'));
    if (segment.find(':') != std::string_view::npos) {
      return ParseError(text, "first path segment in URL cannot contain colon");
    }
  }
  std::string_view path = before_query;
  if (!scheme.empty() && before_query.starts_with("//")) {
    const std::string_view authority = before_query.substr(2, before_query.find('/', 2) - 2);
    path = before_query.substr(2 + authority.size());
    const size_t at = authority.rfind('@');
    const std::string_view host = at == std::string_view::npos ? authority : authority.substr(at + 1);
    if (const std::string problem = HostProblem(host); !problem.empty()) return ParseError(text, problem);
    url.host = host;
  }
  if (const std::string_view bad = BadEscape(path); !bad.empty()) {
    return ParseError(text, fmt::format("invalid URL escape {}", Quoted(bad)));
  }
  url.path = path;
  return url;
}

bool IsIp(const std::string& host) {
  in6_addr address;
  return inet_pton(AF_INET, host.c_str(), &address) == 1 || inet_pton(AF_INET6, host.c_str(), &address) == 1;
}

absl::StatusOr<Url> ParseMemberUrl(std::string_view text) {
  KVORUM_ASSIGN_OR_RETURN(Url url, ParseGoUrl(text));
  if (url.IsSocket()) return url;
  if (url.scheme != "http" && url.scheme != "https") {
    return absl::InvalidArgumentError(
        fmt::format("URL scheme must be http, https, unix, or unixs: {}", text));
  }
  std::string host;
  std::string port;
  if (!SplitHostPort(url.host, &host, &port)) {
    return absl::InvalidArgumentError(
        fmt::format("URL address does not have the form \"host:port\": {}", text));
  }
  if (!url.path.empty()) {
    return absl::InvalidArgumentError(fmt::format("URL must not contain a path: {}", text));
  }
  return url;
}

}  // namespace

std::string Url::Hostname() const {
  std::string name;
  std::string port;
  return SplitHostPort(host, &name, &port) ? name : host;
}

std::string Url::Port() const {
  std::string name;
  std::string port;
  return SplitHostPort(host, &name, &port) ? port : "";
}

bool SplitHostPort(std::string_view text, std::string* host, std::string* port) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return false;
  std::string_view name = text.substr(0, colon);
  if (name.starts_with('[')) {
    if (!name.ends_with(']')) return false;
    name = name.substr(1, name.size() - 2);
  } else if (name.find(':') != std::string_view::npos) {
    return false;  // too many colons
  }
  if (name.find_first_of("[]") != std::string_view::npos) return false;
  *host = name;
  *port = text.substr(colon + 1);
  return true;
}

absl::StatusOr<Url> ParseUrl(std::string_view text) { return ParseMemberUrl(Trim(text)); }

absl::StatusOr<std::vector<Url>> ParseUrls(std::string_view text) {
  std::set<Url> urls;
  while (true) {
    const size_t comma = text.find(',');
    KVORUM_ASSIGN_OR_RETURN(Url url, ParseUrl(text.substr(0, comma)));
    urls.insert(std::move(url));
    if (comma == std::string_view::npos) break;
    text.remove_prefix(comma + 1);
  }
  return std::vector<Url>(urls.begin(), urls.end());
}

std::vector<std::string> Texts(const std::vector<Url>& urls) {
  std::vector<std::string> texts;
  for (const Url& url : urls) texts.push_back(url.Text());
  return texts;
}

std::string JoinUrls(const std::vector<Url>& urls) { return absl::StrJoin(Texts(urls), ","); }

absl::Status CheckBindUrls(const std::vector<Url>& urls) {
  for (const Url& url : urls) {
    if (url.IsSocket()) continue;
    const std::string host = url.Hostname();
    if (host != "localhost" && !IsIp(host)) {
      return absl::InvalidArgumentError(fmt::format("expected IP in URL for binding ({})", url.Text()));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckHostUrls(const std::vector<Url>& urls) {
  for (const Url& url : urls) {
    if (!url.IsSocket() && url.Hostname().empty()) {
      return absl::InvalidArgumentError(fmt::format("unexpected empty host ({})", url.Text()));
    }
  }
  return absl::OkStatus();
}

}  // namespace kvorum::config
