#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/functional/any_invocable.h"
#include "base/bytes.h"
#include "http/loop.h"

namespace kvorum::http {

/// Headers to send. Names are lower case.
using Headers = std::vector<std::pair<std::string, std::string>>;
/// Headers that were received. Names are lower case.
using HeaderView = std::pair<std::string_view, std::string_view>;
using HeaderViews = std::vector<HeaderView>;

enum class Protocol : uint8_t { kHttp1, kHttp2 };

/// The head of a request. The texts live as long as the request does, and a connection's request lives at
/// least as long as its sink: whoever needs it longer holds `shared_from_this()`.
struct Request : std::enable_shared_from_this<Request> {
  virtual ~Request() = default;

  Protocol protocol = Protocol::kHttp1;
  std::string_view method;
  std::string_view path;       ///< without the query, percent-encoding untouched
  std::string_view query;      ///< after '?', without it
  std::string_view authority;  ///< the Host header or :authority
  std::string_view remote;     ///< "127.0.0.1:41234", or "@" for a Unix socket
  bool secure = false;         ///< came over TLS
  HeaderViews headers;         ///< without those that begin with ':'

  /// The first header of that (lower-case) name, or nullptr.
  const std::string_view* Find(std::string_view name) const;
};

/// The way back to the client; used on the connection's loop only. When the client is gone every call does
/// nothing. Nothing is written to the socket inside a call: what one turn of the loop sends leaves together.
class ResponseWriter {
 public:
  virtual ~ResponseWriter() = default;

  virtual Loop& loop() = 0;

  /// A header that every head gets, behind those it is sent with. Before the head; the texts live until then.
  void AddHeader(std::string_view name, std::string_view value) { added_.emplace_back(name, value); }

  /// Once, first. A `content-length` header makes the body that long; otherwise HTTP/1.1 sends chunks.
  virtual void SendHead(int status, const Headers& headers) = 0;
  /// Instead of SendHead, Send and End: a response without a body.
  virtual void SendOnlyHead(int status, const Headers& headers) = 0;
  /// Queues a piece of the body. The connection's memory is bounded by its user: see `buffered`.
  virtual void Send(Bytes data) = 0;
  void Send(std::string_view data) { Send(Bytes::Copy(data)); }
  /// Once, last. Trailers are sent where the protocol and the request allow.
  virtual void End(const Headers& trailers = {}) = 0;
  /// Breaks the exchange off: HTTP/2 RST_STREAM with this error code, HTTP/1.1 closes the connection.
  virtual void Abort(uint32_t http2_error_code) = 0;

  /// Bytes of this response that are queued and not yet given to the system. A producer of unbounded
  /// length sends while this is under kHighWater and goes on in `RequestSink::OnWritable`.
  virtual size_t buffered() const = 0;
  static constexpr size_t kHighWater = 256 << 10;

  /// Holds back the request's body, or lets it come again; for sinks that cannot take it as fast as it comes.
  /// What is on its way still comes: over HTTP/2 up to a stream's window. `PauseInput` is called in
  /// `RequestSink::OnData` alone.
  virtual void PauseInput() = 0;
  virtual void ResumeInput() = 0;

  /// Accounts for bytes of the request that the sink keeps (negative: lets go). False when the sinks of this
  /// connection keep too much: this one should then refuse its request.
  virtual bool Keep(ptrdiff_t bytes) = 0;

  /// Head, body and end in one.
  void Reply(int status, Headers headers, std::string_view body);
  /// The same without the cost of `Headers`. It announces the body's length.
  virtual void ReplyWith(int status, std::span<const HeaderView> headers, std::string_view body);
  /// Go's plain error: the text and a newline, `text/plain; charset=utf-8`, nosniff.
  void ReplyError(int status, std::string_view text);

 protected:
  /// What an implementation's heads end with.
  std::span<const HeaderView> added_headers() const { return added_; }

 private:
  absl::InlinedVector<HeaderView, 3> added_;
};

/// Takes the body of one request; called on the connection's loop.
class RequestSink {
 public:
  virtual ~RequestSink() = default;
  /// The next piece of the body, valid during the call. The piece counts as consumed (HTTP/2 flow control)
  /// when the call returns.
  virtual void OnData(std::string_view data) = 0;
  /// The body is complete.
  virtual void OnEnd() = 0;
  /// The client went away, or the stream or connection broke, before the response was ended. Last call.
  virtual void OnAbort() = 0;
  /// `ResponseWriter::buffered` fell under half of kHighWater after reaching it.
  virtual void OnWritable() {}
  /// The server stops: a response that waits for what may never happen should be ended.
  virtual void OnDrain() {}
};

/// What answers requests. One handler serves every loop: thread-safe.
class Handler {
 public:
  virtual ~Handler() = default;
  /// Begins an exchange. The writer lives until the sink is destroyed, which the connection does after the
  /// response ended or OnAbort. May answer before the body came. Never null.
  virtual std::unique_ptr<RequestSink> Start(const Request& request, ResponseWriter& writer) = 0;
};

/// A sink for handlers that want the whole body: collects up to `limit` bytes (413 `request body too large`
/// beyond) and then calls `done(body)` once.
std::unique_ptr<RequestSink> CollectBody(ResponseWriter& writer, size_t limit,
                                         absl::AnyInvocable<void(std::string body)> done);

}  // namespace kvorum::http
