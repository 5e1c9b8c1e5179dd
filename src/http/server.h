#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/log.h"
#include "http/handler.h"
#include "http/loop.h"
#include "http/tls.h"

namespace kvorum::http {

struct ServerOptions {
  /// Answers gRPC requests: HTTP/2 with a content-type that begins with application/grpc. May be null: those
  /// go to `handler`. Borrowed.
  Handler* grpc_handler = nullptr;
  /// Answers every other request. May be null: 404. Borrowed.
  Handler* handler = nullptr;
  Logger* logger = &NullLogger();  ///< borrowed

  std::shared_ptr<const TlsContext> tls;  ///< for https and unixs; null: those are refused
  std::chrono::nanoseconds handshake_timeout = std::chrono::seconds(30);
  size_t max_handshakes = 1024;  ///< under way at a time; another one ends the oldest
  /// A client that shows a certificate with names or addresses must have come from one of them (tls_names.h).
  bool check_client_names = false;
  std::string name = "client endpoint";  ///< what the log calls it

  uint32_t max_concurrent_streams = UINT32_MAX;  ///< HTTP/2, a connection
  size_t max_header_bytes = 64 << 10;            ///< of one request, decoded; more: 431 or ENHANCE_YOUR_CALM
  std::chrono::nanoseconds header_timeout = std::chrono::minutes(5);
  /// HTTP/1.1: an idle connection is closed after this; 0: never.
  std::chrono::nanoseconds idle_timeout{0};
  // gRPC's keep-alive (reference: v3-api.md §2.2).
  std::chrono::nanoseconds keepalive_min_time = std::chrono::seconds(5);
  std::chrono::nanoseconds keepalive_interval = std::chrono::hours(2);
  std::chrono::nanoseconds keepalive_timeout = std::chrono::seconds(20);
  bool reuse_port = false;     ///< SO_REUSEPORT
  bool reuse_address = false;  ///< changes nothing: SO_REUSEADDR is always set, as Go's listeners do
};

/// Where to listen: "http://127.0.0.1:2379", "unix://path", and with TLS "https://…", "unixs://…".
struct ListenAddress {
  std::string url;
};

/// Listens, accepts, tells HTTP/1.1 and HTTP/2 (prior knowledge) apart by the first bytes, and hands requests
/// to the handlers, under TLS too (ALPN h2 and http/1.1). Connections are spread over the loops. One whose
/// handshake fails is logged ("rejected connection on client endpoint") and seen by no handler.
class Server {
 public:
  /// Loops are borrowed and outlive the server.
  Server(LoopGroup* loops, ServerOptions options);
  ~Server();

  /// Binds at once; accepts only after `Start`. One address may be given both with TLS and without: the first
  /// byte of a connection tells. Returns the address bound ("127.0.0.1:2379": with the real
  /// port where 0 was asked for). Errors: as the system says, e.g. "listen tcp 127.0.0.1:2379: bind: address
  /// already in use".
  absl::StatusOr<std::string> Listen(const ListenAddress& address);
  void Start();

  /// Stops accepting; tells HTTP/2 clients to go away (GOAWAY), closes idle connections, waits for running
  /// exchanges up to `grace`, then closes the rest. Blocks; not from a loop.
  void Shutdown(std::chrono::nanoseconds grace);

  size_t connection_count() const;

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;  // shared with its connections
};

}  // namespace kvorum::http
