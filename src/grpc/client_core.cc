#include "grpc/client_core.h"

#include "absl/container/inlined_vector.h"
#include "base/check.h"
#include "fmt/format.h"
#include "grpc/metadata.h"
#include "http/nghttp2_text.h"
#include "http/text.h"

namespace kvorum::grpc {

namespace {

constexpr int32_t kConnectionWindow = 256 << 20;
constexpr size_t kBufferBytes = 64 << 10;
constexpr size_t kHighWater = http::ResponseWriter::kHighWater;
constexpr uint8_t kKeepalivePing[8] = {'a', 'l', 'i', 'v', 'e', '?', 0, 0};

using http::HeaderOf;
using http::TextOf;

/// Where there is no grpc-status (gRPC's http-grpc-status-mapping).
absl::StatusCode CodeOfHttpStatus(std::string_view status) {
  if (status == "400") return absl::StatusCode::kInternal;
  if (status == "401") return absl::StatusCode::kUnauthenticated;
  if (status == "403") return absl::StatusCode::kPermissionDenied;
  if (status == "404") return absl::StatusCode::kUnimplemented;
  if (status == "429" || status == "502" || status == "503" || status == "504") {
    return absl::StatusCode::kUnavailable;
  }
  return absl::StatusCode::kUnknown;
}

absl::StatusCode CodeOfReset(uint32_t error_code) {
  switch (error_code) {
    case NGHTTP2_REFUSED_STREAM:
      return absl::StatusCode::kUnavailable;
    case NGHTTP2_CANCEL:
      return absl::StatusCode::kCancelled;
    case NGHTTP2_ENHANCE_YOUR_CALM:
      return absl::StatusCode::kResourceExhausted;
    case NGHTTP2_INADEQUATE_SECURITY:
      return absl::StatusCode::kPermissionDenied;
    default:
      return absl::StatusCode::kInternal;
  }
}

absl::Status TooLarge(size_t size, size_t limit) {
  return absl::ResourceExhaustedError(
      fmt::format("grpc: trying to send message larger than max ({} vs. {})", size, limit));
}

/// Passes the one message of a response on as it comes.
class PieceReader {
 public:
  absl::Status Feed(std::string_view data, ClientConnection::UnaryPiece& on_piece) {
    while (have_ < kPrefixBytes && !data.empty()) {
      prefix_[have_++] = data.front();
      data.remove_prefix(1);
      if (have_ < kPrefixBytes) continue;
      if (prefix_[0] != 0) return absl::InternalError("a compressed response that is wanted in pieces");
      left_ = ReadMessageSize(prefix_);
    }
    if (data.size() > left_) return absl::InternalError("more than one message in response");
    left_ -= data.size();
    if (!data.empty()) on_piece(data);
    return absl::OkStatus();
  }
  bool complete() const { return have_ == kPrefixBytes && left_ == 0; }

 private:
  char prefix_[kPrefixBytes];
  size_t have_ = 0;
  size_t left_ = 0;
};

}  // namespace

struct ClientCore::Call {
  Call(ClientConnection::UnaryDone done, size_t max_bytes)
      : max_receive_bytes(max_bytes), unary_done(std::move(done)) {}
  Call(ClientConnection::StreamCallbacks callbacks, size_t max_bytes)
      : is_stream(true), max_receive_bytes(max_bytes), stream_callbacks(std::move(callbacks)) {}

