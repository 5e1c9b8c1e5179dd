#include "api/admin/access.h"

#include <algorithm>
#include <utility>

#include "fmt/format.h"

namespace kvorum::api_admin {
namespace {

bool Lists(const std::vector<std::string>& list, std::string_view item) {
  return std::find(list.begin(), list.end(), item) != list.end();
}

}  // namespace

AccessRules::AccessRules(std::vector<std::string> cors, std::vector<std::string> host_whitelist)
    : cors_(std::move(cors)), hosts_(std::move(host_whitelist)) {}

bool AccessRules::HostAllowed(std::string_view authority) const {
  return hosts_.empty() || Lists(hosts_, "*") || Lists(hosts_, HostOf(authority));
}

std::optional<std::string_view> AccessRules::AllowedOrigin(const std::string_view* origin) const {
  if (cors_.empty() || Lists(cors_, "*")) return "*";
  if (origin == nullptr) return std::nullopt;
  const auto allowed = std::find(cors_.begin(), cors_.end(), *origin);
  return allowed == cors_.end() ? std::nullopt : std::optional<std::string_view>(*allowed);
}

std::string_view HostOf(std::string_view authority) {
  if (authority.starts_with('[')) {
    const size_t end = authority.find(']');
    if (end == std::string_view::npos) return authority;
    return authority.substr(1, end - 1);
  }
  const size_t colon = authority.find(':');
  // Two colons and no brackets: an address without a port.
  if (colon == std::string_view::npos || authority.find(':', colon + 1) != std::string_view::npos)
    return authority;
  return authority.substr(0, colon);
}

std::string UnrecognizedHostText(std::string_view host) {
  return fmt::format(
      "\nThe request came for the host \"{}\", which this server does not know as a name of its own.\n\n"
      "Either of these lets it through:\n"
      "- Serve TLS: every HTTPS request is allowed.\n"
      "- Add the name to the list of allowed ones: --host-whitelist \"{}\"\n\n"
      "The check keeps web pages from reaching this server by DNS rebinding (CVE-2018-5702).\n",
      host, host);
}

void AddCorsHeaders(std::string_view origin, http::ResponseWriter& writer) {
  writer.AddHeader("access-control-allow-methods", "POST, GET, OPTIONS, PUT, DELETE");
  writer.AddHeader("access-control-allow-origin", origin);
  writer.AddHeader("access-control-allow-headers", "accept, content-type, authorization");
}

}  // namespace kvorum::api_admin
