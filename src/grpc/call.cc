#include "grpc/call.h"

#include "base/check.h"
#include "grpc/metadata.h"

namespace kvorum::grpc {

namespace {

const http::Headers& ResponseHead() {
  static const http::Headers head{{"content-type", "application/grpc"}};
  return head;
}

const http::Headers& OkTrailers() {
  static const http::Headers trailers = StatusTrailers(absl::OkStatus());
  return trailers;
}

/// What is taken of a message source at a time, a little less than a whole number of pages for what stands
/// before it in memory; and at most in one turn once its time is over.
constexpr size_t kPieceBytes = (64 << 10) - 64;
constexpr size_t kTurnBytes = 1 << 20;

absl::Status DeadlineStatus() { return absl::DeadlineExceededError("context deadline exceeded"); }

}  // namespace

Call::Call(const ServerOptions& options, MethodKind kind, CallInfo info, std::string_view encoding,
           http::ResponseWriter& writer, MonotonicTime began)
    : options_(options),
      kind_(kind),
      info_(std::move(info)),
      writer_(writer),
      reader_(options.max_receive_bytes, encoding),
      began_(began) {}

Call::~Call() {
  if (timer_ != 0) writer_.loop().CancelTimer(timer_);
  if (kept_ > 0) writer_.Keep(-static_cast<ptrdiff_t>(kept_));
}

void Call::KeepAccount() {
  const size_t kept = reader_.kept();
  if (kept == kept_) return;
  const auto difference = static_cast<ptrdiff_t>(kept) - static_cast<ptrdiff_t>(kept_);
  if (writer_.Keep(difference)) {
    kept_ = kept;
    WatchDeadline();  // the rest may never come
  } else {
    Break(absl::ResourceExhaustedError("grpc: too many bytes of incomplete messages on this connection"));
  }
}

void Call::OnData(std::string_view data) {
  if (over_) return;
  absl::Status status = reader_.Feed(data, [this](std::string_view message) {
    ++messages_received_;
    bytes_received_ += message.size();
    return TakeMessage(message) && !over_;
  });
  if (over_) return;
  if (!status.ok()) return Break(status);
  KeepAccount();
}

void Call::OnAbort() {
  if (over_) return;
  over_ = true;
  Account(absl::StatusCode::kCancelled);
  OnCancelled();
}

void Call::WatchDeadline() {
  if (!info_.deadline || over_ || timer_ != 0) return;
  timer_ = writer_.loop().PostAt(*info_.deadline, [this] {
    timer_ = 0;
    Break(DeadlineStatus());
  });
}

void Call::SendHeadOnce() {
  if (std::exchange(head_sent_, true)) return;
  writer_.SendHead(200, ResponseHead());
}

void Call::EndWith(const absl::Status& status) {
  if (std::exchange(over_, true)) return;
  if (timer_ != 0) writer_.loop().CancelTimer(std::exchange(timer_, 0));
  if (head_sent_) {
    writer_.End(status.ok() ? OkTrailers() : StatusTrailers(status));
  } else {
    http::Headers head = ResponseHead();
    for (auto& trailer : StatusTrailers(status)) head.push_back(std::move(trailer));
    if (status.code() == absl::StatusCode::kUnimplemented) head.emplace_back("grpc-accept-encoding", "gzip");
    writer_.SendOnlyHead(200, head);
  }
  Account(status.code());
}

void Call::Break(const absl::Status& status) {
  if (over_) return;
  EndWith(status);
  OnCancelled();
}

void Call::Account(absl::StatusCode code) {
  if (!options_.finished) return;
  options_.finished({.info = info_for_account(),
                     .kind = kind_,
                     .code = code,
                     .duration = writer_.loop().clock().Now() - began_,
                     .messages_received = messages_received_,
                     .messages_sent = messages_sent_,
                     .bytes_received = bytes_received_,
                     .bytes_sent = bytes_sent_});
}

namespace {

class UnaryExchange;

/// What the implementation of a unary method holds. May outlive the exchange, which then is null.
class UnaryCallImpl final : public UnaryCall {
 public:
  UnaryCallImpl(UnaryExchange* exchange, http::Loop& loop, CallInfo info, std::string request)
      : exchange_(exchange), loop_(loop), info_(std::move(info)), request_(std::move(request)) {}
  ~UnaryCallImpl() override;

  const CallInfo& info() const override { return info_; }
  http::Loop& loop() override { return loop_; }
  std::string_view request() const override { return request_; }
  void Reply(Payload response) override;
  void Reply(size_t size, absl::FunctionRef<void(char* out)> fill) override;
  void Reply(std::unique_ptr<MessageSource> source) override;
  void Fail(const absl::Status& status) override;
  bool cancelled() const override { return cancelled_; }
  void OnCancel(absl::AnyInvocable<void()> callback) override { on_cancel_ = std::move(callback); }

