#include "http/http2_stream.h"

#include "absl/container/inlined_vector.h"
#include "base/check.h"
#include "fmt/format.h"
#include "http/http2_session.h"
#include "http/nghttp2_text.h"

namespace kvorum::http {

namespace {

using HeaderList = absl::InlinedVector<nghttp2_nv, 12>;

/// A whole number of those below is rarely sent, so memory of a long queue is given back when it empties.
constexpr size_t kKeptItems = 16;

}  // namespace

void BytesQueue::PopInto(OutputQueue* out, size_t size) {
  KVORUM_CHECK(size <= size_, "{} of {} bytes", size, size_);
  size_ -= size;
  while (size > 0) {
    Bytes& item = items_[first_];
    const size_t n = std::min(size, item.size() - offset_);
    out->Append(item, offset_, n);
    size -= n;
    offset_ += n;
    if (offset_ < item.size()) return;
    item = Bytes();
    offset_ = 0;
    ++first_;
  }
  if (size_ == 0) {
    items_.clear();
    if (items_.capacity() > kKeptItems) items_.shrink_to_fit();
    first_ = 0;
  } else if (first_ > kKeptItems && first_ * 2 > items_.size()) {
    items_.erase(items_.begin(), items_.begin() + static_cast<ptrdiff_t>(first_));
    first_ = 0;
  }
}

Http2Stream::Http2Stream(Http2Session* session, int32_t id)
    : session_(session), id_(id), request_(std::make_shared<StoredRequest>()) {
  next_ = session_->streams_;
  if (next_ != nullptr) next_->previous_ = this;
  session_->streams_ = this;
  ++session_->stream_count_;
}

Http2Stream::~Http2Stream() {
  sink_.reset();
  session_->queued_bytes_ -= queue_.size();
  session_->kept_bytes_ -= kept_;
  session_->Forget(this);
}

Loop& Http2Stream::loop() { return session_->host().loop(); }

void Http2Stream::Submit(int status, const Headers& headers, bool has_body) {
  const fmt::format_int digits(status);
  HeaderList list;
  list.push_back(HeaderOf(":status", {digits.data(), digits.size()}));
  for (const auto& [name, value] : headers) list.push_back(HeaderOf(name, value));
  for (const auto& [name, value] : added_headers()) list.push_back(HeaderOf(name, value));
  nghttp2_data_provider provider{.source = {.ptr = this}, .read_callback = &ReadData};
  const int error = nghttp2_submit_response(session_->session_, id_, list.data(), list.size(),
                                            has_body ? &provider : nullptr);
  if (error != 0) {
    nghttp2_submit_rst_stream(session_->session_, NGHTTP2_FLAG_NONE, id_, NGHTTP2_INTERNAL_ERROR);
  }
  head_sent_ = true;
  session_->host().WantFlush();
}

void Http2Stream::SendHead(int status, const Headers& headers) {
  if (session_->aborted_ || ended_) return;
  KVORUM_CHECK(!head_sent_, "a second head");
  Submit(status, headers, /*has_body=*/true);
}

void Http2Stream::SendOnlyHead(int status, const Headers& headers) {
  if (session_->aborted_ || ended_) return;
  KVORUM_CHECK(!head_sent_, "a second head");
  ended_ = true;
  Submit(status, headers, /*has_body=*/false);
}

void Http2Stream::Send(Bytes data) {
  if (session_->aborted_ || ended_ || data.empty()) return;
  KVORUM_CHECK(head_sent_, "a body before the head");
  session_->queued_bytes_ += data.size();
  queue_.Push(std::move(data));
  if (queue_.size() >= kHighWater) over_high_water_ = true;
  Resume();
}

void Http2Stream::End(const Headers& trailers) {
  if (session_->aborted_ || ended_) return;
  KVORUM_CHECK(head_sent_, "an end before the head");
  ended_ = true;
  trailers_ = trailers;
  Resume();
}

void Http2Stream::ResumeInput() {
  input_paused_ = false;
  if (withheld_ == 0 || session_->terminating_) return;
  nghttp2_session_consume_stream(session_->session_, id_, std::exchange(withheld_, 0));
  session_->host().WantFlush();
}

void Http2Stream::Resume() {
  if (deferred_) {
    deferred_ = false;
    nghttp2_session_resume_data(session_->session_, id_);
  }
  session_->host().WantFlush();
}

void Http2Stream::Abort(uint32_t http2_error_code) {
  if (session_->aborted_ || ended_) return;
  ended_ = true;
  nghttp2_submit_rst_stream(session_->session_, NGHTTP2_FLAG_NONE, id_, http2_error_code);
  session_->host().WantFlush();
}

bool Http2Stream::Keep(ptrdiff_t bytes) {
  constexpr size_t kKeptLimit = 64 << 20;
  if (bytes > 0 && session_->kept_bytes_ + static_cast<size_t>(bytes) > kKeptLimit) return false;
  kept_ += static_cast<size_t>(bytes);
  session_->kept_bytes_ += static_cast<size_t>(bytes);
  return true;
}

ssize_t Http2Stream::ReadData(nghttp2_session* session, int32_t id, uint8_t*, size_t length, uint32_t* flags,
                              nghttp2_data_source* source, void*) {
  auto* stream = static_cast<Http2Stream*>(source->ptr);
  const size_t n = std::min(length, stream->queue_.size());
  if (n == 0 && !stream->ended_) {
    stream->deferred_ = true;
    return NGHTTP2_ERR_DEFERRED;
  }
  *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
  if (stream->ended_ && n == stream->queue_.size()) {
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (!stream->trailers_.empty()) {
      HeaderList list;
      for (const auto& [name, value] : stream->trailers_) list.push_back(HeaderOf(name, value));
      if (nghttp2_submit_trailer(session, id, list.data(), list.size()) != 0) {
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
      }
      *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    }
  }
  return static_cast<ssize_t>(n);
}

}  // namespace kvorum::http
