#pragma once

#include <nghttp2/nghttp2.h>

#include <memory>
#include <vector>

#include "http/http2_stream.h"
#include "http/session.h"

namespace kvorum::http {

/// The server's side of an HTTP/2 connection, on nghttp2.
class Http2Session final : public Session {
 public:
  Http2Session(SessionHost* host, const ServerOptions& options, MonotonicTime now);
  ~Http2Session() override;

  void Receive(std::string_view data, MonotonicTime now) override;
  void ReceiveEnd() override;
  bool Produce(size_t limit) override;
  void Written() override {}
  bool WantsInput() const override;
  bool Finished() const override;
  void Drain() override;
  std::optional<MonotonicTime> Tick(MonotonicTime now) override;
  void Abort() override;

  SessionHost& host() { return *host_; }

 private:
  friend class Http2Stream;
  struct Callbacks;

  // What nghttp2 tells; each returns 0 or an error of nghttp2's that ends the connection or stream.
  int OnBeginHeaders(const nghttp2_frame& frame);
  int OnHeader(const nghttp2_frame& frame, std::string_view name, std::string_view value);
  int OnFrame(const nghttp2_frame& frame);
  int OnDataChunk(int32_t id, std::string_view data);
  /// Gives back the window that `size` bytes of a body took; the stream's part later, where it holds back.
  void Consume(int32_t id, Http2Stream* stream, size_t size);
  int OnStreamClose(int32_t id, uint32_t error_code);
  int OnSendData(Http2Stream* stream, const uint8_t* frame_head, size_t length);
  void OnFrameSent(const nghttp2_frame& frame);

  /// A malformed request: a stream error (RFC 9113 §8.1.1).
  int Refuse(Http2Stream* stream);
  void OnRequestHead(Http2Stream* stream, bool end);
  void StartRequest(Http2Stream* stream);
  void StartParked();
  void OnRequestEnd(Http2Stream* stream);
  void OnPing();
  /// GOAWAY with that reason; the connection closes once it is sent.
  void Terminate(uint32_t error_code, std::string_view reason);
  void SubmitFinalGoAway();
  void CallWritable();
  void Forget(Http2Stream* stream);
  Http2Stream* Find(int32_t id);

  SessionHost* const host_;
  const bool secure_;
  const ServerOptions& options_;
  nghttp2_session* session_ = nullptr;

  Http2Stream* streams_ = nullptr;  // every open one
  size_t stream_count_ = 0;
  Http2Stream* last_found_ = nullptr;
  size_t queued_bytes_ = 0;  // of all streams' queues
  size_t kept_bytes_ = 0;    // what sinks keep of requests
  size_t held_header_bytes_ = 0;
  size_t output_limit_ = 0;  // of the Produce that runs
  bool output_full_ = false;
  std::vector<Http2Stream*> parked_;
  std::vector<Http2Stream*> writable_;

  bool broken_ = false;       // no more input, and nothing is sent but what is in output_
  bool terminating_ = false;  // no more input; broken once the GOAWAY is in output_
  bool goaway_sent_ = false;
  bool aborted_ = false;
  bool draining_ = false;
  bool final_goaway_ = false;
  int32_t header_stream_ = 0;  // whose header block is being received, or 0
  MonotonicTime header_since_;

  // Keep-alive and its enforcement (reference: v3-api.md §2.2).
  MonotonicTime now_;  // of the input being processed
  MonotonicTime last_input_;
  MonotonicTime last_ping_received_{};
  int ping_strikes_ = 0;
  bool sent_since_ping_ = false;  // HEADERS or DATA
  bool ping_outstanding_ = false;
  MonotonicTime ping_sent_;
  MonotonicTime drain_started_;

  RateLimit resets_;
  RateLimit control_frames_;
  RateLimit empty_frames_;
};

}  // namespace kvorum::http
