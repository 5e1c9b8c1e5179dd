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
      socket_(loop.context()) {}

void Dialer::Cancel() {
  const std::shared_ptr<Dialer> self = shared_from_this();
  done_ = nullptr;
  boost::system::error_code ignored;
  socket_.close(ignored);
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
                 Loop::Turn turn(self->loop_);
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
  boost::system::error_code ignored;
  socket_.close(ignored);
  const size_t attempt = ++attempts_;
  socket_.async_connect(endpoints_[next_++],
                        [self = shared_from_this(), attempt](const boost::system::error_code& error) {
                          if (!self->done_ || attempt != self->attempts_) return;
                          Loop::Turn turn(self->loop_);
                          self->OnConnected(error);
                        });
}

void Dialer::OnConnected(const boost::system::error_code& error) {
  if (error) {
    if (IsExhaustion(error.value())) {
      return Finish(absl::ResourceExhaustedError(fmt::format(
          "dial tcp {}: connect: {}", EndpointText(endpoints_[next_ - 1]), ErrnoText(error.value()))));
    }
    if (error_.empty()) {
      error_ = fmt::format("dial tcp {}: connect: {}", EndpointText(endpoints_[next_ - 1]),
                           ErrnoText(error.value()));
    }
    return TryNext();
  }
  boost::system::error_code failed;
  const int fd = socket_.release(failed);
  if (failed) return Finish(absl::UnavailableError(fmt::format("dial tcp: {}", failed.message())));
  std::unique_ptr<ByteStream> stream = NewSocketStream(loop_, fd);
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
  boost::system::error_code ignored;
  socket_.close(ignored);
  std::exchange(done_, nullptr)(std::move(result));
}

}  // namespace kvorum::http
