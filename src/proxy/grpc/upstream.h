#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "base/log.h"
#include "base/metrics.h"
#include "grpc/channel.h"
#include "http/loop.h"

namespace kvorum::proxy_grpc {

/// --namespace: every key that clients name stands behind this prefix in the cluster. Immutable.
class KeyPrefix {
 public:
  explicit KeyPrefix(std::string prefix) : prefix_(std::move(prefix)) {}

  bool empty() const { return prefix_.empty(); }
  std::string Key(std::string_view key) const;
  /// A range of clients' keys as one of the cluster's: an end of "\0" (everything from `key` on) ends with
  /// the prefix.
  std::pair<std::string, std::string> Range(std::string_view key, std::string_view range_end) const;
  /// A key of the cluster's as clients name it. REQUIRES: it has the prefix
  std::string_view Strip(std::string_view key) const { return key.substr(prefix_.size()); }

 private:
  const std::string prefix_;
};

/// Whether the cluster has a leader, as a watch that requires one tells (reference: proxy-discovery.md
/// §11.6). On the upstream's loop only.
class LeaderState {
 public:
  virtual ~LeaderState() = default;
  virtual bool lost() const = 0;
  /// Calls `lost` each time the leader gets lost, until Forget.
  virtual uint64_t OnLost(absl::AnyInvocable<void()> lost) = 0;
  virtual void Forget(uint64_t id) = 0;
};

/// Learns it on `channel`, and lets that go on to another member where this one has no leader. On the loop
/// only; destroyed before the channel.
std::unique_ptr<LeaderState> WatchLeader(http::Loop& loop, grpc::Channel& channel, Logger& logger);

/// What the services of one proxy share. Everything is borrowed and outlives them.
struct Upstream {
  http::Loop* loop = nullptr;        ///< where watches and leases of all clients are brought together
  grpc::Channel* channel = nullptr;  ///< on that loop: the one connection to the cluster
  const KeyPrefix* prefix = nullptr;
  LeaderState* leader = nullptr;
  metrics::Registry* metrics = nullptr;
  Logger* logger = &NullLogger();
};

/// The error that streams which require a leader end with: Unavailable, "etcdserver: no leader".
absl::Status NoLeaderError();
/// The metadata that goes on with a call: the client's token ("token", "authorization"), "hasleader".
http::Headers ForwardedMetadata(const http::HeaderViews& metadata);

}  // namespace kvorum::proxy_grpc
