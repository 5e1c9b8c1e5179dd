#pragma once

#include <memory>
#include <string>

#include "grpc/framing.h"
#include "grpc/server.h"

namespace kvorum::grpc {

/// What every call has: its info, its deadline, its answer's end and the account given to
/// `ServerOptions::finished`. The sink of one HTTP exchange; on the connection's loop only.
class Call : public http::RequestSink {
 public:
  /// `options` outlives it. The deadline in `info` is not watched before `WatchDeadline`.
  Call(const ServerOptions& options, MethodKind kind, CallInfo info, std::string_view encoding,
       http::ResponseWriter& writer, MonotonicTime began);
  ~Call() override;

  void OnData(std::string_view data) final;
  void OnAbort() final;

 protected:
  /// A whole message came. False: no more of them are wanted.
  virtual bool TakeMessage(std::string_view message) = 0;
  /// The call is over without the implementation having ended it: cancelled, past its deadline, or broken by
  /// what the client sent.
  virtual void OnCancelled() = 0;
  /// `info_` moves out: only the unary call does that.
  virtual const CallInfo& info_for_account() const { return info_; }

  /// Ends the call at its deadline. A unary call that is answered as soon as it came never sets a timer.
  void WatchDeadline();
  /// Ends the call from this side, with trailers. Does nothing once it is over.
  void EndWith(const absl::Status& status);
  /// Ends it with an error that is not the implementation's, and tells it.
  void Break(const absl::Status& status);
  void SendHeadOnce();
  bool over() const { return over_; }
  /// An incomplete message was begun.
  bool mid_message() const { return reader_.kept() > 0; }

  const ServerOptions& options_;
  const MethodKind kind_;
  CallInfo info_;
  http::ResponseWriter& writer_;
  uint64_t messages_received_ = 0;
  uint64_t messages_sent_ = 0;
  uint64_t bytes_received_ = 0;
  uint64_t bytes_sent_ = 0;

 private:
  void Account(absl::StatusCode code);
  void KeepAccount();

  MessageReader reader_;
  const MonotonicTime began_;
  Executor::TimerId timer_ = 0;
  size_t kept_ = 0;  // as last told to the writer
  bool head_sent_ = false;
  bool over_ = false;
};

std::unique_ptr<http::RequestSink> StartUnaryCall(const ServerOptions& options, const UnaryMethod& method,
                                                  CallInfo info, std::string_view encoding,
                                                  http::ResponseWriter& writer, MonotonicTime began);

std::unique_ptr<http::RequestSink> StartStreamCall(const ServerOptions& options, MethodKind kind,
                                                   const StreamMethod& method, CallInfo info,
                                                   std::string_view encoding, http::ResponseWriter& writer,
                                                   MonotonicTime began);

}  // namespace kvorum::grpc
