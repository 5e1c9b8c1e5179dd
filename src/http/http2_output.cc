#include "http/http2_output.h"

#include "http/nghttp2_text.h"

namespace kvorum::http {

namespace {

constexpr int kMaxVectors = 64;

}  // namespace

Http2Output::Result Http2Output::WriteQueue() {
  iovec vectors[kMaxVectors];
  while (!queue_.empty()) {
    const ssize_t n = stream_.Write(vectors, queue_.Gather(vectors, kMaxVectors));
    if (n < 0) return Result::kBroken;
    if (n == 0) return Result::kBlocked;
    queue_.Consume(static_cast<size_t>(n));
  }
  return Result::kAllWritten;
}

Http2Output::Result Http2Output::Write(nghttp2_session* session) {
  for (bool more = true; more;) {
    if (const Result result = WriteQueue(); result != Result::kAllWritten) return result;
    while (!full()) {
      const uint8_t* data;
      const ssize_t n = nghttp2_session_mem_send(session, &data);
      if (n < 0) return Result::kBroken;
      if (n == 0) break;
      queue_.Append(TextOf(data, static_cast<size_t>(n)));
    }
    more = full();
  }
  return WriteQueue();
}

}  // namespace kvorum::http
