#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "base/log.h"
#include "discovery/registration.h"
#include "http/loop.h"
#include "http/tls.h"

namespace kvorum::discovery {

/// The --discovery-* flags of the v3 protocol.
struct V3Options {
  std::string token;
  std::vector<std::string> endpoints;
  std::chrono::nanoseconds dial_timeout = std::chrono::seconds(2);  ///< 0: none of its own
  std::chrono::nanoseconds request_timeout = std::chrono::seconds(5);
  std::chrono::nanoseconds keepalive_time = std::chrono::seconds(2);  ///< 0: never; at least 10 s, as gRPC's
  std::chrono::nanoseconds keepalive_timeout = std::chrono::seconds(6);  ///< 0: gRPC's
  std::shared_ptr<const http::TlsContext> tls;                           ///< null: without
  std::string user;                                                      ///< empty: without authentication
  std::string password;
  http::Loop* loop = nullptr;      ///< borrowed; not the caller's thread
  Logger* logger = &NullLogger();  ///< borrowed
  /// Waits before the next try.
  std::function<void(std::chrono::nanoseconds)> pause = [](std::chrono::nanoseconds time) {
    absl::SleepFor(absl::FromChrono(time));
  };
};

/// Registers a first member in the v3 key space of the service and waits for the others: their text as
/// --initial-cluster has it (reference: proxy-discovery.md §8). Blocks, for as long as they take, and while
/// the service can't be reached. A member that registered before may do so again.
absl::StatusOr<std::string> JoinV3(const V3Options& options, const Registration& self);

}  // namespace kvorum::discovery
