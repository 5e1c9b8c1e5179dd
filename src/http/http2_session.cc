#include "http/http2_session.h"

#include <algorithm>

#include "base/check.h"
#include "http/nghttp2_text.h"

namespace kvorum::http {

namespace {

constexpr int32_t kStreamWindow = 1 << 20;
constexpr int32_t kConnectionWindow = 4 << 20;
/// Replies that wait in memory; above it, requests of this connection wait until half of it has drained.
constexpr size_t kQueuedLimit = 16 << 20;
constexpr size_t kParkedLimit = 1024;
/// Open streams, whatever the option says: each costs about 2 KiB.
constexpr size_t kStreamLimit = 65536;
/// Bytes of headers that open streams hold.
constexpr size_t kHeldHeadersLimit = 32 << 20;
/// Frames of nghttp2's own (acknowledgements, window updates, resets) that may wait to be sent.
constexpr size_t kOutboundItemLimit = 100'000;
constexpr int kMaxPingStrikes = 2;
/// Without a stream, pings are not expected at all: gRPC's limit is one in two hours.
constexpr auto kIdlePingGap = std::chrono::hours(2);
/// How long the first step of a graceful GOAWAY waits for the client's answer.
constexpr auto kDrainPingWait = std::chrono::milliseconds(500);
constexpr uint8_t kDrainPing[8] = {'d', 'r', 'a', 'i', 'n', 'i', 'n', 'g'};
constexpr uint8_t kKeepalivePing[8] = {'a', 'l', 'i', 'v', 'e', '?', 0, 0};

}  // namespace

struct Http2Session::Callbacks {
  static Http2Session& Self(void* user_data) { return *static_cast<Http2Session*>(user_data); }

  static const nghttp2_session_callbacks* Get() {
    static const nghttp2_session_callbacks* callbacks = [] {
      nghttp2_session_callbacks* c;
      KVORUM_CHECK(nghttp2_session_callbacks_new(&c) == 0, "out of memory");
      nghttp2_session_callbacks_set_on_begin_headers_callback(
          c, [](nghttp2_session*, const nghttp2_frame* frame, void* user_data) {
            return Self(user_data).OnBeginHeaders(*frame);
          });
      nghttp2_session_callbacks_set_on_header_callback(
          c, [](nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t name_size,
                const uint8_t* value, size_t value_size, uint8_t, void* user_data) {
            return Self(user_data).OnHeader(*frame, TextOf(name, name_size), TextOf(value, value_size));
          });
      nghttp2_session_callbacks_set_on_frame_recv_callback(
          c, [](nghttp2_session*, const nghttp2_frame* frame, void* user_data) {
            return Self(user_data).OnFrame(*frame);
          });
      nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
          c, [](nghttp2_session*, uint8_t, int32_t id, const uint8_t* data, size_t size, void* user_data) {
            return Self(user_data).OnDataChunk(id, TextOf(data, size));
          });
      nghttp2_session_callbacks_set_on_stream_close_callback(
          c, [](nghttp2_session*, int32_t id, uint32_t error_code, void* user_data) {
            return Self(user_data).OnStreamClose(id, error_code);
          });
      nghttp2_session_callbacks_set_send_data_callback(
          c, [](nghttp2_session*, nghttp2_frame*, const uint8_t* head, size_t length,
                nghttp2_data_source* source, void* user_data) {
            return Self(user_data).OnSendData(static_cast<Http2Stream*>(source->ptr), head, length);
          });
      nghttp2_session_callbacks_set_on_frame_send_callback(
          c, [](nghttp2_session*, const nghttp2_frame* frame, void* user_data) {
            Self(user_data).OnFrameSent(*frame);
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
      nghttp2_option_set_no_http_messaging(o, 1);  // see Http2Rules
      // Our own limit comes first and answers ENHANCE_YOUR_CALM.
      nghttp2_option_set_stream_reset_rate_limit(o, UINT32_MAX, UINT32_MAX);
      return o;
    }();
    return options;
  }
};

Http2Session::Http2Session(SessionHost* host, const ServerOptions& options, MonotonicTime now)
    : host_(host),
      secure_(host->secure()),
      options_(options),
      header_since_(now),
      now_(now),
      last_input_(now),
      resets_(/*burst=*/2000, /*per_second=*/500),
      control_frames_(/*burst=*/1000, /*per_second=*/100),
      empty_frames_(/*burst=*/1000, /*per_second=*/100) {
  KVORUM_CHECK(nghttp2_session_server_new2(&session_, Callbacks::Get(), this, Callbacks::Options()) == 0,
               "out of memory");
  std::vector<nghttp2_settings_entry> settings = {
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kStreamWindow},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, static_cast<uint32_t>(options.max_header_bytes)},
  };
  if (options.max_concurrent_streams != UINT32_MAX) {
    settings.push_back({NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, options.max_concurrent_streams});
  }
  nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings.data(), settings.size());
  nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, kConnectionWindow);
  host_->WantFlush();
}

