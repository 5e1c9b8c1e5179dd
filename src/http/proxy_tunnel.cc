#include "http/proxy_tunnel.h"

#include <utility>

#include "base/check.h"
#include "fmt/format.h"

namespace kvorum::http {
namespace {

constexpr size_t kMaxAnswerBytes = 64 << 10;
constexpr std::string_view kHeadEnd = "\r\n\r\n";
constexpr size_t kStatusAt = std::string_view("HTTP/1.1 ").size();

}  // namespace

std::shared_ptr<ProxyTunnel> ProxyTunnel::Start(Loop& loop, std::unique_ptr<ByteStream> stream, Server server,
                                                MonotonicTime deadline, Done done) {
  auto tunnel =
      std::make_shared<ProxyTunnel>(loop, std::move(stream), std::move(server), deadline, std::move(done));
  if (deadline != MonotonicTime::max()) {
    tunnel->timer_ = loop.PostAt(deadline, [weak = tunnel->weak_from_this()] {
      const std::shared_ptr<ProxyTunnel> self = weak.lock();
      if (self == nullptr || self->stream_ == nullptr) return;
      self->timer_ = 0;
      self->Finish(absl::UnavailableError("proxyconnect tcp: i/o timeout"));
    });
  }
  loop.Post([tunnel] {
    if (tunnel->done_) tunnel->Flush();
  });
  return tunnel;
}

ProxyTunnel::ProxyTunnel(Loop& loop, std::unique_ptr<ByteStream> stream, Server server,
                         MonotonicTime deadline, Done done)
    : loop_(loop),
      stream_(std::move(stream)),
      server_(std::move(server)),
      deadline_(deadline),
      done_(std::move(done)) {
  KVORUM_CHECK(server_.tls.context != nullptr, "a tunnel is for TLS");
  const std::string host =
      server_.host.find(':') == std::string::npos ? server_.host : fmt::format("[{}]", server_.host);
  unsent_ = fmt::format("CONNECT {0}:{1} HTTP/1.1\r\nhost: {0}:{1}\r\n\r\n", host, server_.port);
}

void ProxyTunnel::Cancel() {
  const std::shared_ptr<ProxyTunnel> self = shared_from_this();
  done_ = nullptr;
  if (const std::unique_ptr<ByteStream> stream = std::move(stream_)) stream->Close();
  if (const std::shared_ptr<TlsHandshake> handshake = std::move(handshake_)) handshake->Cancel();
  if (timer_ != 0) loop_.CancelTimer(std::exchange(timer_, 0));
}

void ProxyTunnel::Flush() {
  while (!unsent_.empty()) {
    const iovec piece{unsent_.data(), unsent_.size()};
    const ssize_t n = stream_->Write(&piece, 1);
    if (n < 0) return Finish(absl::UnavailableError("proxyconnect tcp: connection reset by peer"));
    if (n == 0) return stream_->WaitWritable(shared_from_this());
    unsent_.erase(0, static_cast<size_t>(n));
  }
  Read();
}

void ProxyTunnel::OnWritable() {
  if (stream_ != nullptr && done_) Flush();
}

void ProxyTunnel::Read() { stream_->Read(buffer_, sizeof(buffer_), shared_from_this()); }

void ProxyTunnel::OnRead(size_t size, bool /*broken*/) {
  if (stream_ == nullptr || !done_) return;
  if (size == 0) return Finish(absl::UnavailableError("proxyconnect tcp: EOF"));
  answer_.append(buffer_, size);
  if (answer_.find(kHeadEnd) != std::string::npos) return OnAnswer();
  if (answer_.size() > kMaxAnswerBytes) {
    return Finish(absl::UnavailableError("proxyconnect tcp: header too long"));
  }
  Read();
}

void ProxyTunnel::OnAnswer() {
  const std::string status = answer_.substr(0, answer_.find("\r\n"));
  if (!status.starts_with("HTTP/1.") || status.size() <= kStatusAt) {
    return Finish(absl::UnavailableError("proxyconnect tcp: malformed HTTP response"));
  }
  if (status[kStatusAt] != '2') {
    return Finish(absl::UnavailableError(
        fmt::format("proxyconnect tcp: the proxy answers {}", status.substr(kStatusAt))));
  }
  // The server says nothing before it was spoken to.
  if (!answer_.ends_with(kHeadEnd)) {
    return Finish(absl::UnavailableError("proxyconnect tcp: unexpected data behind the answer"));
  }
  if (timer_ != 0) loop_.CancelTimer(std::exchange(timer_, 0));
  handshake_ = TlsHandshake::Start(
      loop_,
      NewTlsClientStream(loop_, std::move(stream_), server_.tls.context, server_.host, server_.tls.protocols),
      deadline_, [self = shared_from_this()](auto result) {
        self->handshake_.reset();
        if (absl::IsDeadlineExceeded(result.status())) {
          result = absl::UnavailableError("net/http: TLS handshake timeout");
        }
        self->Finish(std::move(result));
      });
}

void ProxyTunnel::Finish(absl::StatusOr<std::unique_ptr<ByteStream>> result) {
  const std::shared_ptr<ProxyTunnel> self = shared_from_this();
  if (timer_ != 0) loop_.CancelTimer(std::exchange(timer_, 0));
  if (const std::unique_ptr<ByteStream> stream = std::move(stream_)) stream->Close();
  if (done_) std::exchange(done_, nullptr)(std::move(result));
}

}  // namespace kvorum::http
