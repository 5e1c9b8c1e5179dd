#pragma once

#include <memory>
#include <optional>
#include <string>

#include "http/client.h"
#include "http/dialer.h"
#include "http/proxy_tunnel.h"
#include "http/url.h"

namespace kvorum::http {

class ClientConnection;
class ClientExchange;

/// What carries exchanges: a connection to one server. On its loop only.
class ExchangeConnection {
 public:
  virtual ~ExchangeConnection() = default;
  /// Sends the exchange's request. REQUIRES: there is room for it
  virtual void Begin(std::shared_ptr<ClientExchange> exchange) = 0;
  /// The exchange ended before its answer did: nobody is told of that any more.
  virtual void Leave(const ClientExchange* exchange) = 0;
  /// Nothing more of the exchange's answer is taken until it takes it again, or ends.
  virtual void Pause(const ClientExchange* exchange) = 0;
  virtual void Resume(const ClientExchange* exchange) = 0;
};

/// Who keeps connections and exchanges. On the loop only.
class ClientPool {
 public:
  virtual ~ClientPool() = default;
  virtual Loop& loop() = 0;
  virtual const ClientOptions& options() const = 0;
  /// An idle connection to `authority`, or null.
  virtual std::shared_ptr<ClientConnection> TakeIdle(const std::string& authority) = 0;
  /// One to `authority` that is not idle and has room for a pipelined request, or null.
  virtual std::shared_ptr<ClientConnection> FindPipelined(const std::string& authority) = 0;
  /// From now on, and until it is idle or closed, `FindPipelined` may find it.
  virtual void OnPipelined(const std::shared_ptr<ClientConnection>& connection) = 0;
  /// One to `authority`, of which `url` is, that takes an exchange more beside those under way; null: none
  /// yet.
  virtual std::shared_ptr<ExchangeConnection> FindMultiplexed(const std::string& authority,
                                                              const HttpUrl& url) = 0;
  virtual void OnIdle(const std::shared_ptr<ClientConnection>& connection) = 0;
  virtual void OnClosed(ClientConnection* connection) = 0;
  virtual void OnEnded(ClientExchange* exchange) = 0;
};

/// One request and its response: dials where no connection is idle, and watches the time. On the loop only;
/// shared between the pool, the user and the connection.
class ClientExchange final : public Exchange, public std::enable_shared_from_this<ClientExchange> {
 public:
  ClientExchange(ClientPool* pool, ClientRequest request, const ExchangeOptions& options,
                 std::shared_ptr<ResponseSink> sink, std::shared_ptr<BodySource> source);

  void Start();
  /// Over this connection, which has room for it.
  void StartOn(std::shared_ptr<ExchangeConnection> connection);
  void Cancel() override;
  void Pause() override;
  void Resume() override;
  void Fail(const absl::Status& status);

  // What the connection tells.

  void OnHead(ClientResponse head);
  void OnData(std::string_view data);
  /// The response is complete.
  void OnComplete();
  /// The connection is of no use any more. `untouched`: nothing of a response had come.
  void OnBroken(const absl::Status& status, bool reused, bool untouched);
  /// The request will not be answered on this connection, as it was not processed, or may be sent twice: it
  /// is sent again, and nothing stands before it. `dial`: not over an idle connection, for those may be
  /// broken too.
  void OnDisplaced(bool dial);
  /// Bytes left; `all`: the request is out.
  void OnWritten(bool all);
  void OnWriteBlocked();
  void OnRead();

  const ClientRequest& request() const { return request_; }
  const HttpUrl& url() const { return url_; }
  /// What the request line asks for: of a proxy the whole URL (RFC 9112 §3.2.2).
  std::string Target() const;
  const std::shared_ptr<BodySource>& source() const { return source_; }
  bool pipelined() const { return options_.pipelined; }
  bool paused() const { return paused_; }
  bool ended() const { return sink_ == nullptr; }

 private:
  /// False where there was something wrong with the request, which has failed then.
  bool Prepare();
  /// By what connections are told apart that are kept for later requests.
  std::string Server() const;
  void Dial();
  void FailToDial(const absl::Status& status);
  DialTls Tls() const;
  /// Behind the proxy, to the server.
  void Tunnel(std::unique_ptr<ByteStream> stream, MonotonicTime deadline);
  void Attach(std::shared_ptr<ExchangeConnection> connection);
  /// Sink and everything else let go; the sink, to tell it the end.
  std::shared_ptr<ResponseSink> Detach();
  /// When the first limit that runs is reached.
  MonotonicTime Due() const;
  void Arm();
  void OnTimer();

  ClientPool* const pool_;
  const ClientRequest request_;
  const ExchangeOptions options_;
  std::shared_ptr<ResponseSink> sink_;  // null once ended
  std::shared_ptr<BodySource> source_;
  HttpUrl url_;
  std::optional<HttpUrl> proxy_;
  std::shared_ptr<Dialer> dialer_;                  // while dialling
  std::shared_ptr<ProxyTunnel> tunnel_;             // behind the proxy, likewise
  std::shared_ptr<ExchangeConnection> connection_;  // null before and after
  bool repeated_ = false;
  bool paused_ = false;

  // Since when it waits for this, if it does.
  std::optional<MonotonicTime> blocked_since_;
  std::optional<MonotonicTime> sent_at_;
  std::optional<MonotonicTime> read_at_;

  Executor::TimerId timer_ = 0;
  MonotonicTime timer_at_ = MonotonicTime::max();
};

}  // namespace kvorum::http
