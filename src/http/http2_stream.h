#pragma once

#include <nghttp2/nghttp2.h>

#include <memory>
#include <vector>

#include "http/http2_rules.h"
#include "http/output_queue.h"
#include "http/request_storage.h"

namespace kvorum::http {

class Http2Session;

/// A queue of byte strings that is read in arbitrary portions.
class BytesQueue {
 public:
  void Push(Bytes data) {
    size_ += data.size();
    items_.push_back(std::move(data));
  }
  /// Moves the first `size` bytes to `out`. REQUIRES: size <= this->size()
  void PopInto(OutputQueue* out, size_t size);
  size_t size() const { return size_; }

 private:
  size_t size_ = 0;
  size_t first_ = 0;
  size_t offset_ = 0;  // in items_[first_]
  std::vector<Bytes> items_;
};

/// One exchange of an HTTP/2 connection. Owned by its session; destroyed when nghttp2 closed the stream.
class Http2Stream final : public ResponseWriter {
 public:
  Http2Stream(Http2Session* session, int32_t id);
  ~Http2Stream() override;

  Loop& loop() override;
  void SendHead(int status, const Headers& headers) override;
  void SendOnlyHead(int status, const Headers& headers) override;
  void Send(Bytes data) override;
  void End(const Headers& trailers = {}) override;
  void Abort(uint32_t http2_error_code) override;
  size_t buffered() const override { return queue_.size(); }
  void PauseInput() override { input_paused_ = true; }
  void ResumeInput() override;
  bool Keep(ptrdiff_t bytes) override;

 private:
  friend class Http2Session;

  /// Submits the response's head. With `has_body`, DATA frames follow as they are queued.
  void Submit(int status, const Headers& headers, bool has_body);
  void Resume();

  static ssize_t ReadData(nghttp2_session* session, int32_t id, uint8_t* buffer, size_t length,
                          uint32_t* flags, nghttp2_data_source* source, void* user_data);

  Http2Session* const session_;
  const int32_t id_;
  // The session's list of streams.
  Http2Stream* previous_ = nullptr;
  Http2Stream* next_ = nullptr;

  std::shared_ptr<StoredRequest> request_;
  size_t header_bytes_ = 0;
  Http2Rules rules_;
  std::unique_ptr<RequestSink> sink_;

  BytesQueue queue_;
  Headers trailers_;
  size_t kept_ = 0;  // see Keep
  bool input_paused_ = false;
  size_t withheld_ = 0;  // taken while paused: of the stream's window, not yet given back
  bool head_too_large_ = false;
  bool malformed_ = false;
  bool started_ = false;       // the handler has it
  bool parked_ = false;        // waits for the connection to drain before it starts
  bool received_end_ = false;  // the client's side is complete
  bool head_sent_ = false;
  bool ended_ = false;     // nothing may follow from the handler
  bool deferred_ = false;  // nghttp2 waits for data
  bool over_high_water_ = false;
  bool writable_due_ = false;  // in the session's list for OnWritable
  std::string parked_body_;
};

}  // namespace kvorum::http
