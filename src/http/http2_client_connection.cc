#include "http/http2_client_connection.h"

#include <algorithm>
#include <cstring>

#include "absl/container/inlined_vector.h"
#include "base/check.h"
#include "fmt/format.h"
#include "http/http2_rules.h"
#include "http/nghttp2_text.h"
#include "http/text.h"

namespace kvorum::http {

namespace {

/// At a time, where the server allows so many.
constexpr size_t kMaxStreams = 1024;
/// Of an answer that nobody takes: this times kMaxStreams is what a server may have us hold.
constexpr int32_t kStreamWindow = 64 << 10;
constexpr int32_t kConnectionWindow = 4 << 20;
constexpr size_t kBufferBytes = 64 << 10;
/// Of one answer, with its interim ones and trailers.
constexpr size_t kHeaderLimit = 64 << 10;
constexpr size_t kUsualHeaders = 12;
constexpr int kMaxInterimResponses = 16;
constexpr uint8_t kPing[8] = {'a', 'l', 'i', 'v', 'e', '?', 0, 0};

}  // namespace

struct Http2ClientConnection::Stream {
  explicit Stream(std::shared_ptr<ClientExchange> the_exchange) : exchange(std::move(the_exchange)) {}

  const std::shared_ptr<ClientExchange> exchange;  // nghttp2 reads the request's body from it
  int32_t id = 0;
  size_t index = 0;      // in streams_
  size_t body_sent = 0;  // of the request
  size_t header_bytes = 0;
  size_t withheld = 0;  // taken while paused: of the stream's window, not yet given back
  int interim_responses = 0;
  bool refused = false;  // the request did not leave
  bool unsent = true;    // in unsent_
  bool head_told = false;
  bool over = false;  // the exchange has left, or has its answer, and is told nothing more
  ClientResponse head;
};

struct Http2ClientConnection::Callbacks {
  static Http2ClientConnection& Self(void* user_data) {
    return *static_cast<Http2ClientConnection*>(user_data);
  }

  static ssize_t ReadBody(nghttp2_session*, int32_t, uint8_t* buffer, size_t length, uint32_t* flags,
                          nghttp2_data_source* source, void*) {
    auto* stream = static_cast<Stream*>(source->ptr);
    const std::string& body = stream->exchange->request().body;
    const size_t n = std::min(length, body.size() - stream->body_sent);
    std::memcpy(buffer, body.data() + stream->body_sent, n);
    stream->body_sent += n;
    if (stream->body_sent == body.size()) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return static_cast<ssize_t>(n);
  }

  static const nghttp2_session_callbacks* Get() {
    static const nghttp2_session_callbacks* callbacks = [] {
      nghttp2_session_callbacks* c;
      KVORUM_CHECK(nghttp2_session_callbacks_new(&c) == 0, "out of memory");
      nghttp2_session_callbacks_set_on_header_callback(
          c, [](nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t name_size,
                const uint8_t* value, size_t value_size, uint8_t, void* user_data) {
            Stream* stream = Self(user_data).Find(frame->hd.stream_id);
            if (stream == nullptr) return 0;
            return Self(user_data).OnHeader(stream, TextOf(name, name_size), TextOf(value, value_size));
          });
      nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
          c, [](nghttp2_session*, uint8_t, int32_t id, const uint8_t* data, size_t size, void* user_data) {
            Self(user_data).OnData(id, TextOf(data, size));
            return 0;
          });
      nghttp2_session_callbacks_set_on_frame_recv_callback(
          c, [](nghttp2_session*, const nghttp2_frame* frame, void* user_data) {
            Self(user_data).OnFrame(*frame);
            return 0;
          });
      nghttp2_session_callbacks_set_on_stream_close_callback(
          c, [](nghttp2_session*, int32_t id, uint32_t error_code, void* user_data) {
            Self(user_data).OnStreamClose(id, error_code);
            return 0;
          });
      nghttp2_session_callbacks_set_on_frame_not_send_callback(
          c, [](nghttp2_session*, const nghttp2_frame* frame, int, void* user_data) {
            const bool request = frame->hd.type == NGHTTP2_HEADERS;
            if (Stream* stream = request ? Self(user_data).Find(frame->hd.stream_id) : nullptr) {
              stream->refused = true;
            }
            return 0;
          });
      return c;
    }();
    return callbacks;
  }

  static const nghttp2_option* Options() {
    static const nghttp2_option* options = [] {
      nghttp2_option* o;
      KVORUM_CHECK(nghttp2_option_new(&o) == 0, "out of memory");
      // Flow-control credit is given back when a sink has taken the data, not when it arrives.
      nghttp2_option_set_no_auto_window_update(o, 1);
      nghttp2_option_set_no_closed_streams(o, 1);
      return o;
    }();
    return options;
  }
};