  const bool is_stream = false;
  bool half_closed = false;  // no more requests
  bool deferred = false;     // nghttp2 waits for requests
  bool cancelled = false;    // nobody is to be told anything
  bool has_response = false;
  bool reset = false;            // RST_STREAM was submitted
  bool paused = false;           // the user takes nothing for now
  bool over_high_water = false;  // of the queue
  bool writable_due = false;     // in the list for on_writable
  const size_t max_receive_bytes;
  size_t withheld = 0;  // taken while paused: of the stream's window, not yet given back
  int32_t id = 0;
  Executor::TimerId timer = 0;  // of the deadline
  Call* previous = nullptr;
  Call* next = nullptr;
  Handle* handle = nullptr;  // of a stream, while its user has it
  ClientConnection::UnaryDone unary_done;
  ClientConnection::StreamCallbacks stream_callbacks;
  http::BytesQueue queue;
  MessageReader reader{max_receive_bytes, ""};
  std::string response;                   // of a unary call
  ClientConnection::UnaryPiece on_piece;  // of one whose response comes in pieces
  PieceReader pieces;
  std::string http_status;
  std::string grpc_status;
  std::string grpc_message;
  http::Headers fields;  // of the head or the trailers that are coming, for those who want them
  absl::Status broken;   // by what the server sent

  bool wants_fields() const { return stream_callbacks.on_head || stream_callbacks.on_trailers; }
  absl::Status Result(uint32_t error_code) const;
  void Finish(const absl::Status& status) {
    if (std::exchange(cancelled, true)) return;
    if (is_stream) {
      stream_callbacks.on_end(status);
    } else {
      unary_done(status, status.ok() ? std::string_view(response) : std::string_view());
    }
  }
};

absl::Status ClientCore::Call::Result(uint32_t error_code) const {
  if (!broken.ok()) return broken;
  uint64_t code;
  if (http::ParseDecimal(grpc_status, &code)) {
    if (code == 0 && !is_stream && !has_response && !pieces.complete())
      return absl::InternalError("a response without a message");
    return MakeStatus(static_cast<absl::StatusCode>(code), PercentDecode(grpc_message));
  }
  if (error_code != NGHTTP2_NO_ERROR) {
    return MakeStatus(CodeOfReset(error_code),
                      fmt::format("stream terminated by RST_STREAM with error code: {}",
                                  nghttp2_http2_strerror(error_code)));
  }
  if (!http_status.empty() && http_status != "200") {
    return MakeStatus(CodeOfHttpStatus(http_status),
                      fmt::format("unexpected HTTP status code received from server: {}", http_status));
  }
  return absl::InternalError("server closed the stream without sending trailers");
}

/// What the user of a stream holds.
class ClientCore::Handle final : public ClientConnection::Stream {
 public:
  Handle(std::shared_ptr<ClientCore> core, Call* call) : core_(std::move(core)), call_(call) {}
  ~Handle() override {
    if (call_ == nullptr) return;
    call_->handle = nullptr;
    core_->Cancel(call_);
  }
  void Send(std::string_view message) override {
    if (call_ == nullptr || call_->half_closed) return;
    if (!call_->stream_callbacks.as_bytes && message.size() > core_->limits_.max_send_bytes) {
      call_->half_closed = true;
      return core_->FinishLater(call_, TooLarge(message.size(), core_->limits_.max_send_bytes));
    }
    core_->Queue(call_, message);
    core_->Resume(call_);
  }
  void HalfClose() override {
    if (call_ == nullptr) return;
    call_->half_closed = true;
    core_->Resume(call_);
  }
  size_t buffered() const override { return call_ == nullptr ? 0 : call_->queue.size(); }
  void Pause() override {
    if (call_ != nullptr) call_->paused = true;
  }
  void Resume() override {
    if (call_ == nullptr || !std::exchange(call_->paused, false) || call_->withheld == 0) return;
    nghttp2_session_consume_stream(core_->session_, call_->id, std::exchange(call_->withheld, 0));
    core_->WantFlush();
  }
  void Forget() { call_ = nullptr; }

 private:
  const std::shared_ptr<ClientCore> core_;
  Call* call_;  // null once it ended
};

struct ClientCore::Callbacks {
  static ClientCore& Self(void* user_data) { return *static_cast<ClientCore*>(user_data); }
  static Call* Find(nghttp2_session* session, int32_t id) {
    return static_cast<Call*>(nghttp2_session_get_stream_user_data(session, id));
  }

