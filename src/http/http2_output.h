#pragma once

#include <nghttp2/nghttp2.h>

#include "http/byte_stream.h"
#include "http/output_queue.h"

namespace kvorum::http {

/// What a client's nghttp2 session has to send, on its way into a stream. On the loop only.
class Http2Output {
 public:
  enum class Result : uint8_t { kAllWritten, kBlocked, kBroken };

  explicit Http2Output(ByteStream* stream) : stream_(*stream) {}

  /// Writes what the session has, until there is nothing more or the stream takes nothing (kBlocked: the
  /// caller waits for it). The session's callbacks run inside, and may append to `queue` while it is not
  /// full.
  Result Write(nghttp2_session* session);

  OutputQueue& queue() { return queue_; }
  /// So much waits for the stream that the session is not asked for more.
  bool full() const { return queue_.size() >= kFullBytes; }

 private:
  static constexpr size_t kFullBytes = 128 << 10;

  Result WriteQueue();

  ByteStream& stream_;
  OutputQueue queue_;
};

}  // namespace kvorum::http
