#pragma once

#include <memory>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "http/byte_stream.h"
#include "http/dialer.h"
#include "http/tls.h"

namespace kvorum::http {

/// The way to a server through an HTTP proxy (RFC 9110 §9.3.6): asks the proxy for a connection, and does the
/// TLS handshake behind it. On the loop only; shared between its user and the operations under way.
class ProxyTunnel final : public ByteStream::User, public std::enable_shared_from_this<ProxyTunnel> {
 public:
  using Done = absl::AnyInvocable<void(absl::StatusOr<std::unique_ptr<ByteStream>>)>;
  struct Server {
    std::string host;
    std::string port;
    DialTls tls;  ///< REQUIRES: with a context
  };

  /// `done` is called once, not inside this call, unless `Cancel` comes first. Errors: Unavailable, with the
  /// proxy's status where it refuses. REQUIRES: `stream` is a new one to the proxy.
  static std::shared_ptr<ProxyTunnel> Start(Loop& loop, std::unique_ptr<ByteStream> stream, Server server,
                                            MonotonicTime deadline, Done done);
  ProxyTunnel(Loop& loop, std::unique_ptr<ByteStream> stream, Server server, MonotonicTime deadline,
              Done done);

  void Cancel();

  void OnRead(size_t size, bool broken) override;
  void OnWritable() override;

 private:
  void Flush();
  void Read();
  void OnAnswer();
  void Finish(absl::StatusOr<std::unique_ptr<ByteStream>> result);

  Loop& loop_;
  std::unique_ptr<ByteStream> stream_;  // to the proxy; null once it answered
  const Server server_;
  const MonotonicTime deadline_;
  Done done_;           // empty once called or cancelled
  std::string unsent_;  // of the request
  std::string answer_;
  char buffer_[4096];
  std::shared_ptr<TlsHandshake> handshake_;  // once the proxy answered
  Executor::TimerId timer_ = 0;
};

}  // namespace kvorum::http