  static ssize_t ReadData(nghttp2_session*, int32_t, uint8_t*, size_t length, uint32_t* flags,
                          nghttp2_data_source* source, void*) {
    auto* call = static_cast<Call*>(source->ptr);
    const size_t n = std::min(length, call->queue.size());
    if (n == 0 && !call->half_closed) {
      call->deferred = true;
      return NGHTTP2_ERR_DEFERRED;
    }
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (call->half_closed && n == call->queue.size()) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return static_cast<ssize_t>(n);
  }

  static int SendData(nghttp2_session*, nghttp2_frame*, const uint8_t* head, size_t length,
                      nghttp2_data_source* source, void* user_data) {
    ClientCore& core = Self(user_data);
    if (core.output_.full()) return NGHTTP2_ERR_WOULDBLOCK;
    core.output_.queue().Append(TextOf(head, 9));
    auto* call = static_cast<Call*>(source->ptr);
    call->queue.PopInto(&core.output_.queue(), length);
    if (call->over_high_water && call->queue.size() < kHighWater / 2) {
      call->over_high_water = false;
      if (call->stream_callbacks.on_writable && !std::exchange(call->writable_due, true)) {
        core.writable_.push_back(call);
      }
    }
    return 0;
  }

  static const nghttp2_session_callbacks* Get() {
    static const nghttp2_session_callbacks* callbacks = [] {
      nghttp2_session_callbacks* c;
      KVORUM_CHECK(nghttp2_session_callbacks_new(&c) == 0, "out of memory");
      nghttp2_session_callbacks_set_on_header_callback(
          c, [](nghttp2_session* session, const nghttp2_frame* frame, const uint8_t* name, size_t name_size,
                const uint8_t* value, size_t value_size, uint8_t, void* user_data) {
            if (Call* call = Find(session, frame->hd.stream_id)) {
              Self(user_data).OnHeader(call, TextOf(name, name_size), TextOf(value, value_size));
            }
            return 0;
          });
      nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
          c, [](nghttp2_session* session, uint8_t, int32_t id, const uint8_t* data, size_t size,
                void* user_data) {
            Call* call = Find(session, id);
            if (call != nullptr) Self(user_data).OnData(call, TextOf(data, size));
            if (call == nullptr || !call->paused || call->cancelled) {
              nghttp2_session_consume(session, id, size);
            } else {
              nghttp2_session_consume_connection(session, size);
              call->withheld += size;
            }
            return 0;
          });
      nghttp2_session_callbacks_set_on_frame_recv_callback(
          c, [](nghttp2_session*, const nghttp2_frame* frame, void* user_data) {
            Self(user_data).OnFrame(*frame);
            return 0;
          });
      nghttp2_session_callbacks_set_on_stream_close_callback(
          c, [](nghttp2_session* session, int32_t id, uint32_t error_code, void* user_data) {
            if (Call* call = Find(session, id)) Self(user_data).OnClose(call, error_code);
            return 0;
          });
      nghttp2_session_callbacks_set_on_frame_not_send_callback(
          c, [](nghttp2_session* session, const nghttp2_frame* frame, int error, void*) {
            Call* call = frame->hd.type == NGHTTP2_HEADERS ? Find(session, frame->hd.stream_id) : nullptr;
            if (call != nullptr) call->broken = absl::UnavailableError(nghttp2_strerror(error));
            return 0;
          });
      nghttp2_session_callbacks_set_send_data_callback(c, &SendData);
      return c;
    }();
    return callbacks;
  }
};

