#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/log.h"
#include "cmd/kvorum/member_tls.h"
#include "config/config.h"
#include "http/server.h"

namespace kvorum::cmd {

/// What answers on which listener. Borrowed; each may be null: 404.
struct Handlers {
  http::Handler* grpc = nullptr;
  http::Handler* client = nullptr;
  http::Handler* metrics = nullptr;
  http::Handler* peer = nullptr;
};

/// Every port of the process. They are bound first of all, so that a busy one is found out before anything is
/// changed, and serve when there is something to answer with.
class Listeners {
 public:
  /// Everything is borrowed. Other members are served on `peer_loops`, everybody else on `loops`.
  Listeners(const config::Config& config, const ProcessTls& tls, http::LoopGroup* loops,
            http::LoopGroup* peer_loops, Logger* logger);
  ~Listeners();

  /// Binds every URL. Errors: the first that cannot be bound, as "listen tcp 127.0.0.1:2379: bind: address
  /// already in use".
  absl::Status Bind();

  /// Answers other members, until StartInner with 503: one that asks whom it may join need not wait for this
  /// one's start. Called once, after Bind.
  void StartPeers();
  /// Serves other members and metrics. Called once, after StartPeers.
  void StartInner(const Handlers& handlers);
  /// Serves clients. Called once, after StartInner.
  void StartClients();

  /// Of clients, and later of everybody else: stops accepting, gives running exchanges up to `grace`, closes
  /// what is left.
  void ShutdownClients(std::chrono::nanoseconds grace);
  void ShutdownInner(std::chrono::nanoseconds grace);

 private:
  class LateHandler;
  struct Group;

  Group MakeGroup(const std::vector<config::Url>& urls, std::string_view traffic, bool grpc);
  void Start(Group& group);
  static void Shutdown(std::vector<Group>& groups, std::chrono::nanoseconds grace);

  void LogPeerTls() const;
  void LogClientTls() const;

  const config::Config& config_;
  const ProcessTls& tls_;
  http::LoopGroup* const loops_;
  http::LoopGroup* const peer_loops_;
  Logger* const logger_;
  std::unique_ptr<LateHandler> grpc_;
  std::unique_ptr<LateHandler> client_;
  std::unique_ptr<LateHandler> metrics_;
  std::unique_ptr<LateHandler> peer_;
  std::vector<Group> inner_;    // peers, metrics
  std::vector<Group> clients_;  // gRPC and HTTP
};

}  // namespace kvorum::cmd
