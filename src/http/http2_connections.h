#pragma once

#include <memory>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "http/client_exchange.h"
#include "http/http2_client_connection.h"

namespace kvorum::http {

/// The HTTP/2 connections of a client, one to each server that speaks it. TLS says who does (ALPN); without
/// TLS a server must be asked, for a port may take HTTP/2 for gRPC alone. Either way a connection counts from
/// its first answer on, and whoever does not give that is let be for some time. On the loop only.
class Http2Connections {
 public:
  explicit Http2Connections(ClientPool* pool) : pool_(*pool) {}

  /// The one to `server` where it has room; null otherwise. Where there is none it is made, beside this, if
  /// the server was not asked too short a while ago.
  std::shared_ptr<ExchangeConnection> Find(const std::string& server, const HttpUrl& url);
  /// Closes all of them. No exchange may be under way but those that this class asks with.
  void Stop();

 private:
  class Question;
  struct Server {
    std::shared_ptr<Dialer> dialer;                     // while dialling
    std::shared_ptr<ClientExchange> question;           // while it is asked
    std::shared_ptr<Http2ClientConnection> connection;  // since it was asked
    MonotonicTime ask_again{};                          // not before that

    bool busy() const { return dialer != nullptr || connection != nullptr; }
  };

  void Dial(const std::string& name, const HttpUrl& url);
  void Ask(const std::string& name, const HttpUrl& url, std::unique_ptr<ByteStream> stream);
  void OnAnswer(const std::string& name, bool speaks);
  void OnUnusable(const std::string& name);

  ClientPool& pool_;
  absl::flat_hash_map<std::string, Server> servers_;
};

}  // namespace kvorum::http
