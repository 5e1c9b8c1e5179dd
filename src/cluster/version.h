#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace kvorum::cluster {

/// A release, or a cluster's version, whose patch is 0.
struct Version {
  uint32_t major = 0;
  uint32_t minor = 0;
  uint32_t patch = 0;
  auto operator<=>(const Version&) const = default;

  /// "3.6.4"
  std::string Text() const;
  /// "3.6", as log lines and metrics have it.
  std::string ShortText() const;
  /// The cluster version that goes with a release.
  Version Cluster() const { return {.major = major, .minor = minor}; }
};

/// "3.6.4"; of "3.6.4-rc.1+build" what comes before the sign. Null where that is no semantic version.
std::optional<Version> ParseVersion(std::string_view text);

/// The storage version of a cluster of that version, which follows it; empty where there is none: before 3.5
/// databases have no such thing.
std::string StorageVersionOf(std::string_view cluster_version);

}  // namespace kvorum::cluster
