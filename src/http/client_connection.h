#pragma once

#include <deque>
#include <memory>
#include <string>

#include "http/byte_stream.h"
#include "http/client_exchange.h"
#include "http/output_queue.h"

namespace kvorum::http {

/// The client's side of an HTTP/1.1 connection, one exchange after another. Of pipelined ones the requests go
/// out before the answers come, and what stands before others for long has the connection to itself. On its
/// loop only; shared between the pool, its exchanges and the I/O under way.
class ClientConnection final : public ExchangeConnection,
                               public TurnEnd,
                               public ByteStream::User,
                               public std::enable_shared_from_this<ClientConnection> {
 public:
  /// Connections are made for one server, named by `authority`.
  ClientConnection(ClientPool* pool, std::unique_ptr<ByteStream> stream, std::string authority);
  ~ClientConnection() override;

  /// Sends the exchange's request. REQUIRES: it is idle or new, or the request is pipelined and HasRoom()
  void Begin(std::shared_ptr<ClientExchange> exchange) override;
  /// Another pipelined request may follow those under way.
  bool HasRoom() const;
  /// Closes without a word to the exchange whose answer is due; those behind it are displaced.
  void Close();
  void Leave(const ClientExchange* exchange) override;
  void Pause(const ClientExchange* exchange) override;
  void Resume(const ClientExchange* exchange) override;

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
