#pragma once

#include <nghttp2/nghttp2.h>

#include <memory>
#include <string>
#include <vector>

#include "grpc/client.h"
#include "grpc/framing.h"
#include "http/byte_stream.h"
#include "http/http2_output.h"
#include "http/http2_stream.h"

namespace kvorum::grpc {

/// The client's side of an HTTP/2 connection, on nghttp2, with a gRPC call on each stream. On its loop only;
/// shared between its ClientConnection, the handles of its streams and the I/O under way.
class ClientCore final : public http::TurnEnd,
                         public http::ByteStream::User,
                         public std::enable_shared_from_this<ClientCore> {
 public:
  ClientCore(http::Loop& loop, std::unique_ptr<http::ByteStream> stream, std::string authority,
             const ConnectionLimits& limits, std::string_view scheme = "http");
  ~ClientCore() override;

  void Start();
  /// Ends every call with `reason`, and takes no more.
  void Close(const absl::Status& reason);
  bool broken() const { return closed_; }
  /// Why it was closed; OK before.
  const absl::Status& close_reason() const { return close_reason_; }

  bool usable() const;
  void CloseWhenIdle();
  void OnReady(absl::AnyInvocable<void()> callback);
  void OnUnusable(absl::AnyInvocable<void()> callback) { on_unusable_ = std::move(callback); }

  ClientConnection::CallId Unary(std::string_view method, std::string_view request,
                                 ClientConnection::UnaryDone done, const http::Headers& metadata,
                                 MonotonicTime deadline);
  void CancelUnary(ClientConnection::CallId id);
  void UnaryInPieces(std::string_view method, std::string_view request, ClientConnection::UnaryPiece on_piece,
                     ClientConnection::UnaryDone done);
  std::unique_ptr<ClientConnection::Stream> OpenStream(std::string_view method,
                                                       ClientConnection::StreamCallbacks callbacks,
                                                       const http::Headers& metadata, MonotonicTime deadline);

  void OnRead(size_t size, bool broken) override;
  void OnWritable() override;
  void OnTurnEnd() override;

 private:
  struct Call;
  struct Callbacks;
  class Handle;

  /// Null where the stream could not be opened; `call` is then untouched.
  bool Submit(std::string_view method, std::unique_ptr<Call>* call, const http::Headers& metadata,
              MonotonicTime deadline);
  ClientConnection::CallId StartUnary(std::string_view method, std::string_view request,
                                      std::unique_ptr<Call> call, const http::Headers& metadata,
                                      MonotonicTime deadline);
  void Queue(Call* call, std::string_view message);
  void Resume(Call* call);
  void Cancel(Call* call);
  void Reset(Call* call, uint32_t error_code);
  void WantFlush();
  void Flush();
  void Remove(Call* call);
  void SetTimer(Call* call, MonotonicTime deadline);
  void OnDeadline(Call* call);
  void TellUnusable();
  void CallWritable();
  void FinishLater(Call* call, absl::Status status);
  void ArmKeepalive(MonotonicTime when);
  void OnKeepaliveTimer();

  // What nghttp2 tells.
  void OnHeader(Call* call, std::string_view name, std::string_view value);
  void OnFrame(const nghttp2_frame& frame);
  void OnData(Call* call, std::string_view data);
  void OnClose(Call* call, uint32_t error_code);

  http::Loop& loop_;
  const std::unique_ptr<http::ByteStream> stream_;
  const std::string authority_;
  const std::string_view scheme_;
  const ConnectionLimits limits_;
  nghttp2_session* session_ = nullptr;
  Call* calls_ = nullptr;                            // a list of every open one
  std::vector<std::unique_ptr<Call>> closed_calls_;  // ended by Close; nghttp2 may still look at them

  std::unique_ptr<char[]> buffer_;
  http::Http2Output output_;
  bool flush_wanted_ = false;
  bool write_blocked_ = false;
  bool closed_ = false;
  absl::Status close_reason_;
  bool close_when_idle_ = false;
  bool ready_ = false;  // the server's SETTINGS came
  absl::AnyInvocable<void()> on_ready_;
  absl::AnyInvocable<void()> on_unusable_;
  std::vector<Call*> writable_;  // due for on_writable

  MonotonicTime last_input_{};
  MonotonicTime ping_sent_{};
  bool ping_outstanding_ = false;
  Executor::TimerId keepalive_timer_ = 0;
};

}  // namespace kvorum::grpc
