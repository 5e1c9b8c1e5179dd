#include "proxy/http/forwarding.h"

#include <utility>

#include "api/admin/exchange.h"
#include "fmt/format.h"
#include "proxy/http/headers.h"

namespace kvorum::proxy_http {
namespace {

constexpr uint32_t kHttp2InternalError = 2;
/// A request with a larger body has a connection to itself.
constexpr size_t kMaxSharedBody = 64 << 10;

bool HasNoBody(std::string_view method, int status) {
  return method == "HEAD" || status == 204 || status == 304;
}

/// Of a read of the v2 API: its answer may take time, or be large.
bool MayBeLong(std::string_view query) {
  for (const std::string_view word : {"wait", "stream", "recursive", "%"}) {
    if (query.find(word) != std::string_view::npos) return true;
  }
  return false;
}

/// A read of the v2 API that a member answers from memory, at once: it may share a connection with others
/// like it.
bool IsPlainRead(const http::Request& request) {
  if (request.method != "GET" && request.method != "HEAD") return false;
  if (!request.path.starts_with("/v2/keys")) return false;
  return request.query.find("quorum") == std::string_view::npos && !MayBeLong(request.query);
}

/// A write of the v2 API, or a read that waits for the others' consent as one does: its answer takes a round
/// of the members, and it may share a connection with others.
bool IsPlainWrite(const http::Request& request, size_t body_bytes) {
  if (!request.path.starts_with("/v2/keys") || body_bytes > kMaxSharedBody) return false;
  if (request.method == "PUT" || request.method == "POST" || request.method == "DELETE") return true;
  if (request.method != "GET" || body_bytes > 0) return false;
  if (request.query.find("quorum") == std::string_view::npos) return false;
  return !MayBeLong(request.query);
}

/// A watch may end between any two of its events, and its client asks again.
bool IsWatch(const http::Request& request) {
  if (request.path.starts_with("/v3") && request.path.ends_with("/watch")) return true;
  constexpr std::string_view kWait = "wait=";
  for (size_t at = 0; (at = request.query.find(kWait, at)) != std::string_view::npos; at += kWait.size()) {
    if (at > 0 && request.query[at - 1] != '&') continue;
    const std::string_view value = std::string_view(request.query).substr(at + kWait.size(), 1);
    if (value == "t" || value == "T" || value == "1") return true;
  }
  return false;
}

/// The way to a member and back, of one request that is complete. On the connection's loop; shared by the
/// client's side and the exchange with the member.
class Forwarding final : public http::ResponseSink, public std::enable_shared_from_this<Forwarding> {
 public:
  Forwarding(ForwardingShared& shared, http::Client& client, const http::Request& request,
             http::ResponseWriter& writer, std::string body)
      : shared_(shared),
        client_(client),
        request_(request.shared_from_this()),
        body_(std::move(body)),
        exchange_options_(shared.exchange),
        begin_(writer.loop().clock().Now()),
        endpoints_(shared.director->endpoints()),
        writer_(&writer) {
    exchange_options_.pipelined = body_.empty() && IsPlainRead(request);
    exchange_options_.multiplexed = IsPlainWrite(request, body_.size());
  }
  ~Forwarding() override { Release(); }

  void Start() {
    for (const auto& endpoint : *endpoints_) available_ += endpoint->available ? 1 : 0;
    if (available_ == 0) {
      KVORUM_LOG(*shared_.logger, kWarn, "zero endpoints currently available");
      shared_.metrics->OnDropped(request_->method, "zero_endpoints");
      return Refuse(503, "zero endpoints currently available");
    }
    counted_ = true;
    if (shared_.exchanges.fetch_add(1) >= shared_.max_exchanges) return Refuse(503, "too many requests");
    TryNext();
  }

  /// Nothing more can be told to the client. Where it was not answered, it went away.
  void Detach() {
    if (std::exchange(writer_, nullptr) == nullptr) return;
    KVORUM_LOG(*shared_.logger, kDebug, "client closed request prematurely", {"client", request_->remote});
    if (exchange_ != nullptr) std::exchange(exchange_, nullptr)->Cancel();
  }

  void OnWritable() {
    if (exchange_ != nullptr) exchange_->Resume();
  }

  /// The proxy stops: a watch, which may wait for ever, ends as if its member did.
  void OnDrain() {
    if (writer_ == nullptr || !head_sent_ || !IsWatch(*request_)) return;
    if (exchange_ != nullptr) std::exchange(exchange_, nullptr)->Cancel();
    OnEnd(absl::CancelledError("the proxy stops"));
  }

  void OnHead(http::ClientResponse head) override {
    if (writer_ == nullptr) return;
    shared_.metrics->OnHandled(request_->method, head.status, writer_->loop().clock().Now() - begin_);
    has_length_ = head.Find("content-length") != nullptr;
    head_sent_ = true;
    const http::Headers headers = ReturnedHeaders(std::move(head.headers));
    if (!HasNoBody(request_->method, head.status)) return writer_->SendHead(head.status, headers);
    std::exchange(writer_, nullptr)->SendOnlyHead(head.status, headers);
  }

  void OnData(std::string_view data) override {
    if (writer_ == nullptr || data.empty()) return;
    writer_->Send(data);
    last_ = data.back();
    if (writer_->buffered() >= http::ResponseWriter::kHighWater && exchange_ != nullptr) exchange_->Pause();
  }

