#pragma once

#include <atomic>
#include <functional>
#include <memory>

#include "grpc/server.h"
#include "proxy/grpc/range_cache.h"
#include "proxy/grpc/upstream.h"

namespace kvorum::proxy_grpc {

struct KvProxyOptions {
  /// The channel for calls whose client is on that loop.
  std::function<grpc::Channel&(http::Loop&)> channel;
  const KeyPrefix* prefix = nullptr;  ///< borrowed
  RangeCache* cache = nullptr;        ///< borrowed
  /// --experimental-serializable-ordering: a read that is older than what some reply showed before goes to
  /// other members.
  bool serializable_ordering = false;
  size_t endpoints = 1;  ///< of the cluster
};

/// The KV service of the proxy (reference: proxy-discovery.md §11.4): reads that may be answered from memory
/// are; the rest is passed on, with the namespace before its keys.
///
/// A serializable read is never older than a write that was acknowledged through this proxy before it began,
/// as long as the cluster has a leader: a member that lags behind is asked again, for the newest.
/// Thread-safe; each call is on its client's loop.
class KvProxy {
 public:
  explicit KvProxy(KvProxyOptions options);
  ~KvProxy();

  /// Adds Range, Put, DeleteRange, Txn, Compact.
  void Register(grpc::Server* server);

 private:
  class Impl;
  const std::shared_ptr<Impl> impl_;  // shared with its calls
};

}  // namespace kvorum::proxy_grpc