ClientCore::ClientCore(http::Loop& loop, std::unique_ptr<http::ByteStream> stream, std::string authority,
                       const ConnectionLimits& limits, std::string_view scheme)
    : loop_(loop),
      stream_(std::move(stream)),
      authority_(std::move(authority)),
      scheme_(scheme),
      limits_(limits),
      buffer_(new char[kBufferBytes]),
      output_(stream_.get()) {
  nghttp2_option* option;
  KVORUM_CHECK(nghttp2_option_new(&option) == 0, "out of memory");
  // The server's limit counts once its SETTINGS are here; until then calls must not wait for a guess.
  nghttp2_option_set_peer_max_concurrent_streams(option, UINT32_MAX);
  nghttp2_option_set_no_closed_streams(option, 1);
  // Flow-control credit is given back when a user has taken the data, not when it arrives.
  nghttp2_option_set_no_auto_window_update(option, 1);
  const int error = nghttp2_session_client_new2(&session_, Callbacks::Get(), this, option);
  nghttp2_option_del(option);
  KVORUM_CHECK(error == 0, "nghttp2: {}", nghttp2_strerror(error));
}

ClientCore::~ClientCore() {
  Close(absl::UnavailableError("the connection was closed"));
  nghttp2_session_del(session_);
}

void ClientCore::Start() {
  const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
                                             {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits_.stream_window}};
  nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings, std::size(settings));
  nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, kConnectionWindow);
  WantFlush();
  if (limits_.keepalive_time.count() > 0) {
    last_input_ = loop_.clock().Now();
    ArmKeepalive(last_input_ + limits_.keepalive_time);
  }
  stream_->Read(buffer_.get(), kBufferBytes, shared_from_this());
}

bool ClientCore::usable() const {
  return !closed_ && !close_when_idle_ && nghttp2_session_check_request_allowed(session_) != 0;
}

void ClientCore::CloseWhenIdle() {
  close_when_idle_ = true;
  if (calls_ == nullptr) Close(absl::UnavailableError("the connection was closed"));
}

void ClientCore::OnReady(absl::AnyInvocable<void()> callback) {
  on_ready_ = std::move(callback);
  if (!ready_) return;
  loop_.Post([self = shared_from_this()] {
    if (auto told = std::exchange(self->on_ready_, nullptr)) told();
  });
}

void ClientCore::TellUnusable() {
  if (auto callback = std::exchange(on_unusable_, nullptr)) callback();
}

void ClientCore::Close(const absl::Status& reason) {
  if (std::exchange(closed_, true)) return;
  close_reason_ = reason;
  stream_->Close();
  if (keepalive_timer_ != 0) loop_.CancelTimer(std::exchange(keepalive_timer_, 0));
  TellUnusable();
  while (calls_ != nullptr) {
    Call* call = calls_;
    nghttp2_session_set_stream_user_data(session_, call->id, nullptr);
    Remove(call);
    closed_calls_.emplace_back(call);
    call->Finish(reason);
  }
}

void ClientCore::Remove(Call* call) {
  if (call->timer != 0) loop_.CancelTimer(std::exchange(call->timer, 0));
  if (call->writable_due) std::erase(writable_, call);
  if (call->handle != nullptr) call->handle->Forget();
  call->handle = nullptr;
  if (call->previous != nullptr) call->previous->next = call->next;
  if (call->next != nullptr) call->next->previous = call->previous;
  if (calls_ == call) calls_ = call->next;
}