  void Cancel() {
    exchange_ = nullptr;
    cancelled_ = true;
    if (on_cancel_) std::exchange(on_cancel_, nullptr)();
  }

 private:
  /// The exchange, for the one answer; null when there is nobody to answer.
  UnaryExchange* TakeExchange();

  UnaryExchange* exchange_;
  http::Loop& loop_;
  const CallInfo info_;
  const std::string request_;
  bool cancelled_ = false;
  bool answered_ = false;
  absl::AnyInvocable<void()> on_cancel_;
};

class UnaryExchange final : public Call {
 public:
  UnaryExchange(const ServerOptions& options, const UnaryMethod& method, CallInfo info,
                std::string_view encoding, http::ResponseWriter& writer, MonotonicTime began)
      : Call(options, MethodKind::kUnary, std::move(info), encoding, writer, began), method_(method) {}

  ~UnaryExchange() override {
    if (call_ != nullptr) call_->Cancel();
    DropSource();
  }

  void OnEnd() override {
    if (over()) return;
    if (mid_message()) return Break(absl::InternalError("unexpected EOF"));
    if (messages_received_ == 0) {
      return Break(absl::InternalError(
          "cardinality violation: received no request message from non-client-streaming RPC"));
    }
    deadline_ = info_.deadline;
    auto call = std::make_unique<UnaryCallImpl>(this, writer_.loop(), std::move(info_), std::move(request_));
    call_ = call.get();
    method_(std::move(call));
    if (over()) return;
    info_.deadline = deadline_;
    WatchDeadline();
  }

  void Answer(Payload response) {
    CountSent(response.size());
    SendHeadOnce();
    SendMessage(writer_, std::move(response));
    EndWith(absl::OkStatus());
    call_ = nullptr;
  }

  void Answer(size_t size, absl::FunctionRef<void(char* out)> fill) {
    CountSent(size);
    SendHeadOnce();
    writer_.Send(Bytes::Build(kPrefixBytes + size, [&](char* out) {
      WritePrefix(out, size);
      fill(out + kPrefixBytes);
    }));
    EndWith(absl::OkStatus());
    call_ = nullptr;
  }

  void Answer(std::unique_ptr<MessageSource> source) {
    KVORUM_CHECK(source->size() <= INT32_MAX, "a message of {} bytes", source->size());
    info_ = call_->info();
    call_ = nullptr;
    source_ = std::move(source);
    left_ = kPrefixBytes + source_->size();
    CountSent(source_->size());
    Pump(http::ResponseWriter::kHighWater);
    if (source_ == nullptr) return;
    patience_ =
        writer_.loop().PostAt(writer_.loop().clock().Now() + MessageSource::kPatience, [this] { TakeAll(); });
  }

  void Fail(const absl::Status& status) {
    EndWith(status);
    call_ = nullptr;
  }

  void OnWritable() override { Pump(http::ResponseWriter::kHighWater); }

 protected:
  bool TakeMessage(std::string_view message) override {
    if (messages_received_ > 1) {
      Break(absl::InternalError(
          "cardinality violation: received multiple request messages for non-client-streaming RPC"));
      return false;
    }
    request_ = message;
    return true;
  }

  void OnCancelled() override {
    if (call_ != nullptr) std::exchange(call_, nullptr)->Cancel();
    DropSource();
  }

  const CallInfo& info_for_account() const override;

 private:
  /// Sends what there is of the source while less than `limit` waits to be sent.
  void Pump(size_t limit) {
    while (source_ != nullptr && writer_.buffered() < limit) {
      const absl::Status status = SendPiece();
      if (status.ok() && left_ > 0) continue;
      DropSource();
      EndWith(status);
    }
  }

  absl::Status SendPiece() {
    const size_t size = std::min(left_, kPieceBytes);
    absl::Status status;
    Bytes piece = Bytes::Build(size, [&](char* out) {
      const char* const end = out + size;
      if (left_ == kPrefixBytes + source_->size()) {
        WritePrefix(out, source_->size());
        out += kPrefixBytes;
      }
      status = source_->Fill(out, static_cast<size_t>(end - out));
    });
    if (!status.ok()) return status;
    left_ -= size;
    SendHeadOnce();
    writer_.Send(std::move(piece));
    return status;
  }

  /// The source was kept long enough: takes the rest, some in each turn.
  void TakeAll() {
    patience_ = 0;
    Pump(writer_.buffered() + kTurnBytes);
    if (source_ != nullptr) {
      patience_ = writer_.loop().PostAt(writer_.loop().clock().Now(), [this] { TakeAll(); });
    }
  }

  void DropSource() {
    source_.reset();
    if (patience_ != 0) writer_.loop().CancelTimer(std::exchange(patience_, 0));
  }