Http2Session::~Http2Session() {
  Abort();
  nghttp2_session_del(session_);
}

void Http2Session::Receive(std::string_view data, MonotonicTime now) {
  if (broken_ || terminating_) return;
  now_ = now;
  last_input_ = now;
  ping_outstanding_ = false;  // whatever came shows that the client lives
  // Protocol errors are answered by nghttp2 with GOAWAY; an error here means that not even that makes sense.
  const ssize_t n =
      nghttp2_session_mem_recv(session_, reinterpret_cast<const uint8_t*>(data.data()), data.size());
  if (n < 0) broken_ = true;
  // Nearly all input brings something to send: replies, acknowledgements, window updates.
  host_->WantFlush();
}

void Http2Session::ReceiveEnd() {
  broken_ = true;
  host_->WantFlush();
}

bool Http2Session::Produce(size_t limit) {
  if (broken_) return false;
  output_limit_ = limit;
  output_full_ = false;
  while (output_.size() < limit || terminating_) {
    const uint8_t* data;
    const ssize_t n = nghttp2_session_mem_send(session_, &data);
    if (n > 0) output_.Append(TextOf(data, static_cast<size_t>(n)));
    if (n < 0 || (terminating_ && goaway_sent_)) broken_ = true;
    if (n <= 0 || broken_) break;
  }
  if (broken_) return false;
  if (output_.size() >= limit) output_full_ = true;
  if (!parked_.empty() && queued_bytes_ < kQueuedLimit / 2) StartParked();
  CallWritable();
  return output_full_ && nghttp2_session_want_write(session_) != 0;
}

void Http2Session::CallWritable() {
  while (!writable_.empty()) {
    Http2Stream* stream = writable_.back();
    writable_.pop_back();
    stream->writable_due_ = false;
    if (stream->sink_ != nullptr && !stream->ended_) stream->sink_->OnWritable();
  }
}

bool Http2Session::WantsInput() const {
  if (broken_ || terminating_) return false;
  // A client that does not read what it is sent is not read from either, once that has become much. Where
  // only flow control holds the output back, input goes on: it brings the window updates.
  return output_.empty() || (queued_bytes_ < 2 * kQueuedLimit &&
                             nghttp2_session_get_outbound_queue_size(session_) < kOutboundItemLimit);
}

bool Http2Session::Finished() const {
  if (broken_) return true;
  if (draining_ && !final_goaway_) return false;
  return nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0;
}

void Http2Session::Terminate(uint32_t error_code, std::string_view reason) {
  if (broken_ || terminating_) return;
  KVORUM_LOG(*options_.logger, kWarn, "closing HTTP/2 connection", {"remote-addr", host_->remote()},
             {"reason", reason});
  nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session_),
                        error_code, reinterpret_cast<const uint8_t*>(reason.data()), reason.size());
  terminating_ = true;
  goaway_sent_ = false;
  host_->WantFlush();
}

void Http2Session::Drain() {
  if (draining_ || broken_ || aborted_) return;
  draining_ = true;
  drain_started_ = host_->loop().clock().Now();
  // Two steps, as RFC 9113 §6.8 advises: requests that are on their way when the client hears of it are
  // still served.
  nghttp2_submit_shutdown_notice(session_);
  nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, kDrainPing);
  for (Http2Stream* stream = streams_; stream != nullptr; stream = stream->next_) {
    if (stream->sink_ != nullptr && !stream->ended_) stream->sink_->OnDrain();
  }
  host_->WantFlush();
}

void Http2Session::SubmitFinalGoAway() {
  if (final_goaway_) return;
  final_goaway_ = true;
  nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session_),
                        NGHTTP2_NO_ERROR, nullptr, 0);
  host_->WantFlush();
}

