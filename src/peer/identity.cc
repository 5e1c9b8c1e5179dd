#include "peer/identity.h"

#include <charconv>

#include "base/status.h"
#include "base/version.h"
#include "cluster/cluster.h"
#include "fmt/ranges.h"
#include "http/text.h"

namespace kvorum::peer {

namespace {

/// What a request that does not say means.
constexpr std::string_view kOldestVersion = "2.0.0";

using MajorMinor = std::pair<uint64_t, uint64_t>;

/// Of "3.6.0" or "3.6.0-rc.1".
std::optional<MajorMinor> ParseVersion(std::string_view text) {
  const size_t first = text.find('.');
  if (first == std::string_view::npos) return std::nullopt;
  const size_t second = text.find('.', first + 1);
  if (second == std::string_view::npos) return std::nullopt;
  MajorMinor version;
  uint64_t patch = 0;
  const std::string_view last = text.substr(second + 1);
  if (!http::ParseDecimal(text.substr(0, first), &version.first) ||
      !http::ParseDecimal(text.substr(first + 1, second - first - 1), &version.second) ||
      !http::ParseDecimal(last.substr(0, last.find_first_of("-+")), &patch)) {
    return std::nullopt;
  }
  return version;
}

absl::StatusOr<MajorMinor> VersionHeader(const http::Request& request, std::string_view name) {
  const std::string_view* text = request.Find(name);
  const std::optional<MajorMinor> version = ParseVersion(text == nullptr ? kOldestVersion : *text);
  if (!version) return absl::InvalidArgumentError(fmt::format("{} is no version", name));
  return *version;
}

}  // namespace

std::optional<uint64_t> ParseId(std::string_view text) {
  uint64_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id, 16);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return id;
}

Identity::Identity(MemberId local, ClusterId cluster, const std::vector<std::string>& advertise_peer_urls)
    : local_(local), cluster_text_(cluster::IdText(cluster.value())) {
  const std::string version(kApiVersion);
  cluster_header_ = {{"x-etcd-cluster-id", cluster_text_}};
  stream_headers_ = {{"x-etcd-cluster-id", cluster_text_}, {"x-server-version", version}};
  request_headers_ = {{"x-server-from", cluster::IdText(local.value())},
                      {"x-server-version", version},
                      {"x-min-cluster-version", std::string(kMinClusterVersion)},
                      {"x-etcd-cluster-id", cluster_text_}};
  if (!advertise_peer_urls.empty()) {
    request_headers_.emplace_back("x-peerurls", fmt::format("{}", fmt::join(advertise_peer_urls, ",")));
  }
}

absl::Status Identity::Check(const http::Request& request) const {
  KVORUM_ASSIGN_OR_RETURN(const MajorMinor server, VersionHeader(request, "x-server-version"));
  KVORUM_ASSIGN_OR_RETURN(const MajorMinor min_cluster, VersionHeader(request, "x-min-cluster-version"));
  if (server < ParseVersion(kMinClusterVersion) || min_cluster > ParseVersion(kApiVersion)) {
    return absl::FailedPreconditionError(std::string(kIncompatibleVersion));
  }
  const std::string_view* cluster = request.Find("x-etcd-cluster-id");
  if (cluster == nullptr || *cluster != cluster_text_) {
    return absl::FailedPreconditionError(std::string(kClusterIdMismatch));
  }
  return absl::OkStatus();
}

Sender SenderOf(const http::Request& request) {
  Sender sender;
  if (const std::string_view* from = request.Find("x-server-from")) sender.id = ParseId(*from);
  if (const std::string_view* urls = request.Find("x-peerurls")) {
    for (std::string_view rest = *urls; !rest.empty();) {
      const size_t comma = std::min(rest.find(','), rest.size());
      if (comma > 0) sender.peer_urls.emplace_back(rest.substr(0, comma));
      rest.remove_prefix(std::min(comma + 1, rest.size()));
    }
  }
  return sender;
}

}  // namespace kvorum::peer
