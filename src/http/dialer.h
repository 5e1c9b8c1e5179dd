#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "boost/asio/ip/tcp.hpp"
#include "http/byte_stream.h"
#include "http/loop.h"

namespace kvorum::http {

/// Makes one connection to a server: looks the name up, without blocking the loop, and tries its addresses in
/// turn. This is where a stream to another server is made, and so where TLS goes. On the loop only; shared
/// between its user and the operations under way.
class Dialer final : public std::enable_shared_from_this<Dialer> {
 public:
  using Done = absl::AnyInvocable<void(absl::StatusOr<std::unique_ptr<ByteStream>>)>;

  /// `done` is called once, not inside this call, unless `Cancel` comes first. Errors, in the words of
  /// Go's net package: Unavailable; ResourceExhausted where this process can open no more.
  static std::shared_ptr<Dialer> Start(Loop& loop, std::string host, std::string port, MonotonicTime deadline,
                                       Done done);

  Dialer(Loop& loop, std::string host, std::string port, MonotonicTime deadline, Done done);

  void Cancel();

 private:
  using Tcp = boost::asio::ip::tcp;

  void Resolve();
  void OnResolved(const absl::StatusOr<std::vector<std::string>>& addresses, uint16_t port);
  void TryNext();
  void OnConnected(const boost::system::error_code& error);
  /// This attempt, or the lookup, took too long.
  void OnTimeout();
  void ArmTimer(MonotonicTime when);
  void Finish(absl::StatusOr<std::unique_ptr<ByteStream>> result);

  Loop& loop_;
  const std::string host_;
  const std::string port_;
  const MonotonicTime deadline_;
  Done done_;  // empty once called or cancelled
  Tcp::socket socket_;
  std::vector<Tcp::endpoint> endpoints_;
  size_t next_ = 0;      // of endpoints_
  size_t attempts_ = 0;  // a completion that belongs to an earlier one says nothing
  std::string error_;    // of the first attempt that failed
  Executor::TimerId timer_ = 0;
};

}  // namespace kvorum::http
