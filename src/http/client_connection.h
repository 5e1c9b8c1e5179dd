#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "http/byte_stream.h"
#include "http/client.h"
#include "http/dialer.h"
#include "http/output_queue.h"
#include "http/proxy_tunnel.h"
#include "http/url.h"

namespace kvorum::http {

class ClientConnection;
class ClientExchange;

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
  /// A pipelined request will not be answered on this connection: it is sent again, and nothing stands before
  /// it. `dial`: not over an idle connection, for those may be broken too.
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
  /// By what connections are told apart that are kept for later requests.
  std::string Server() const;
  void Dial();
  void FailToDial(const absl::Status& status);
  DialTls Tls() const;
  /// Behind the proxy, to the server.
  void Tunnel(std::unique_ptr<ByteStream> stream, MonotonicTime deadline);
  void Attach(std::shared_ptr<ClientConnection> connection);
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
  std::shared_ptr<Dialer> dialer_;                // while dialling
  std::shared_ptr<ProxyTunnel> tunnel_;           // behind the proxy, likewise
  std::shared_ptr<ClientConnection> connection_;  // null before and after
  bool repeated_ = false;
  bool paused_ = false;

  // Since when it waits for this, if it does.
  std::optional<MonotonicTime> blocked_since_;
  std::optional<MonotonicTime> sent_at_;
  std::optional<MonotonicTime> read_at_;

  Executor::TimerId timer_ = 0;
  MonotonicTime timer_at_ = MonotonicTime::max();
};

/// The client's side of an HTTP/1.1 connection, one exchange after another. Of pipelined ones the requests go
/// out before the answers come, and what stands before others for long has the connection to itself. On its
/// loop only; shared between the pool, its exchanges and the I/O under way.
class ClientConnection final : public TurnEnd,
                               public ByteStream::User,
                               public std::enable_shared_from_this<ClientConnection> {
 public:
  /// Connections are made for one server, named by `authority`.
  ClientConnection(ClientPool* pool, std::unique_ptr<ByteStream> stream, std::string authority);
  ~ClientConnection() override;

  /// Sends the exchange's request. REQUIRES: it is idle or new, or the request is pipelined and HasRoom()
  void Begin(std::shared_ptr<ClientExchange> exchange);
  /// Another pipelined request may follow those under way.
  bool HasRoom() const;
  /// Closes without a word to the exchange whose answer is due; those behind it are displaced.
  void Close();
  /// The exchange ended before its answer did: nobody is told of that any more.
  void Leave(const ClientExchange* exchange);
  /// Nothing more of the exchange's answer is read until it takes it again, or ends.
  void Pause(const ClientExchange* exchange);
  void Resume(const ClientExchange* exchange);

  const std::string& authority() const { return authority_; }

  void OnRead(size_t size, bool broken) override;
  void OnReadable() override;
  void OnWritable() override;
  void OnTurnEnd() override;

 private:
  class Parser;

  /// Waits for input: without a buffer where it may be long in coming, as of a watch.
  void Read();
  void ReadIntoBuffer();
  /// Parses from `input`; returns how much was used.
  size_t Process(std::string_view input);
  void WriteRequest(const ClientExchange& exchange);
  /// This exchange's answer comes next.
  void Expect(std::shared_ptr<ClientExchange> exchange);
  void FinishResponse(bool input_left);
  void BecomeIdle();
  /// Nothing stands behind the answer that comes now, from here to its end.
  void TakeAlone();
  void Displace(bool dial);
  void WatchPace();
  void OnPaceTimer();
  void OnInputEnd(bool broken);
  void Break(const absl::Status& status);
  void PullMore();
  void OnPiece(const ClientExchange* exchange, absl::StatusOr<Bytes> piece);
  void WantFlush();
  void Flush();
  bool RequestSent() const { return source_ended_ && (output_.empty() || write_broken_); }

  ClientPool* const pool_;
  const std::unique_ptr<ByteStream> stream_;
  const std::string authority_;

  std::shared_ptr<ClientExchange> exchange_;  // whose answer comes next; null while idle
  /// Whose answers come after that, in this order. Who ended early stays, for the answer comes all the same.
  std::deque<std::shared_ptr<ClientExchange>> behind_;
  size_t unsent_ = 0;             // the last ones of `behind_`, which do not know whether they were sent
  bool alone_ = false;            // nothing may follow the exchange
  bool unanswered_ = false;       // answers come that nobody waits for: of no use after this one
  MonotonicTime expected_since_;  // the exchange's answer
  Executor::TimerId pace_timer_ = 0;
  std::unique_ptr<Parser> parser_;  // of the exchange, or of the last one
  std::string pending_;             // input that the parser wants more of
  std::unique_ptr<char[]> buffer_;  // null while nothing is read into it
  size_t buffer_size_;
  bool buffer_filled_ = false;  // the last time: there may be more at once
  OutputQueue output_;

  bool reading_ = false;
  bool paused_ = false;
  bool source_ended_ = true;  // or there is none
  bool pulling_ = false;
  bool flush_wanted_ = false;
  bool write_blocked_ = false;
  bool write_broken_ = false;  // the server may have answered all the same
  bool closed_ = false;
  bool reused_ = false;
  Executor::TimerId idle_timer_ = 0;
};

}  // namespace kvorum::http