  void CountSent(size_t size) {
    ++messages_sent_;
    bytes_sent_ += size;
  }

  const UnaryMethod& method_;
  UnaryCallImpl* call_ = nullptr;  // while it is being answered
  std::string request_;
  std::optional<MonotonicTime> deadline_;
  std::unique_ptr<MessageSource> source_;  // while the response is being sent
  size_t left_ = 0;                        // of it, with its prefix
  Executor::TimerId patience_ = 0;
};

const CallInfo& UnaryExchange::info_for_account() const { return call_ != nullptr ? call_->info() : info_; }

UnaryCallImpl::~UnaryCallImpl() {
  if (UnaryExchange* exchange = TakeExchange())
    exchange->Fail(absl::InternalError("the call was not answered"));
}

UnaryExchange* UnaryCallImpl::TakeExchange() { return std::exchange(exchange_, nullptr); }

void UnaryCallImpl::Reply(Payload response) {
  KVORUM_CHECK(!std::exchange(answered_, true), "a second answer to {}", info_.method);
  if (UnaryExchange* exchange = TakeExchange()) exchange->Answer(std::move(response));
}

void UnaryCallImpl::Reply(size_t size, absl::FunctionRef<void(char* out)> fill) {
  KVORUM_CHECK(!std::exchange(answered_, true), "a second answer to {}", info_.method);
  if (UnaryExchange* exchange = TakeExchange()) exchange->Answer(size, fill);
}

void UnaryCallImpl::Reply(std::unique_ptr<MessageSource> source) {
  KVORUM_CHECK(!std::exchange(answered_, true), "a second answer to {}", info_.method);
  if (UnaryExchange* exchange = TakeExchange()) exchange->Answer(std::move(source));
}

void UnaryCallImpl::Fail(const absl::Status& status) {
  KVORUM_CHECK(!status.ok(), "a failure that is none");
  KVORUM_CHECK(!std::exchange(answered_, true), "a second answer to {}", info_.method);
  if (UnaryExchange* exchange = TakeExchange()) exchange->Fail(status);
}

class StreamExchange final : public Call, public StreamWriter {
 public:
  StreamExchange(const ServerOptions& options, MethodKind kind, CallInfo info, std::string_view encoding,
                 http::ResponseWriter& writer, MonotonicTime began)
      : Call(options, kind, std::move(info), encoding, writer, began) {}

  ~StreamExchange() override { handler_.reset(); }

  void Begin(const StreamMethod& method) {
    handler_ = method(*this);
    KVORUM_CHECK(handler_ != nullptr, "{} gave no handler", info_.method);
    WatchDeadline();
  }

  const CallInfo& info() const override { return info_; }
  http::Loop& loop() override { return writer_.loop(); }
  size_t buffered() const override { return writer_.buffered(); }

  void Send(Payload message) override {
    if (over()) return;
    ++messages_sent_;
    bytes_sent_ += message.size();
    SendHeadOnce();
    SendMessage(writer_, std::move(message));
  }

  void Finish(const absl::Status& status) override { EndWith(status); }

  void OnEnd() override {
    if (over()) return;
    if (mid_message()) return Break(absl::InternalError("unexpected EOF"));
    if (kind_ == MethodKind::kServerStream && messages_received_ == 0) {
      return Break(absl::InternalError(
          "cardinality violation: received no request message from non-client-streaming RPC"));
    }
    handler_->OnHalfClose();
  }

  void OnWritable() override {
    if (!over()) handler_->OnWritable();
  }

 protected:
  bool TakeMessage(std::string_view message) override {
    if (kind_ == MethodKind::kServerStream && messages_received_ > 1) {
      Break(absl::InternalError(
          "cardinality violation: received multiple request messages for non-client-streaming RPC"));
      return false;
    }
    handler_->OnMessage(message);
    return true;
  }

  void OnCancelled() override {
    if (handler_ != nullptr) handler_->OnCancel();
  }

 private:
  std::unique_ptr<StreamHandler> handler_;
};

}  // namespace

std::unique_ptr<http::RequestSink> StartUnaryCall(const ServerOptions& options, const UnaryMethod& method,
                                                  CallInfo info, std::string_view encoding,
                                                  http::ResponseWriter& writer, MonotonicTime began) {
  return std::make_unique<UnaryExchange>(options, method, std::move(info), encoding, writer, began);
}

std::unique_ptr<http::RequestSink> StartStreamCall(const ServerOptions& options, MethodKind kind,
                                                   const StreamMethod& method, CallInfo info,
                                                   std::string_view encoding, http::ResponseWriter& writer,
                                                   MonotonicTime began) {
  auto call = std::make_unique<StreamExchange>(options, kind, std::move(info), encoding, writer, began);
  call->Begin(method);
  return call;
}

}  // namespace kvorum::grpc