std::optional<MonotonicTime> Http2Session::Tick(MonotonicTime now) {
  if (broken_) return std::nullopt;
  std::optional<MonotonicTime> next;
  const auto due = [&](MonotonicTime at) {
    if (at <= now) return true;
    if (!next || at < *next) next = at;
    return false;
  };
  if (draining_ && !final_goaway_ && due(drain_started_ + kDrainPingWait)) SubmitFinalGoAway();
  if (header_stream_ != 0 && due(header_since_ + options_.header_timeout)) {
    Terminate(NGHTTP2_ENHANCE_YOUR_CALM, "slow_headers");
    return std::nullopt;
  }
  if (ping_outstanding_ && due(ping_sent_ + options_.keepalive_timeout)) {
    broken_ = true;
    host_->WantFlush();
    return std::nullopt;
  }
  if (!ping_outstanding_ && options_.keepalive_interval.count() > 0 &&
      due(last_input_ + options_.keepalive_interval)) {
    ping_outstanding_ = true;
    ping_sent_ = now;
    nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, kKeepalivePing);
    host_->WantFlush();
    due(ping_sent_ + options_.keepalive_timeout);
  }
  return next;
}

void Http2Session::Abort() {
  if (aborted_) return;
  aborted_ = true;
  broken_ = true;
  parked_.clear();
  writable_.clear();
  for (Http2Stream* stream = streams_; stream != nullptr; stream = stream->next_) {
    if (stream->sink_ != nullptr && !stream->ended_) stream->sink_->OnAbort();
    stream->ended_ = true;
  }
  while (streams_ != nullptr) delete streams_;
}

Http2Stream* Http2Session::Find(int32_t id) {
  // The callbacks of one request follow each other.
  if (last_found_ != nullptr && last_found_->id_ == id) return last_found_;
  last_found_ = static_cast<Http2Stream*>(nghttp2_session_get_stream_user_data(session_, id));
  return last_found_;
}

void Http2Session::Forget(Http2Stream* stream) {
  if (last_found_ == stream) last_found_ = nullptr;
  if (stream->parked_) std::erase(parked_, stream);
  if (stream->writable_due_) std::erase(writable_, stream);
  if (stream->previous_ != nullptr) stream->previous_->next_ = stream->next_;
  if (stream->next_ != nullptr) stream->next_->previous_ = stream->previous_;
  if (streams_ == stream) streams_ = stream->next_;
  --stream_count_;
  held_header_bytes_ -= stream->header_bytes_;
}

// What comes in one piece of input after Terminate is ignored.

int Http2Session::OnBeginHeaders(const nghttp2_frame& frame) {
  if (terminating_ || frame.hd.type != NGHTTP2_HEADERS) return 0;
  if (header_stream_ == 0) header_since_ = now_;
  header_stream_ = frame.hd.stream_id;
  if (frame.headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
  if (stream_count_ >= kStreamLimit || held_header_bytes_ >= kHeldHeadersLimit) {
    nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, frame.hd.stream_id, NGHTTP2_REFUSED_STREAM);
    return 0;
  }
  auto* stream = new Http2Stream(this, frame.hd.stream_id);
  nghttp2_session_set_stream_user_data(session_, frame.hd.stream_id, stream);
  last_found_ = stream;
  return 0;
}

int Http2Session::OnHeader(const nghttp2_frame& frame, std::string_view name, std::string_view value) {
  if (terminating_ || frame.hd.type != NGHTTP2_HEADERS) return 0;
  Http2Stream* stream = Find(frame.hd.stream_id);
  if (stream == nullptr) return 0;
  const size_t bytes = name.size() + value.size() + 32;  // as RFC 9113 §6.5.2 counts
  stream->header_bytes_ += bytes;
  held_header_bytes_ += bytes;
  if (stream->header_bytes_ > options_.max_header_bytes) {
    stream->head_too_large_ = true;
    if (stream->header_bytes_ > 4 * options_.max_header_bytes) {
      Terminate(NGHTTP2_ENHANCE_YOUR_CALM, "header_flood");
    }
    return 0;
  }
  if (frame.headers.cat != NGHTTP2_HCAT_REQUEST) {
    if (!stream->rules_.OnTrailerField(name, value)) stream->malformed_ = true;
    return 0;
  }
  if (stream->malformed_ || !stream->rules_.OnField(name, value)) {
    stream->malformed_ = true;
    return 0;
  }
  StoredRequest& request = *stream->request_;
  if (name[0] != ':') {
    const std::string_view kept = request.Keep(name);
    request.headers.emplace_back(kept, request.Keep(value));
  } else if (name == ":path") {
    request.SetTarget(request.Keep(value));
  } else if (name == ":method") {
    request.method = request.Keep(value);
  } else if (name == ":authority") {
    request.authority = request.Keep(value);
  }
  return 0;
}