bool ClientCore::Submit(std::string_view method, std::unique_ptr<Call>* call, const http::Headers& metadata,
                        MonotonicTime deadline) {
  if (closed_) return false;
  const bool as_bytes = (*call)->stream_callbacks.as_bytes;
  std::string timeout;
  absl::InlinedVector<nghttp2_nv, 12> list;
  list.push_back(HeaderOf(":method", "POST"));
  list.push_back(HeaderOf(":scheme", scheme_));
  list.push_back(HeaderOf(":path", method));
  list.push_back(HeaderOf(":authority", authority_));
  list.push_back(HeaderOf("te", "trailers"));
  if (!as_bytes) {
    list.push_back(HeaderOf("content-type", "application/grpc"));
    list.push_back(HeaderOf("user-agent", "grpc-kvorum/1"));
  }
  if (deadline != MonotonicTime::max()) {
    timeout = FormatTimeout(deadline - loop_.clock().Now());
    list.push_back(HeaderOf("grpc-timeout", timeout));
  }
  std::vector<std::string> encoded;
  encoded.reserve(metadata.size());
  for (const auto& [name, value] : metadata) {
    if (!as_bytes && name.ends_with("-bin")) {
      encoded.push_back(EncodeBase64(value));
      list.push_back(HeaderOf(name, encoded.back()));
    } else {
      list.push_back(HeaderOf(name, value));
    }
  }
  nghttp2_data_provider provider{.source = {.ptr = call->get()}, .read_callback = &Callbacks::ReadData};
  const int32_t id =
      nghttp2_submit_request(session_, nullptr, list.data(), list.size(), &provider, call->get());
  if (id < 0) return false;
  Call* opened = call->release();
  opened->id = id;
  opened->next = calls_;
  if (calls_ != nullptr) calls_->previous = opened;
  calls_ = opened;
  if (deadline != MonotonicTime::max()) SetTimer(opened, deadline);
  WantFlush();
  return true;
}

void ClientCore::SetTimer(Call* call, MonotonicTime deadline) {
  call->timer = loop_.PostAt(deadline, [this, call] { OnDeadline(call); });
}

void ClientCore::OnDeadline(Call* call) {
  call->timer = 0;
  if (call->handle != nullptr) std::exchange(call->handle, nullptr)->Forget();
  Reset(call, NGHTTP2_CANCEL);
  call->Finish(absl::DeadlineExceededError("context deadline exceeded"));
}

void ClientCore::Reset(Call* call, uint32_t error_code) {
  if (closed_ || std::exchange(call->reset, true)) return;
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, call->id, error_code);
  WantFlush();
}

ClientConnection::CallId ClientCore::Unary(std::string_view method, std::string_view request,
                                           ClientConnection::UnaryDone done, const http::Headers& metadata,
                                           MonotonicTime deadline) {
  return StartUnary(method, request, std::make_unique<Call>(std::move(done), limits_.max_receive_bytes),
                    metadata, deadline);
}

void ClientCore::CancelUnary(ClientConnection::CallId id) {
  if (closed_) return;
  Call* call = Callbacks::Find(session_, id);
  if (call != nullptr && !call->is_stream) Cancel(call);
}

void ClientCore::UnaryInPieces(std::string_view method, std::string_view request,
                               ClientConnection::UnaryPiece on_piece, ClientConnection::UnaryDone done) {
  auto call = std::make_unique<Call>(std::move(done), limits_.max_receive_bytes);
  call->on_piece = std::move(on_piece);
  StartUnary(method, request, std::move(call), {}, MonotonicTime::max());
}

ClientConnection::CallId ClientCore::StartUnary(std::string_view method, std::string_view request,
                                                std::unique_ptr<Call> call, const http::Headers& metadata,
                                                MonotonicTime deadline) {
  if (request.size() > limits_.max_send_bytes) {
    loop_.Post([call = std::move(call), status = TooLarge(request.size(), limits_.max_send_bytes)] {
      call->Finish(status);
    });
    return 0;
  }
  Queue(call.get(), request);
  call->half_closed = true;
  Call* const opened = call.get();
  if (Submit(method, &call, metadata, deadline)) return opened->id;
  loop_.Post([call = std::move(call)] { call->Finish(absl::UnavailableError("the connection is broken")); });
  return 0;
}

