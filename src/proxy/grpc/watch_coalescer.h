#pragma once

#include <memory>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "proxy/grpc/watch_session.h"

namespace kvorum::proxy_grpc {

/// The watch streams of all clients, brought together by their credentials: only streams with the same token
/// (or all those without) share a WatchSession, so that nobody is given what was read with another's rights.
/// Logic only; one thread.
class WatchCoalescer final : public StreamLogic {
 public:
  /// Everything is borrowed.
  WatchCoalescer(ClusterCalls* cluster, const KeyPrefix* prefix, metrics::Registry* metrics, Logger* logger)
      : cluster_(cluster), prefix_(prefix), metrics_(metrics), logger_(logger) {}
  ~WatchCoalescer() override;

  void OnOpen(ClientSink* sink, http::Headers metadata) override;
  void OnMessage(ClientSink* sink, std::string_view message) override;
  void OnHalfClose(ClientSink*) override {}  // the stream goes on
  void OnRoom(ClientSink* sink) override;
  void OnClose(ClientSink* sink) override;

  /// Watchers of the cluster.
  size_t broadcasts() const;
  void CheckInvariants() const;

 private:
  struct Client {
    WatchClient state;
    std::string credentials;
  };

  ClusterCalls* const cluster_;
  const KeyPrefix* const prefix_;
  WatchMetrics metrics_;
  Logger* const logger_;
  absl::flat_hash_map<std::string, std::unique_ptr<WatchSession>> sessions_;  // by credentials
  absl::flat_hash_map<ClientSink*, std::unique_ptr<Client>> clients_;
};

}  // namespace kvorum::proxy_grpc