int Http2Session::OnFrame(const nghttp2_frame& frame) {
  if (terminating_) return 0;
  const bool end = (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
  switch (frame.hd.type) {
    case NGHTTP2_HEADERS: {
      header_stream_ = 0;
      Http2Stream* stream = Find(frame.hd.stream_id);
      if (stream == nullptr) return 0;
      if (frame.headers.cat == NGHTTP2_HCAT_REQUEST) {
        if (stream->malformed_ || !stream->rules_.OnHeadEnd(end)) return Refuse(stream);
        OnRequestHead(stream, end);
      } else {
        if (stream->malformed_ || !stream->rules_.OnTrailerEnd(end)) return Refuse(stream);
        OnRequestEnd(stream);
      }
      return 0;
    }
    case NGHTTP2_DATA: {
      if (frame.hd.length == 0 && !end && !empty_frames_.Take(now_)) {
        Terminate(NGHTTP2_ENHANCE_YOUR_CALM, "empty_data_flood");
        return 0;
      }
      if (!end) return 0;
      if (Http2Stream* stream = Find(frame.hd.stream_id)) {
        if (!stream->rules_.OnDataEnd()) return Refuse(stream);
        OnRequestEnd(stream);
      }
      return 0;
    }
    case NGHTTP2_RST_STREAM:
      if (!resets_.Take(now_)) Terminate(NGHTTP2_ENHANCE_YOUR_CALM, "too_many_resets");
      return 0;
    case NGHTTP2_PING:
      if ((frame.hd.flags & NGHTTP2_FLAG_ACK) == 0) {
        OnPing();
      } else if (draining_ && std::equal(kDrainPing, kDrainPing + 8, frame.ping.opaque_data)) {
        SubmitFinalGoAway();
      }
      return 0;
    case NGHTTP2_SETTINGS:
    case NGHTTP2_PRIORITY:
      if (!control_frames_.Take(now_)) Terminate(NGHTTP2_ENHANCE_YOUR_CALM, "too_many_control_frames");
      return 0;
    default:
      return 0;
  }
}

int Http2Session::Refuse(Http2Stream* stream) {
  stream->malformed_ = true;
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream->id_, NGHTTP2_PROTOCOL_ERROR);
  return 0;
}

void Http2Session::OnRequestHead(Http2Stream* stream, bool end) {
  if (stream->head_too_large_) {
    stream->ReplyError(431, "431 Request Header Fields Too Large");
    return;
  }
  StoredRequest& request = *stream->request_;
  request.protocol = Protocol::kHttp2;
  request.remote = request.Keep(host_->remote());
  request.secure = secure_;
  if (request.authority.empty()) {
    if (const std::string_view* host = request.Find("host")) request.authority = *host;
  }
  if (queued_bytes_ > kQueuedLimit) {
    if (parked_.size() >= kParkedLimit) return stream->Abort(NGHTTP2_REFUSED_STREAM);
    stream->parked_ = true;
    parked_.push_back(stream);
  } else {
    StartRequest(stream);
  }
  if (end) OnRequestEnd(stream);
}

void Http2Session::StartRequest(Http2Stream* stream) {
  stream->started_ = true;
  Handler* handler = SelectHandler(options_, *stream->request_);
  stream->sink_ = handler->Start(*stream->request_, *stream);
  KVORUM_CHECK(stream->sink_ != nullptr, "a handler returned no sink");
  if (draining_ && !stream->ended_) stream->sink_->OnDrain();
}

void Http2Session::StartParked() {
  size_t started = 0;
  while (started < parked_.size() && queued_bytes_ < kQueuedLimit / 2) {
    Http2Stream* stream = parked_[started++];
    stream->parked_ = false;
    StartRequest(stream);
    const std::string body = std::move(stream->parked_body_);
    if (!body.empty()) {
      if (!stream->ended_) stream->sink_->OnData(body);
      Consume(stream->id_, stream, body.size());
    }
    if (stream->received_end_ && !stream->ended_) stream->sink_->OnEnd();
  }
  parked_.erase(parked_.begin(), parked_.begin() + static_cast<ptrdiff_t>(started));
}

