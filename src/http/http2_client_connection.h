#pragma once

#include <nghttp2/nghttp2.h>

#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "http/byte_stream.h"
#include "http/client_exchange.h"
#include "http/http2_output.h"

namespace kvorum::http {

/// The client's side of an HTTP/2 connection, on nghttp2: many exchanges at a time, each a stream. On its
/// loop only; shared between who made it, its exchanges and the I/O under way.
///
/// What the server did not process (it refused the stream, or went away before) is displaced; what it may
/// have processed is broken.
class Http2ClientConnection final : public ExchangeConnection,
                                    public TurnEnd,
                                    public ByteStream::User,
                                    public std::enable_shared_from_this<Http2ClientConnection> {
 public:
  /// `on_unusable` is called once: no more exchanges may begin, and it closes when those under way ended.
  Http2ClientConnection(ClientPool* pool, std::unique_ptr<ByteStream> stream,
                        absl::AnyInvocable<void()> on_unusable);
  ~Http2ClientConnection() override;

  /// Once, first: greets the server.
  void Start();
  /// Another exchange may begin beside those under way.
  bool HasRoom() const;
  /// An exchange over it has been answered.
  bool answered() const { return answered_; }
  /// Exchanges under way break with `reason`.
  void Close(const absl::Status& reason);

  void Begin(std::shared_ptr<ClientExchange> exchange) override;
  void Leave(const ClientExchange* exchange) override;
  void Pause(const ClientExchange*) override {}  // the exchange knows, and the window is not given back
  void Resume(const ClientExchange* exchange) override;

  void OnRead(size_t size, bool broken) override;
  void OnWritable() override;
  void OnTurnEnd() override;

 private:
  struct Stream;
  struct Callbacks;

  Stream* Find(int32_t id) const;
  Stream* FindOf(const ClientExchange* exchange) const;
  int32_t Submit(const ClientExchange& exchange, Stream* stream);
  void Reset(const Stream& stream, uint32_t error_code);
  void WantFlush();
  void Flush();
  /// Tells the exchanges whose requests were under way what became of them.
  void TellWritten(bool blocked);
  /// Takes no more exchanges.
  void Retire();
  void CloseIfDone();
  void ArmTimer();
  /// Closes what is idle for too long, or dead.
  void OnTimer();

  // What nghttp2 tells.
  int OnHeader(Stream* stream, std::string_view name, std::string_view value);
  void OnFrame(const nghttp2_frame& frame);
  void OnHeadEnd(Stream* stream);
  /// What comes is no answer.
  void Refuse(Stream* stream, std::string_view why);
  void OnAnswerEnd(Stream* stream);
  void OnData(int32_t id, std::string_view data);
  void OnStreamClose(int32_t id, uint32_t error_code);

  ClientPool* const pool_;
  const std::unique_ptr<ByteStream> stream_;
  absl::AnyInvocable<void()> on_unusable_;  // empty once called
  nghttp2_session* session_ = nullptr;
  std::vector<std::unique_ptr<Stream>>
      streams_;                  // each open one; after Close, which nghttp2 may still look at
  std::vector<Stream*> unsent_;  // of them: their exchanges wait to hear that the request left

  const std::unique_ptr<char[]> buffer_;
  Http2Output output_;
  bool flush_wanted_ = false;
  bool write_blocked_ = false;
  bool retired_ = false;
  bool closed_ = false;
  bool answered_ = false;
  MonotonicTime last_input_{};
  MonotonicTime idle_since_{};
  std::optional<MonotonicTime> ping_sent_;  // and nothing came since
  Executor::TimerId timer_ = 0;
};

}  // namespace kvorum::http
