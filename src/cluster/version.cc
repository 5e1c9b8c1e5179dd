#include "cluster/version.h"

#include <charconv>

#include "fmt/format.h"

namespace kvorum::cluster {

std::string Version::Text() const { return fmt::format("{}.{}.{}", major, minor, patch); }
std::string Version::ShortText() const { return fmt::format("{}.{}", major, minor); }

std::optional<Version> ParseVersion(std::string_view text) {
  text = text.substr(0, text.find_first_of("+-"));
  Version version;
  const char* at = text.data();
  const char* const end = at + text.size();
  for (uint32_t* part : {&version.major, &version.minor, &version.patch}) {
    if (part != &version.major && (at == end || *at++ != '.')) return std::nullopt;
    const auto [next, error] = std::from_chars(at, end, *part);
    if (error != std::errc()) return std::nullopt;
    at = next;
  }
  if (at != end) return std::nullopt;
  return version;
}

std::string StorageVersionOf(std::string_view cluster_version) {
  const std::optional<Version> version = ParseVersion(cluster_version);
  if (!version || *version < Version{.major = 3, .minor = 5}) return "";
  return version->Cluster().Text();
}

}  // namespace kvorum::cluster