void Http2Session::OnRequestEnd(Http2Stream* stream) {
  stream->received_end_ = true;
  if (stream->sink_ != nullptr && !stream->ended_) stream->sink_->OnEnd();
}

int Http2Session::OnDataChunk(int32_t id, std::string_view data) {
  if (terminating_) return 0;
  Http2Stream* stream = Find(id);
  if (stream != nullptr && !stream->malformed_ && !stream->rules_.OnData(data.size())) Refuse(stream);
  if (stream != nullptr && stream->malformed_) stream = nullptr;
  if (stream != nullptr && stream->parked_) {
    stream->parked_body_.append(data);  // bounded by the window, which is not given back yet
    return 0;
  }
  if (stream != nullptr && stream->sink_ != nullptr && !stream->ended_) stream->sink_->OnData(data);
  Consume(id, stream, data.size());
  return 0;
}

void Http2Session::Consume(int32_t id, Http2Stream* stream, size_t size) {
  if (stream == nullptr || !stream->input_paused_ || stream->ended_) {
    nghttp2_session_consume(session_, id, size);
    return;
  }
  nghttp2_session_consume_connection(session_, size);
  stream->withheld_ += size;
}

int Http2Session::OnStreamClose(int32_t id, uint32_t) {
  auto* stream = static_cast<Http2Stream*>(nghttp2_session_get_stream_user_data(session_, id));
  if (stream == nullptr) return 0;
  if (stream->parked_ && !stream->parked_body_.empty()) {
    nghttp2_session_consume_connection(session_, stream->parked_body_.size());
  }
  nghttp2_session_set_stream_user_data(session_, id, nullptr);
  if (stream->sink_ != nullptr && !stream->ended_) {
    stream->ended_ = true;
    stream->sink_->OnAbort();
  }
  delete stream;
  return 0;
}

int Http2Session::OnSendData(Http2Stream* stream, const uint8_t* frame_head, size_t length) {
  if (output_.size() >= output_limit_ && !terminating_) {
    output_full_ = true;
    return NGHTTP2_ERR_WOULDBLOCK;
  }
  output_.Append(TextOf(frame_head, 9));
  stream->queue_.PopInto(&output_, length);
  queued_bytes_ -= length;
  if (stream->over_high_water_ && stream->queue_.size() < ResponseWriter::kHighWater / 2) {
    stream->over_high_water_ = false;
    if (!std::exchange(stream->writable_due_, true)) writable_.push_back(stream);
  }
  return 0;
}

void Http2Session::OnFrameSent(const nghttp2_frame& frame) {
  if (frame.hd.type == NGHTTP2_GOAWAY) goaway_sent_ = true;
  if (frame.hd.type != NGHTTP2_HEADERS && frame.hd.type != NGHTTP2_DATA) return;
  sent_since_ping_ = true;
  if ((frame.hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) return;
  // The answer is complete: the rest of the request, if there is one, is not wanted.
  if (nghttp2_session_get_stream_remote_close(session_, frame.hd.stream_id) == 0) {
    nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, frame.hd.stream_id, NGHTTP2_NO_ERROR);
  }
}

void Http2Session::OnPing() {
  const MonotonicTime previous = std::exchange(last_ping_received_, now_);
  // gRPC's rule: a ping right after we sent something is forgiven, too frequent ones count as strikes.
  if (std::exchange(sent_since_ping_, false)) {
    ping_strikes_ = 0;
    return;
  }
  const std::chrono::nanoseconds gap = stream_count_ == 0 ? kIdlePingGap : options_.keepalive_min_time;
  if (previous != MonotonicTime{} && now_ - previous < gap) ++ping_strikes_;
  if (ping_strikes_ > kMaxPingStrikes) Terminate(NGHTTP2_ENHANCE_YOUR_CALM, "too_many_pings");
}

std::unique_ptr<Session> NewHttp2Session(SessionHost* host, const ServerOptions& options, MonotonicTime now) {
  return std::make_unique<Http2Session>(host, options, now);
}

}  // namespace kvorum::http