Http2ClientConnection::Http2ClientConnection(ClientPool* pool, std::unique_ptr<ByteStream> stream,
                                             absl::AnyInvocable<void()> on_unusable)
    : pool_(pool),
      stream_(std::move(stream)),
      on_unusable_(std::move(on_unusable)),
      buffer_(new char[kBufferBytes]),
      output_(stream_.get()) {
  KVORUM_CHECK(nghttp2_session_client_new2(&session_, Callbacks::Get(), this, Callbacks::Options()) == 0,
               "out of memory");
}

Http2ClientConnection::~Http2ClientConnection() { nghttp2_session_del(session_); }

void Http2ClientConnection::Start() {
  const nghttp2_settings_entry settings[] = {
      {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kStreamWindow},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, kHeaderLimit},
  };
  nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings, std::size(settings));
  nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, kConnectionWindow);
  WantFlush();
  idle_since_ = last_input_ = pool_->loop().clock().Now();
  ArmTimer();
  stream_->Read(buffer_.get(), kBufferBytes, shared_from_this());
}

bool Http2ClientConnection::HasRoom() const {
  const size_t allowed =
      nghttp2_session_get_remote_settings(session_, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
  return !closed_ && !retired_ && streams_.size() < std::min(kMaxStreams, allowed);
}

void Http2ClientConnection::Close(const absl::Status& reason) {
  if (std::exchange(closed_, true)) return;
  const std::shared_ptr<Http2ClientConnection> self = shared_from_this();
  if (timer_ != 0) pool_->loop().CancelTimer(std::exchange(timer_, 0));
  stream_->Close();
  Retire();
  for (const std::unique_ptr<Stream>& stream : streams_) {
    if (std::exchange(stream->over, true)) continue;
    if (nghttp2_session_get_stream_local_close(session_, stream->id) < 0) {  // nghttp2 did not open it yet
      stream->exchange->OnDisplaced(/*dial=*/true);
    } else {
      stream->exchange->OnBroken(reason, answered_, !stream->head_told);
    }
  }
}

void Http2ClientConnection::Retire() {
  retired_ = true;
  if (auto told = std::exchange(on_unusable_, nullptr)) told();
}

void Http2ClientConnection::CloseIfDone() {
  if (closed_ || !retired_) return;
  const bool done = std::all_of(streams_.begin(), streams_.end(), [](const auto& one) { return one->over; });
  if (done) Close(absl::UnavailableError("the server is going away"));
}

Http2ClientConnection::Stream* Http2ClientConnection::Find(int32_t id) const {
  return closed_ ? nullptr : static_cast<Stream*>(nghttp2_session_get_stream_user_data(session_, id));
}

Http2ClientConnection::Stream* Http2ClientConnection::FindOf(const ClientExchange* exchange) const {
  if (closed_) return nullptr;
  for (const std::unique_ptr<Stream>& stream : streams_) {
    if (stream->exchange.get() == exchange && !stream->over) return stream.get();
  }
  return nullptr;
}

int32_t Http2ClientConnection::Submit(const ClientExchange& exchange, Stream* stream) {
  const ClientRequest& request = exchange.request();
  const fmt::format_int length(request.body.size());
  absl::InlinedVector<nghttp2_nv, 16> list;
  list.push_back(HeaderOf(":method", request.method));
  list.push_back(HeaderOf(":scheme", exchange.url().secure ? "https" : "http"));
  list.push_back(HeaderOf(":authority", request.host.empty() ? exchange.url().authority : request.host));
  list.push_back(HeaderOf(":path", exchange.url().target));
  for (const auto& [name, value] : request.headers) {
    if (!IsConnectionSpecific(name, value)) list.push_back(HeaderOf(name, value));
  }
  const bool get = request.method == "GET" || request.method == "HEAD";
  if (!request.body.empty() || !get) {
    list.push_back(HeaderOf("content-length", {length.data(), length.size()}));
  }
  const nghttp2_data_provider body{.source = {.ptr = stream}, .read_callback = &Callbacks::ReadBody};
  return nghttp2_submit_request(session_, nullptr, list.data(), list.size(),
                                request.body.empty() ? nullptr : &body, stream);
}

void Http2ClientConnection::Begin(std::shared_ptr<ClientExchange> exchange) {
  KVORUM_CHECK(!closed_, "a connection that is closed");
  auto stream = std::make_unique<Stream>(std::move(exchange));
  stream->id = Submit(*stream->exchange, stream.get());
  if (stream->id < 0) {  // of those there are no more
    Retire();
    CloseIfDone();
    return stream->exchange->OnDisplaced(/*dial=*/false);
  }
  stream->index = streams_.size();
  unsent_.push_back(stream.get());
  streams_.push_back(std::move(stream));
  WantFlush();
}

void Http2ClientConnection::Leave(const ClientExchange* exchange) {
  Stream* const stream = FindOf(exchange);
  if (stream == nullptr) return;
  stream->over = true;
  Reset(*stream, NGHTTP2_CANCEL);
  CloseIfDone();
}

void Http2ClientConnection::Resume(const ClientExchange* exchange) {
  Stream* const stream = FindOf(exchange);
  if (stream == nullptr || stream->withheld == 0) return;
  nghttp2_session_consume_stream(session_, stream->id, std::exchange(stream->withheld, 0));
  WantFlush();
}

void Http2ClientConnection::Reset(const Stream& stream, uint32_t error_code) {
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream.id, error_code);
  WantFlush();
}