  void OnEnd(absl::Status status) override {
    exchange_.reset();
    Release();
    if (writer_ == nullptr) return;
    if (!head_sent_) return OnFailed(status);
    http::ResponseWriter& writer = *std::exchange(writer_, nullptr);
    if (status.ok()) return writer.End();
    KVORUM_LOG(*shared_.logger, kWarn, "failed to pass a response on", {"path", request_->path},
               {"error", std::string(status.message())});
    // A part of an answer must not look like all of it.
    if (IsWatch(*request_) && !has_length_ && last_ == '\n') return writer.End();
    writer.Abort(kHttp2InternalError);
  }

 private:
  void TryNext() {
    while (next_ < endpoints_->size() && !(*endpoints_)[next_]->available) ++next_;
    if (next_ == endpoints_->size()) {
      const std::string text = fmt::format("unable to get response from {} endpoint(s)", available_);
      KVORUM_LOG(*shared_.logger, kWarn, text);
      shared_.metrics->OnDropped(request_->method, "failed_getting_response");
      return Refuse(502, text);
    }
    http::ClientRequest onward = {.method = std::string(request_->method),
                                  .url = (*endpoints_)[next_]->url,
                                  .headers = ForwardedHeaders(*request_),
                                  .body = body_,
                                  .host = std::string(request_->authority)};
    onward.url += request_->path;
    if (!request_->query.empty()) onward.url.append("?").append(request_->query);
    exchange_ = client_.Open(std::move(onward), exchange_options_, shared_from_this());
  }

  /// No answer came from this endpoint.
  void OnFailed(const absl::Status& status) {
    if (absl::IsInvalidArgument(status)) return Refuse(400, std::string(status.message()));
    if (absl::IsCancelled(status)) return Refuse(503, "the proxy stops");
    const std::shared_ptr<Endpoint>& endpoint = (*endpoints_)[next_++];
    KVORUM_LOG(*shared_.logger, kWarn, "failed to direct request", {"endpoint", endpoint->url},
               {"error", std::string(status.message())});
    shared_.metrics->OnDropped(request_->method, "failed_sending_request");
    shared_.director->MarkFailed(endpoint);
    TryNext();
  }

  /// Answers with an error of the proxy's own.
  void Refuse(int status, std::string_view text) {
    api_admin::ReplyJsonError(*std::exchange(writer_, nullptr), status, fmt::format("httpproxy: {}", text));
  }

  void Release() {
    if (std::exchange(counted_, false)) shared_.exchanges.fetch_sub(1);
  }

  ForwardingShared& shared_;
  http::Client& client_;
  const std::shared_ptr<const http::Request> request_;  // shared with its connection
  const std::string body_;
  http::ExchangeOptions exchange_options_;
  const MonotonicTime begin_;
  const std::shared_ptr<const Endpoints> endpoints_;  // as they were when the request came
  size_t available_ = 0;                              // of them, then
  size_t next_ = 0;
  http::ResponseWriter* writer_;              // null once answered, or gone
  std::shared_ptr<http::Exchange> exchange_;  // null before, between and after
  bool counted_ = false;                      // among the exchanges
  bool head_sent_ = false;
  bool has_length_ = false;  // the answer said how long it is
  char last_ = '\n';         // byte of the body that was passed on
};

/// The client's side: collects the body, and then keeps the way to the member.
class ForwardSink final : public http::RequestSink {
 public:
  ForwardSink(ForwardingShared& shared, http::Client& client, const http::Request& request,
              http::ResponseWriter& writer)
      : shared_(shared), client_(client), request_(request), writer_(writer) {
    shared_.metrics->OnRequest(request.method);
  }
  ~ForwardSink() override {
    if (forwarding_ != nullptr) forwarding_->Detach();
    Release();
  }

  void OnData(std::string_view data) override {
    if (over_) return;
    if (data.size() > shared_.max_body_bytes - body_.size()) {
      return Refuse(413, "request body too large");
    }
    const bool room = shared_.kept_bytes.fetch_add(data.size()) + data.size() <= shared_.max_kept_bytes;
    kept_ += data.size();
    if (!writer_.Keep(static_cast<ptrdiff_t>(data.size())) || !room) {
      return Refuse(503, "too many bytes of requests");
    }
    body_.append(data);
  }

  void OnEnd() override {
    if (std::exchange(over_, true)) return;
    forwarding_ = std::make_shared<Forwarding>(shared_, client_, request_, writer_, std::move(body_));
    forwarding_->Start();
  }

  void OnAbort() override {
    over_ = true;
    if (forwarding_ != nullptr) forwarding_->Detach();
  }

  void OnWritable() override {
    if (forwarding_ != nullptr) forwarding_->OnWritable();
  }

  void OnDrain() override {
    if (forwarding_ != nullptr) forwarding_->OnDrain();
  }

 private:
  void Refuse(int status, std::string_view text) {
    over_ = true;
    body_ = std::string();
    Release();
    api_admin::ReplyJsonError(writer_, status, fmt::format("httpproxy: {}", text));
  }

  void Release() {
    const size_t bytes = std::exchange(kept_, 0);
    if (bytes == 0) return;
    shared_.kept_bytes.fetch_sub(bytes);
    writer_.Keep(-static_cast<ptrdiff_t>(bytes));
  }

  ForwardingShared& shared_;
  http::Client& client_;
  const http::Request& request_;
  http::ResponseWriter& writer_;
  std::string body_;
  size_t kept_ = 0;
  bool over_ = false;                       // complete, refused or gone: what comes is dropped
  std::shared_ptr<Forwarding> forwarding_;  // null before the request is complete
};

}  // namespace

std::unique_ptr<http::RequestSink> Forward(ForwardingShared& shared, http::Client& client,
                                           const http::Request& request, http::ResponseWriter& writer) {
  return std::make_unique<ForwardSink>(shared, client, request, writer);
}

}  // namespace kvorum::proxy_http
