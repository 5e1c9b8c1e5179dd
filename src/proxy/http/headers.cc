#include "proxy/http/headers.h"

#include <algorithm>
#include <vector>

#include "http/text.h"

namespace kvorum::proxy_http {
namespace {

constexpr std::string_view kForwardedFor = "x-forwarded-for";

/// Trailers are not passed on, so nothing announces them.
bool IsOfOneHop(std::string_view name) {
  static constexpr std::string_view kNames[] = {
      "connection", "keep-alive", "proxy-authenticate", "proxy-authorization",
      "te",         "trailer",    "trailers",           "transfer-encoding",
      "upgrade"};
  return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
}

bool IsCors(std::string_view name) { return name.starts_with("access-control-allow-"); }

std::string_view Trimmed(std::string_view text) {
  const size_t begin = std::min(text.find_first_not_of(" \t"), text.size());
  return text.substr(begin, text.find_last_not_of(" \t") + 1 - begin);
}

/// What a Connection header says of others: the names that are not the usual ones.
std::vector<std::string> NamedByConnection(std::string_view value) {
  std::vector<std::string> names;
  while (!value.empty()) {
    const size_t comma = std::min(value.find(','), value.size());
    const std::string_view name = Trimmed(value.substr(0, comma));
    value.remove_prefix(std::min(comma + 1, value.size()));
    if (!name.empty()) names.push_back(http::LowerCase(name));
  }
  return names;
}

bool Lists(const std::vector<std::string>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

std::string_view AddressOf(std::string_view remote) {
  const size_t colon = remote.rfind(':');
  if (colon == std::string_view::npos) return {};
  std::string_view address = remote.substr(0, colon);
  if (address.starts_with('[') && address.ends_with(']')) address = address.substr(1, address.size() - 2);
  return address;
}

http::Headers ForwardedHeaders(const http::Request& request) {
  std::vector<std::string> named;
  if (const std::string_view* connection = request.Find("connection")) named = NamedByConnection(*connection);
  http::Headers forwarded;
  forwarded.reserve(request.headers.size() + 1);
  std::string clients;
  for (const auto& [name, value] : request.headers) {
    // The body is here, and its length known.
    if (name == "host" || name == "content-length" || name == "expect" || IsOfOneHop(name)) continue;
    if (!named.empty() && Lists(named, name)) continue;
    if (name == kForwardedFor) {
      clients.append(value).append(", ");
      continue;
    }
    forwarded.emplace_back(name, value);
  }
  clients += AddressOf(request.remote);
  if (clients.ends_with(", ")) clients.resize(clients.size() - 2);
  if (!clients.empty()) forwarded.emplace_back(kForwardedFor, std::move(clients));
  return forwarded;
}

http::Headers ReturnedHeaders(http::Headers headers) {
  std::vector<std::string> named;
  for (const auto& [name, value] : headers) {
    if (name == "connection") named = NamedByConnection(value);
  }
  std::erase_if(headers, [&](const auto& header) {
    return IsOfOneHop(header.first) || IsCors(header.first) || Lists(named, header.first);
  });
  return headers;
}

}  // namespace kvorum::proxy_http