// ---- the answers ----

void Http2ClientConnection::OnRead(size_t size, bool broken) {
  if (closed_) return;
  Loop::Turn turn(pool_->loop());
  if (broken || size == 0) {
    const std::string why(stream_->error());
    return Close(absl::UnavailableError(!why.empty() ? why : broken ? "connection reset by peer" : "EOF"));
  }
  last_input_ = pool_->loop().clock().Now();
  ping_sent_.reset();  // whatever came shows that the server lives
  const auto* data = reinterpret_cast<const uint8_t*>(buffer_.get());
  const ssize_t n = nghttp2_session_mem_recv(session_, data, size);
  if (closed_) return;  // by a callback
  if (n < 0) {
    return Close(absl::UnavailableError(
        fmt::format("malformed HTTP/2 answer: {}", nghttp2_strerror(static_cast<int>(n)))));
  }
  WantFlush();
  stream_->Read(buffer_.get(), kBufferBytes, shared_from_this());
}

int Http2ClientConnection::OnHeader(Stream* stream, std::string_view name, std::string_view value) {
  stream->header_bytes += name.size() + value.size() + 32;  // as RFC 9113 §6.5.2 counts
  if (stream->header_bytes > kHeaderLimit) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  if (stream->head_told || stream->over) return 0;  // nobody wants trailers
  if (name[0] != ':') {
    if (stream->head.headers.empty()) stream->head.headers.reserve(kUsualHeaders);
    stream->head.headers.emplace_back(name, value);
  } else if (uint64_t status; ParseDecimal(value, &status)) {
    stream->head.status = static_cast<int>(status);  // nghttp2 saw to it that it is one
  }
  return 0;
}

