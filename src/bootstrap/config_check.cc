#include "bootstrap/config_check.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/status.h"
#include "fmt/format.h"
#include "fmt/ranges.h"

namespace kvorum::bootstrap {
namespace {

using Urls = std::vector<std::string>;

absl::Status Bad(std::string text) { return absl::InvalidArgumentError(std::move(text)); }

std::string Quoted(const Urls& urls) {
  std::string out = "[";
  for (const std::string& url : urls) out += fmt::format("{}\"{}\"", out.size() > 1 ? " " : "", url);
  return out + "]";
}

/// `url` with its host replaced by the host's address.
absl::StatusOr<std::string> Resolved(const Options& options, const std::string& url) {
  const size_t scheme = url.find("://");
  if (!options.resolve || scheme == std::string::npos) return url;
  const size_t host = scheme + 3;
  const size_t port = url.rfind(':');
  if (port == std::string::npos || port < host) return url;
  const std::string name = url.substr(host, port - host);
  if (name == "localhost" || name.find_first_not_of("0123456789.") == std::string::npos ||
      name.starts_with('[')) {
    return url;
  }
  KVORUM_ASSIGN_OR_RETURN(const std::string address, options.resolve(name));
  return url.substr(0, host) + address + url.substr(port);
}

/// The URLs of `some` that are not in `others`, each behind `prefix`.
std::string Missing(const Urls& some, const Urls& others, std::string_view prefix) {
  std::string out;
  for (const std::string& url : some) {
    if (std::find(others.begin(), others.end(), url) != others.end()) continue;
    out += fmt::format("{}{}{}", out.empty() ? "" : ",", prefix, url);
  }
  return out;
}

absl::Status CheckAdvertised(const Options& options, const Urls& own) {
  const Urls& advertised = options.advertise_peer_urls;
  const absl::Status same = SameUrls(options, advertised, own);
  if (same.ok()) return same;
  const std::string cause(same.message());
  const std::string list = fmt::format("{}", fmt::join(advertised, ","));
  if (const std::string missing = Missing(own, advertised, options.name + "="); !missing.empty()) {
    return Bad(fmt::format("--initial-cluster has {} but missing from --initial-advertise-peer-urls={} ({})",
                           missing, list, cause));
  }
  const std::string map = InitialClusterText({{options.name, own}});
  if (const std::string missing = Missing(advertised, own, ""); !missing.empty()) {
    return Bad(fmt::format("--initial-advertise-peer-urls has {} but missing from --initial-cluster={} ({})",
                           missing, map, cause));
  }
  return Bad(fmt::format("failed to resolve {} to match --initial-cluster={} ({})", list, map, cause));
}

}  // namespace

std::string InitialClusterText(const ClusterMap& cluster) {
  Urls parts;
  for (const auto& [name, urls] : cluster) {
    for (const std::string& url : urls) parts.push_back(name + "=" + url);
  }
  std::sort(parts.begin(), parts.end());
  return fmt::format("{}", fmt::join(parts, ","));
}

absl::Status SameUrls(const Options& options, Urls a, Urls b) {
  if (a.size() != b.size()) return Bad(fmt::format("len({}) != len({})", Quoted(a), Quoted(b)));
  std::sort(a.begin(), a.end());
  std::sort(b.begin(), b.end());
  if (a == b) return absl::OkStatus();
  for (Urls* urls : {&a, &b}) {
    for (std::string& url : *urls) {
      KVORUM_ASSIGN_OR_RETURN(url, Resolved(options, url));
    }
    std::sort(urls->begin(), urls->end());
  }
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i] != b[i]) return Bad(fmt::format("resolved urls: \"{}\" != \"{}\"", a[i], b[i]));
  }
  return absl::OkStatus();
}

bool HasDuplicateUrl(const ClusterMap& cluster) {
  std::set<std::string> seen;
  for (const auto& [name, urls] : cluster) {
    for (const std::string& url : urls) {
      if (!seen.insert(url).second) return true;
    }
  }
  return false;
}

absl::Status CheckConfiguration(const Options& options) {
  const bool joins = options.initial_cluster_state == ClusterState::kExisting;
  if (options.initial_cluster.empty() && !joins) {
    return Bad("initial cluster unset and no discovery URL found");
  }
  const auto own = options.initial_cluster.find(options.name);
  if (own == options.initial_cluster.end()) {
    return Bad(
        fmt::format("couldn't find local name \"{}\" in the initial cluster configuration", options.name));
  }
  if (!joins) KVORUM_RETURN_IF_ERROR(CheckAdvertised(options, own->second));
  if (HasDuplicateUrl(options.initial_cluster)) {
    return Bad(
        fmt::format("initial cluster {} has duplicate url", InitialClusterText(options.initial_cluster)));
  }
  if (joins && options.discover) {
    return Bad("discovery URL should not be set when joining existing initial cluster");
  }
  return absl::OkStatus();
}

}  // namespace kvorum::bootstrap