std::unique_ptr<ClientConnection::Stream> ClientCore::OpenStream(std::string_view method,
                                                                 ClientConnection::StreamCallbacks callbacks,
                                                                 const http::Headers& metadata,
                                                                 MonotonicTime deadline) {
  auto call = std::make_unique<Call>(std::move(callbacks), limits_.max_receive_bytes);
  auto handle = std::make_unique<Handle>(shared_from_this(), call.get());
  call->handle = handle.get();
  if (Submit(method, &call, metadata, deadline)) return handle;
  // Told later, unless the handle is gone by then.
  loop_.Post([call = std::move(call)] {
    if (call->handle == nullptr) return;
    std::exchange(call->handle, nullptr)->Forget();
    call->Finish(absl::UnavailableError("the connection is broken"));
  });
  return handle;
}

void ClientCore::Queue(Call* call, std::string_view message) {
  if (call->stream_callbacks.as_bytes) {
    call->queue.Push(Bytes::Copy(message));
  } else {
    call->queue.Push(Bytes::Build(kPrefixBytes + message.size(), [&](char* out) {
      WritePrefix(out, message.size());
      if (!message.empty()) std::memcpy(out + kPrefixBytes, message.data(), message.size());
    }));
  }
  if (call->queue.size() >= kHighWater) call->over_high_water = true;
}

void ClientCore::Resume(Call* call) {
  if (closed_) return;
  if (std::exchange(call->deferred, false)) nghttp2_session_resume_data(session_, call->id);
  WantFlush();
}

void ClientCore::Cancel(Call* call) {
  call->cancelled = true;
  if (call->timer != 0) loop_.CancelTimer(std::exchange(call->timer, 0));
  if (call->id != 0) Reset(call, NGHTTP2_CANCEL);
}

void ClientCore::FinishLater(Call* call, absl::Status status) {
  if (closed_ || call->id == 0) return;
  loop_.Post([self = shared_from_this(), id = call->id, status = std::move(status)] {
    Call* const found = self->closed_ ? nullptr : Callbacks::Find(self->session_, id);
    if (found == nullptr || found->cancelled) return;
    if (found->handle != nullptr) std::exchange(found->handle, nullptr)->Forget();
    self->Reset(found, NGHTTP2_CANCEL);
    found->Finish(status);
  });
}

void ClientCore::OnHeader(Call* call, std::string_view name, std::string_view value) {
  if (name == "grpc-status") {
    call->grpc_status = value;
  } else if (name == "grpc-message") {
    call->grpc_message = value;
  } else if (name == ":status") {
    call->http_status = value;
  } else if (name == "grpc-encoding") {
    call->reader = MessageReader(limits_.max_receive_bytes, value);
  }
  if (call->wants_fields() && name[0] != ':') call->fields.emplace_back(name, value);
}