void Http2ClientConnection::OnFrame(const nghttp2_frame& frame) {
  if (closed_) return;
  if (frame.hd.type == NGHTTP2_GOAWAY) {
    Retire();
    return CloseIfDone();
  }
  if (frame.hd.type != NGHTTP2_HEADERS && frame.hd.type != NGHTTP2_DATA) return;
  Stream* stream = Find(frame.hd.stream_id);
  if (stream == nullptr || stream->over) return;
  if (frame.hd.type == NGHTTP2_HEADERS && !stream->head_told) OnHeadEnd(stream);
  const bool end = (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
  if (end && !closed_ && !stream->over) OnAnswerEnd(stream);
}

void Http2ClientConnection::OnHeadEnd(Stream* stream) {
  if (stream->head.status < 100) return Refuse(stream, "malformed HTTP status code");
  if (stream->head.status < 200) {
    if (++stream->interim_responses > kMaxInterimResponses) {
      return Refuse(stream, "too many 1xx informational responses");
    }
    stream->head = ClientResponse();
    return;
  }
  stream->head_told = true;
  stream->exchange->OnHead(std::move(stream->head));
}

void Http2ClientConnection::Refuse(Stream* stream, std::string_view why) {
  stream->over = true;
  Reset(*stream, NGHTTP2_PROTOCOL_ERROR);
  const std::shared_ptr<ClientExchange> exchange = stream->exchange;
  exchange->OnBroken(absl::UnavailableError(absl::string_view(why.data(), why.size())), answered_,
                     /*untouched=*/false);
  CloseIfDone();
}

void Http2ClientConnection::OnAnswerEnd(Stream* stream) {
  stream->over = true;
  answered_ = true;
  // The answer is complete: the rest of the request, if there is one, is not wanted.
  if (nghttp2_session_get_stream_local_close(session_, stream->id) == 0) Reset(*stream, NGHTTP2_NO_ERROR);
  const std::shared_ptr<ClientExchange> exchange = stream->exchange;
  exchange->OnComplete();
}

void Http2ClientConnection::OnData(int32_t id, std::string_view data) {
  Stream* const stream = Find(id);
  if (stream != nullptr && !stream->over) {
    const std::shared_ptr<ClientExchange> exchange = stream->exchange;
    exchange->OnRead();
    exchange->OnData(data);
    if (!closed_ && !stream->over && exchange->paused()) {
      nghttp2_session_consume_connection(session_, data.size());
      stream->withheld += data.size();
      return;
    }
  }
  if (!closed_) nghttp2_session_consume(session_, id, data.size());
}

void Http2ClientConnection::OnStreamClose(int32_t id, uint32_t error_code) {
  Stream* const found = Find(id);
  if (found == nullptr) return;
  nghttp2_session_set_stream_user_data(session_, id, nullptr);
  const size_t index = found->index;
  std::swap(streams_[index], streams_.back());
  streams_[index]->index = index;
  const std::unique_ptr<Stream> stream = std::move(streams_.back());
  streams_.pop_back();
  if (stream->unsent) std::erase(unsent_, stream.get());
  if (streams_.empty()) idle_since_ = last_input_;
  if (!std::exchange(stream->over, true)) {
    if (stream->refused || error_code == NGHTTP2_REFUSED_STREAM) {
      stream->exchange->OnDisplaced(/*dial=*/retired_);
    } else {
      const std::string why = stream->header_bytes > kHeaderLimit
                                  ? "net/http: header too long"
                                  : fmt::format("stream error: {}", nghttp2_http2_strerror(error_code));
      stream->exchange->OnBroken(absl::UnavailableError(why), answered_, !stream->head_told);
    }
  }
  CloseIfDone();
}

// ---- the requests ----

void Http2ClientConnection::WantFlush() {
  if (closed_ || std::exchange(flush_wanted_, true)) return;
  pool_->loop().AtTurnEnd(shared_from_this());
}

void Http2ClientConnection::OnTurnEnd() {
  flush_wanted_ = false;
  if (!closed_ && !write_blocked_) Flush();
}

void Http2ClientConnection::OnWritable() {
  write_blocked_ = false;
  if (closed_) return;
  Loop::Turn turn(pool_->loop());
  Flush();
}

void Http2ClientConnection::Flush() {
  const Http2Output::Result result = output_.Write(session_);
  if (closed_) return;  // by a callback
  if (result == Http2Output::Result::kBroken) return Close(absl::UnavailableError("write: broken pipe"));
  const bool blocked = result == Http2Output::Result::kBlocked;
  if (blocked) {
    write_blocked_ = true;
    stream_->WaitWritable(shared_from_this());
  }
  TellWritten(blocked);
  if (nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0) {
    Close(absl::UnavailableError("the server broke the protocol"));
  }
}

void Http2ClientConnection::TellWritten(bool blocked) {
  std::erase_if(unsent_, [&](Stream* stream) {
    const bool sent = !blocked && nghttp2_session_get_stream_local_close(session_, stream->id) == 1;
    if (stream->over) {
      stream->unsent = false;
    } else if (sent) {
      stream->unsent = false;
      stream->exchange->OnWritten(/*all=*/true);
    } else {
      stream->exchange->OnWriteBlocked();
    }
    return !stream->unsent;
  });
}

// ---- the time ----

void Http2ClientConnection::ArmTimer() {
  const auto wait = std::min(pool_->options().idle_timeout, pool_->options().http2_silence);
  timer_ = pool_->loop().PostAfter(wait, [weak = weak_from_this()] {
    if (const std::shared_ptr<Http2ClientConnection> self = weak.lock()) self->OnTimer();
  });
}

void Http2ClientConnection::OnTimer() {
  timer_ = 0;
  if (closed_) return;
  const MonotonicTime now = pool_->loop().clock().Now();
  const std::chrono::nanoseconds silence = pool_->options().http2_silence;
  if (streams_.empty()) {
    if (now >= idle_since_ + pool_->options().idle_timeout) {
      return Close(absl::UnavailableError("idle for too long"));
    }
  } else if (ping_sent_) {
    if (now >= *ping_sent_ + silence) return Close(absl::UnavailableError("the server is silent"));
  } else if (now >= last_input_ + silence) {
    ping_sent_ = now;
    nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, kPing);
    WantFlush();
  }
  ArmTimer();
}

}  // namespace kvorum::http
