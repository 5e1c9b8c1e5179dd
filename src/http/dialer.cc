#include "http/dialer.h"

#include "boost/asio/ip/address.hpp"
#include "fmt/format.h"
#include "http/host_lookup.h"
#include "http/listener.h"
#include "http/text.h"

namespace kvorum::http {

namespace asio = boost::asio;

namespace {

/// Addresses of a name that are tried.
constexpr size_t kMaxEndpoints = 16;

std::string EndpointText(const asio::ip::tcp::endpoint& endpoint) {
  const std::string address = endpoint.address().to_string();
  return endpoint.address().is_v6() ? fmt::format("[{}]:{}", address, endpoint.port())
                                    : fmt::format("{}:{}", address, endpoint.port());
}

/// What this process or machine has no more of; another address would not help.
bool IsExhaustion(int error) {
  return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

}  // namespace

std::shared_ptr<Dialer> Dialer::Start(Loop& loop, std::string host, std::string port, MonotonicTime deadline,
                                      Done done, DialTls tls) {
  auto dialer = std::make_shared<Dialer>(loop, std::move(host), std::move(port), deadline, std::move(done),
                                         std::move(tls));
  loop.Post([dialer] { dialer->Resolve(); });
  return dialer;
}

Dialer::Dialer(Loop& loop, std::string host, std::string port, MonotonicTime deadline, Done done, DialTls tls)
    : loop_(loop),
      host_(std::move(host)),
      port_(std::move(port)),
      deadline_(deadline),
      done_(std::move(done)),
      tls_(std::move(tls)),
      connecting_(loop) {}

void Dialer::Cancel() {
  const std::shared_ptr<Dialer> self = shared_from_this();
  done_ = nullptr;
  connecting_.Cancel();
  if (std::shared_ptr<TlsHandshake> handshake = std::move(handshake_)) handshake->Cancel();
  if (timer_ != 0) loop_.CancelTimer(std::exchange(timer_, 0));
}

void Dialer::Resolve() {
  if (!done_) return;
  uint64_t port = 0;
  ParseDecimal(port_, &port);
  boost::system::error_code error;
  const asio::ip::address address = asio::ip::make_address(host_, error);
  if (!error) {
    endpoints_.emplace_back(address, static_cast<uint16_t>(port));
    return TryNext();
  }
  ArmTimer(deadline_);
  LookupHostOn(loop_, host_,
               [self = shared_from_this(), port](const absl::StatusOr<std::vector<std::string>>& addresses) {
                 if (!self->done_) return;
                 self->OnResolved(addresses, static_cast<uint16_t>(port));
               });
}

void Dialer::OnResolved(const absl::StatusOr<std::vector<std::string>>& addresses, uint16_t port) {
  if (!addresses.ok()) {
    return Finish(
        absl::UnavailableError(fmt::format("dial tcp: {}", std::string(addresses.status().message()))));
  }
  for (const std::string& text : *addresses) {
    boost::system::error_code error;
    const asio::ip::address address = asio::ip::make_address(text, error);
    if (!error && endpoints_.size() < kMaxEndpoints) endpoints_.emplace_back(address, port);
  }
  TryNext();
}

void Dialer::TryNext() {
  const MonotonicTime now = loop_.clock().Now();
  if (next_ == endpoints_.size() || now >= deadline_) {
    if (error_.empty()) error_ = fmt::format("dial tcp {}:{}: i/o timeout", host_, port_);
    return Finish(absl::UnavailableError(error_));
  }
  // Each address that is left gets its share of the time.
  ArmTimer(now + (deadline_ - now) / static_cast<int64_t>(endpoints_.size() - next_));
  connecting_.Cancel();
  const Tcp::endpoint& endpoint = endpoints_[next_++];
  connecting_.Start(endpoint.data(), static_cast<socklen_t>(endpoint.size()),
                    [self = shared_from_this()](int error) { self->OnConnected(error); });
}

void Dialer::OnConnected(int error) {
  if (error != 0) {
    if (IsExhaustion(error)) {
      return Finish(absl::ResourceExhaustedError(
          fmt::format("dial tcp {}: connect: {}", EndpointText(endpoints_[next_ - 1]), ErrnoText(error))));
    }
    if (error_.empty()) {
      error_ = fmt::format("dial tcp {}: connect: {}", EndpointText(endpoints_[next_ - 1]), ErrnoText(error));
    }
    return TryNext();
  }
  std::unique_ptr<ByteStream> stream = NewSocketStream(loop_, connecting_.Release());
  if (tls_.context == nullptr) return Finish(std::move(stream));
  ArmTimer(MonotonicTime::max());
  handshake_ = TlsHandshake::Start(
      loop_, NewTlsClientStream(loop_, std::move(stream), tls_.context, host_, tls_.protocols), deadline_,
      [self = shared_from_this()](absl::StatusOr<std::unique_ptr<ByteStream>> result) {
        self->handshake_.reset();
        if (absl::IsDeadlineExceeded(result.status())) {
          result = absl::UnavailableError("net/http: TLS handshake timeout");
        }
        self->Finish(std::move(result));
      });
}

void Dialer::OnTimeout() {
  if (!done_) return;
  if (endpoints_.empty()) {
    return Finish(absl::UnavailableError(fmt::format("dial tcp: lookup {}: i/o timeout", host_)));
  }
  if (error_.empty()) {
    error_ = fmt::format("dial tcp {}: i/o timeout", EndpointText(endpoints_[next_ - 1]));
  }
  TryNext();
}

void Dialer::ArmTimer(MonotonicTime when) {
  if (timer_ != 0) loop_.CancelTimer(std::exchange(timer_, 0));
  if (when == MonotonicTime::max()) return;
  timer_ = loop_.PostAt(when, [weak = weak_from_this()] {
    const std::shared_ptr<Dialer> self = weak.lock();
    if (self == nullptr) return;
    self->timer_ = 0;
    self->OnTimeout();
  });
}

void Dialer::Finish(absl::StatusOr<std::unique_ptr<ByteStream>> result) {
  if (timer_ != 0) loop_.CancelTimer(std::exchange(timer_, 0));
  connecting_.Cancel();
  std::exchange(done_, nullptr)(std::move(result));
}

}  // namespace kvorum::http
