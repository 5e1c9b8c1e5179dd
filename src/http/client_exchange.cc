#include "http/client_exchange.h"

#include "fmt/format.h"
#include "http/client_connection.h"

namespace kvorum::http {

namespace {

bool IsHeaderText(std::string_view text) {
  return text.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos;
}

absl::Status CheckRequest(const ClientRequest& request) {
  bool good = !request.method.empty() && IsHeaderText(request.method) &&
              request.method.find(' ') == std::string::npos;
  good = good && IsHeaderText(request.host);
  for (const auto& [name, value] : request.headers) {
    good = good && !name.empty() && IsHeaderText(name) && IsHeaderText(value);
  }
  return good ? absl::OkStatus() : absl::InvalidArgumentError("invalid character in a request's header");
}

}  // namespace

ClientExchange::ClientExchange(ClientPool* pool, ClientRequest request, const ExchangeOptions& options,
                               std::shared_ptr<ResponseSink> sink, std::shared_ptr<BodySource> source)
    : pool_(pool),
      request_(std::move(request)),
      options_(options),
      sink_(std::move(sink)),
      source_(std::move(source)) {}

bool ClientExchange::Prepare() {
  absl::StatusOr<HttpUrl> url = ParseHttpUrl(request_.url);
  if (!url.ok()) return Fail(url.status()), false;
  url_ = *std::move(url);
  if (!request_.proxy.empty()) {
    absl::StatusOr<HttpUrl> proxy = ParseHttpUrl(request_.proxy);
    if (!proxy.ok()) return Fail(proxy.status()), false;
    proxy_ = *std::move(proxy);
  }
  if (absl::Status status = CheckRequest(request_); !status.ok()) return Fail(status), false;
  Arm();
  return true;
}

void ClientExchange::StartOn(std::shared_ptr<ExchangeConnection> connection) {
  if (Prepare()) Attach(std::move(connection));
}

void ClientExchange::Start() {
  if (ended() || !Prepare()) return;
  const std::string server = Server();
  if (options_.multiplexed && !proxy_) {
    if (std::shared_ptr<ExchangeConnection> shared = pool_->FindMultiplexed(server, url_)) {
      return Attach(std::move(shared));
    }
  }
  if (options_.pipelined) {
    if (std::shared_ptr<ClientConnection> busy = pool_->FindPipelined(server)) return Attach(std::move(busy));
  }
  std::shared_ptr<ClientConnection> idle = pool_->TakeIdle(server);
  if (idle == nullptr) return Dial();
  if (options_.pipelined) pool_->OnPipelined(idle);
  Attach(std::move(idle));
}

std::string ClientExchange::Server() const {
  const std::string server = url_.secure ? fmt::format("https://{}", url_.authority) : url_.authority;
  if (!proxy_) return server;
  return url_.secure ? fmt::format("proxy {} {}", proxy_->authority, server)
                     : fmt::format("proxy {}", proxy_->authority);
}

std::string ClientExchange::Target() const {
  return proxy_ && !url_.secure ? fmt::format("http://{}{}", url_.authority, url_.target) : url_.target;
}

void ClientExchange::Dial() {
  const std::chrono::nanoseconds timeout = pool_->options().dial_timeout;
  const MonotonicTime deadline =
      timeout.count() > 0 ? pool_->loop().clock().Now() + timeout : MonotonicTime::max();
  const HttpUrl& server = proxy_ ? *proxy_ : url_;
  dialer_ = Dialer::Start(
      pool_->loop(), server.host, server.port, deadline,
      [self = shared_from_this(), deadline](absl::StatusOr<std::unique_ptr<ByteStream>> stream) {
        self->dialer_.reset();
        if (!stream.ok()) return self->FailToDial(stream.status());
        if (self->proxy_ && self->url_.secure) return self->Tunnel(*std::move(stream), deadline);
        self->Attach(std::make_shared<ClientConnection>(self->pool_, *std::move(stream), self->Server()));
      },
      server.secure ? Tls() : DialTls{});
}

DialTls ClientExchange::Tls() const {
  const std::shared_ptr<const TlsContext>& own = pool_->options().tls;
  return {own != nullptr ? own : TlsContext::SystemClient(), {"http/1.1"}};
}

void ClientExchange::Tunnel(std::unique_ptr<ByteStream> stream, MonotonicTime deadline) {
  tunnel_ = ProxyTunnel::Start(
      pool_->loop(), std::move(stream), {url_.host, url_.port, Tls()}, deadline,
      [self = shared_from_this()](absl::StatusOr<std::unique_ptr<ByteStream>> result) {
        self->tunnel_.reset();
        if (!result.ok()) return self->Fail(result.status());
        self->Attach(std::make_shared<ClientConnection>(self->pool_, *std::move(result), self->Server()));
      });
}

void ClientExchange::FailToDial(const absl::Status& status) {
  if (!proxy_) return Fail(status);
  Fail(absl::Status(status.code(), fmt::format("proxyconnect tcp: {}", std::string(status.message()))));
}

void ClientExchange::Attach(std::shared_ptr<ExchangeConnection> connection) {
  connection_ = std::move(connection);
  connection_->Begin(shared_from_this());
}

std::shared_ptr<ResponseSink> ClientExchange::Detach() {
  if (timer_ != 0) pool_->loop().CancelTimer(std::exchange(timer_, 0));
  if (std::shared_ptr<Dialer> dialer = std::move(dialer_)) dialer->Cancel();
  if (std::shared_ptr<ProxyTunnel> tunnel = std::move(tunnel_)) tunnel->Cancel();
  if (std::shared_ptr<ExchangeConnection> connection = std::move(connection_)) connection->Leave(this);
  source_.reset();
  pool_->OnEnded(this);
  return std::move(sink_);
}

void ClientExchange::Cancel() {
  const std::shared_ptr<ClientExchange> self = shared_from_this();
  if (!ended()) Detach();
}

void ClientExchange::Pause() {
  if (ended() || std::exchange(paused_, true)) return;
  if (connection_ != nullptr) connection_->Pause(this);
}

void ClientExchange::Resume() {
  if (ended() || !std::exchange(paused_, false)) return;
  OnRead();
  Arm();
  if (connection_ != nullptr) connection_->Resume(this);
}

void ClientExchange::Fail(const absl::Status& status) {
  const std::shared_ptr<ClientExchange> self = shared_from_this();
  if (!ended()) Detach()->OnEnd(status);
}

void ClientExchange::OnHead(ClientResponse head) {
  if (ended()) return;
  sent_at_.reset();
  read_at_ = pool_->loop().clock().Now();
  Arm();
  const std::shared_ptr<ResponseSink> sink = sink_;
  sink->OnHead(std::move(head));
}

void ClientExchange::OnData(std::string_view data) {
  const std::shared_ptr<ResponseSink> sink = sink_;
  sink->OnData(data);
}

void ClientExchange::OnComplete() {
  if (ended()) return;
  const std::shared_ptr<ClientExchange> self = shared_from_this();
  connection_.reset();  // it is idle, closed, or others'
  Detach()->OnEnd(absl::OkStatus());
}

void ClientExchange::OnBroken(const absl::Status& status, bool reused, bool untouched) {
  connection_.reset();
  if (ended()) return;
  if (reused && untouched && (options_.repeat || request_.method == "GET") &&
      !std::exchange(repeated_, true)) {
    blocked_since_.reset();
    sent_at_.reset();
    return Dial();
  }
  Fail(status);
}

void ClientExchange::OnDisplaced(bool dial) {
  connection_.reset();
  if (ended()) return;
  blocked_since_.reset();
  sent_at_.reset();
  if (!dial) {
    if (std::shared_ptr<ClientConnection> idle = pool_->TakeIdle(Server())) return Attach(std::move(idle));
  }
  Dial();
}

void ClientExchange::OnWritten(bool all) {
  blocked_since_.reset();
  if (!all || sent_at_ || read_at_) return;
  sent_at_ = pool_->loop().clock().Now();
  Arm();
}

void ClientExchange::OnWriteBlocked() {
  if (blocked_since_) return;
  blocked_since_ = pool_->loop().clock().Now();
  Arm();
}

void ClientExchange::OnRead() {
  if (read_at_) read_at_ = pool_->loop().clock().Now();
}

MonotonicTime ClientExchange::Due() const {
  MonotonicTime due = options_.deadline;
  const auto limit = [&due](const std::optional<MonotonicTime>& since, std::chrono::nanoseconds timeout) {
    if (since && timeout.count() > 0) due = std::min(due, *since + timeout);
  };
  limit(blocked_since_, options_.write_timeout);
  limit(sent_at_, options_.response_timeout);
  if (!paused_) limit(read_at_, options_.read_timeout);
  return due;
}

void ClientExchange::Arm() {
  const MonotonicTime due = Due();
  if (due == MonotonicTime::max() || (timer_ != 0 && timer_at_ <= due)) return;
  if (timer_ != 0) pool_->loop().CancelTimer(timer_);
  timer_at_ = due;
  timer_ = pool_->loop().PostAt(due, [weak = weak_from_this()] {
    if (const std::shared_ptr<ClientExchange> self = weak.lock()) self->OnTimer();
  });
}

void ClientExchange::OnTimer() {
  timer_ = 0;
  if (ended()) return;
  const MonotonicTime now = pool_->loop().clock().Now();
  if (Due() > now) return Arm();
  Fail(absl::DeadlineExceededError(options_.deadline <= now ? "context deadline exceeded" : "i/o timeout"));
}

}  // namespace kvorum::http
