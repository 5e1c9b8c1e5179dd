#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "base/log.h"
#include "discovery/registration.h"
#include "http/client.h"

namespace kvorum::discovery {

struct V2Options {
  std::string url;                 ///< --discovery: the token's URL
  std::string proxy;               ///< --discovery-proxy; empty: none
  http::Client* client = nullptr;  ///< borrowed
  Logger* logger = &NullLogger();  ///< borrowed
  /// Waits before the next try.
  std::function<void(std::chrono::nanoseconds)> pause = [](std::chrono::nanoseconds time) {
    absl::SleepFor(absl::FromChrono(time));
  };
};

/// Registers a first member with the service and waits until there are as many as the token's size says:
/// their text as --initial-cluster has it (reference: proxy-discovery.md §7). Blocks, for as long as the
/// others take, and while the service can't be reached. Errors: §7.3; `IsFull` tells the one after which a
/// proxy may be started instead.
absl::StatusOr<std::string> JoinV2(const V2Options& options, const Registration& self);
bool IsFull(const absl::Status& status);

/// The same without a registration, for proxies: waits until the cluster is whole; a full one is no error.
absl::StatusOr<std::string> ClusterV2(const V2Options& options);

}  // namespace kvorum::discovery