void ClientCore::OnFrame(const nghttp2_frame& frame) {
  if (frame.hd.type == NGHTTP2_GOAWAY) return TellUnusable();
  if (frame.hd.type == NGHTTP2_SETTINGS && !std::exchange(ready_, true)) {
    if (auto told = std::exchange(on_ready_, nullptr)) told();
    return;
  }
  if (frame.hd.type != NGHTTP2_HEADERS) return;
  Call* call = Callbacks::Find(session_, frame.hd.stream_id);
  if (call == nullptr || call->cancelled || !call->wants_fields()) return;
  http::HeaderViews views;
  for (const auto& [name, value] : call->fields) views.emplace_back(name, value);
  ClientConnection::StreamCallbacks& callbacks = call->stream_callbacks;
  if ((frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) {
    if (callbacks.on_trailers && !call->grpc_status.empty()) callbacks.on_trailers(views);
  } else if (callbacks.on_head && call->http_status == "200") {
    callbacks.on_head(views);
  }
  call->fields.clear();
}

void ClientCore::OnData(Call* call, std::string_view data) {
  if (call->cancelled || !call->broken.ok() || call->http_status != "200") return;
  if (call->stream_callbacks.as_bytes) {
    call->stream_callbacks.on_message(data);
  } else if (call->on_piece) {
    call->broken = call->pieces.Feed(data, call->on_piece);
  } else {
    call->broken = call->reader.Feed(data, [call](std::string_view message) {
      if (call->is_stream) {
        call->stream_callbacks.on_message(message);
      } else {
        call->has_response = true;
        call->response = message;
      }
      return !call->cancelled;
    });
  }
  if (!call->broken.ok()) Reset(call, NGHTTP2_CANCEL);
}

void ClientCore::OnClose(Call* call, uint32_t error_code) {
  std::unique_ptr<Call> ended(call);
  nghttp2_session_set_stream_user_data(session_, call->id, nullptr);
  Remove(call);
  call->Finish(call->Result(error_code));
  if (close_when_idle_ && calls_ == nullptr) Close(absl::UnavailableError("the connection was closed"));
}

void ClientCore::OnRead(size_t size, bool broken) {
  if (closed_) return;
  http::Loop::Turn turn(loop_);
  if (broken || size == 0) {
    const std::string_view why = stream_->error();
    return Close(absl::UnavailableError(why.empty() ? "the server closed the connection"
                                                    : fmt::format("error reading from server: {}", why)));
  }
  if (keepalive_timer_ != 0) last_input_ = loop_.clock().Now();
  ping_outstanding_ = false;  // whatever came shows that the server lives
  const ssize_t n = nghttp2_session_mem_recv(session_, reinterpret_cast<const uint8_t*>(buffer_.get()), size);
  if (closed_) return;  // by a callback
  if (n < 0) return Close(absl::UnavailableError("the server broke the protocol"));
  WantFlush();
  stream_->Read(buffer_.get(), kBufferBytes, shared_from_this());
}

void ClientCore::WantFlush() {
  if (closed_ || std::exchange(flush_wanted_, true)) return;
  loop_.AtTurnEnd(shared_from_this());
}

void ClientCore::OnTurnEnd() {
  flush_wanted_ = false;
  if (!closed_ && !write_blocked_) Flush();
}

void ClientCore::OnWritable() {
  write_blocked_ = false;
  if (closed_) return;
  http::Loop::Turn turn(loop_);
  Flush();
}

void ClientCore::Flush() {
  const http::Http2Output::Result result = output_.Write(session_);
  if (closed_) return;  // by a callback
  if (result == http::Http2Output::Result::kBroken) {
    return Close(absl::UnavailableError("the connection broke"));
  }
  if (result == http::Http2Output::Result::kBlocked) {
    write_blocked_ = true;
    return stream_->WaitWritable(shared_from_this());
  }
  CallWritable();
  if (closed_) return;
  if (nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0) {
    Close(absl::UnavailableError("the server is going away"));
  }
}

void ClientCore::CallWritable() {
  while (!writable_.empty()) {
    Call* call = writable_.back();
    writable_.pop_back();
    call->writable_due = false;
    if (!call->cancelled) call->stream_callbacks.on_writable();
  }
}

void ClientCore::ArmKeepalive(MonotonicTime when) {
  keepalive_timer_ = loop_.PostAt(when, [this] { OnKeepaliveTimer(); });
}

void ClientCore::OnKeepaliveTimer() {
  keepalive_timer_ = 0;
  const MonotonicTime now = loop_.clock().Now();
  if (ping_outstanding_ && now >= ping_sent_ + limits_.keepalive_timeout) {
    return Close(absl::UnavailableError("keepalive ping failed to receive ACK within timeout"));
  }
  if (ping_outstanding_) return ArmKeepalive(ping_sent_ + limits_.keepalive_timeout);
  if (now < last_input_ + limits_.keepalive_time) return ArmKeepalive(last_input_ + limits_.keepalive_time);
  if (calls_ == nullptr && !limits_.keepalive_without_calls)
    return ArmKeepalive(now + limits_.keepalive_time);
  ping_outstanding_ = true;
  ping_sent_ = now;
  nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, kKeepalivePing);
  WantFlush();
  ArmKeepalive(now + limits_.keepalive_timeout);
}

}  // namespace kvorum::grpc
