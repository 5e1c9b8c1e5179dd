#pragma once

#include <string_view>

namespace kvorum {

/// Kvorum's own version.
inline constexpr std::string_view kKvorumVersion = "0.1.0";
/// The API level that clients are told: what Kubernetes, Patroni and dashboards switch features on by.
inline constexpr std::string_view kApiVersion = "3.7.1";
/// The cluster version of a cluster of such members, and its storage version.
inline constexpr std::string_view kClusterVersion = "3.7.0";
inline constexpr std::string_view kStorageVersion = "3.7.0";
/// The oldest release that a member of ours can stand in one cluster with.
inline constexpr std::string_view kMinClusterVersion = "3.0.0";

}  // namespace kvorum
