#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "boost/asio/ip/tcp.hpp"
#include "http/byte_stream.h"
#include "http/connecting.h"
#include "http/loop.h"
#include "http/tls.h"

namespace kvorum::http {

/// What a connection is encrypted with.
struct DialTls {
  std::shared_ptr<const TlsContext> context;  ///< null: it is not
  std::vector<std::string> protocols;         ///< ALPN; empty: the context's
};

/// Makes one connection to a server: looks the name up, without blocking the loop, tries its addresses in
/// turn, and does the handshake with the first that answers. On the loop only; shared between its user and
/// the operations under way.
class Dialer final : public std::enable_shared_from_this<Dialer> {
 public:
  using Done = absl::AnyInvocable<void(absl::StatusOr<std::unique_ptr<ByteStream>>)>;

  /// `done` is called once, not inside this call, unless `Cancel` comes first. Errors, in the words of
  /// Go's net and crypto/tls packages: Unavailable; ResourceExhausted where this process can open no more.
  static std::shared_ptr<Dialer> Start(Loop& loop, std::string host, std::string port, MonotonicTime deadline,
                                       Done done, DialTls tls = {});

  Dialer(Loop& loop, std::string host, std::string port, MonotonicTime deadline, Done done, DialTls tls);

  void Cancel();

 private:
  using Tcp = boost::asio::ip::tcp;

  void Resolve();
  void OnResolved(const absl::StatusOr<std::vector<std::string>>& addresses, uint16_t port);
  void TryNext();
  /// `error`: an errno, 0 where it is connected.
  void OnConnected(int error);
  /// This attempt, or the lookup, took too long.
  void OnTimeout();
  void ArmTimer(MonotonicTime when);
  void Finish(absl::StatusOr<std::unique_ptr<ByteStream>> result);

  Loop& loop_;
  const std::string host_;
  const std::string port_;
  const MonotonicTime deadline_;
  Done done_;  // empty once called or cancelled
  const DialTls tls_;
  Connecting connecting_;
  std::vector<Tcp::endpoint> endpoints_;
  size_t next_ = 0;                          // of endpoints_
  std::string error_;                        // of the first attempt that failed
  std::shared_ptr<TlsHandshake> handshake_;  // while it is under way
  Executor::TimerId timer_ = 0;
};

}  // namespace kvorum::http
