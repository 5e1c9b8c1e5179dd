#include "grpc/client.h"

#include "base/check.h"
#include "boost/asio/local/stream_protocol.hpp"
#include "fmt/format.h"
#include "grpc/client_core.h"
#include "http/dialer.h"
#include "http/listener.h"
#include "http/text.h"

namespace kvorum::grpc {

namespace asio = boost::asio;

namespace {

using ConnectDone = ClientConnection::ConnectDone;

class Connection final : public ClientConnection {
 public:
  explicit Connection(std::shared_ptr<ClientCore> core) : core_(std::move(core)) {}
  ~Connection() override {
    core_->OnUnusable(nullptr);
    core_->Close(absl::UnavailableError("the connection was closed"));
  }

  void Close(const absl::Status& reason) override { core_->Close(reason); }
  void CloseWhenIdle() override { core_->CloseWhenIdle(); }
  CallId Unary(std::string_view method, std::string_view request, UnaryDone done,
               const http::Headers& metadata, MonotonicTime deadline) override {
    return core_->Unary(method, request, std::move(done), metadata, deadline);
  }
  void Cancel(CallId call) override { core_->CancelUnary(call); }
  void UnaryInPieces(std::string_view method, std::string_view request, UnaryPiece on_piece,
                     UnaryDone done) override {
    core_->UnaryInPieces(method, request, std::move(on_piece), std::move(done));
  }
  std::unique_ptr<Stream> OpenStream(std::string_view method, StreamCallbacks callbacks,
                                     const http::Headers& metadata, MonotonicTime deadline) override {
    return core_->OpenStream(method, std::move(callbacks), metadata, deadline);
  }
  bool broken() const override { return core_->broken(); }
  bool usable() const override { return core_->usable(); }
  void OnUnusable(absl::AnyInvocable<void()> callback) override { core_->OnUnusable(std::move(callback)); }
  void OnReady(absl::AnyInvocable<void()> callback) override { core_->OnReady(std::move(callback)); }

 private:
  const std::shared_ptr<ClientCore> core_;  // shared with its I/O under way
};

/// One attempt to connect. Shared with its operation under way.
class Attempt final : public std::enable_shared_from_this<Attempt> {
 public:
  Attempt(http::Loop& loop, const std::string& target, ConnectOptions options, ConnectDone done)
      : loop_(loop),
        target_(target),
        options_(std::move(options)),
        done_(std::move(done)),
        socket_(loop.context()) {}

  void Begin() {
    std::string_view rest = target_;
    if (!http::ConsumePrefix(&rest, "unix:")) return DialTcp();
    http::ConsumePrefix(&rest, "//");
    DialUnix(std::string(rest));
  }

 private:
  void DialTcp() {
    const size_t colon = target_.rfind(':');
    uint64_t port;
    if (colon == std::string::npos || !http::ParseDecimal(target_.substr(colon + 1), &port) || port > 65535) {
      return Fail(fmt::format("dial tcp {}: missing port in address", target_));
    }
    std::string host = target_.substr(0, colon);
    if (host.size() >= 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
    http::Dialer::Start(
        loop_, std::move(host), target_.substr(colon + 1), options_.deadline,
        [self = shared_from_this()](absl::StatusOr<std::unique_ptr<http::ByteStream>> stream) {
          if (!stream.ok()) return self->done_(stream.status());
          self->OnStream(*std::move(stream));
        });
  }

  void DialUnix(std::string path) {
    if (path.size() >= sizeof(sockaddr_un::sun_path)) {
      return Fail(fmt::format("dial unix {}: path too long", path));
    }
    const asio::local::stream_protocol::endpoint endpoint(path);
    socket_.async_connect(endpoint, [self = shared_from_this(),
                                     path = std::move(path)](const boost::system::error_code& error) {
      http::Loop::Turn turn(self->loop_);
      if (error) {
        return self->Fail(fmt::format("dial unix {}: connect: {}", path, http::ErrnoText(error.value())));
      }
      boost::system::error_code ignored;
      self->OnStream(http::NewSocketStream(self->loop_, self->socket_.release(ignored)));
    });
  }

  void OnStream(std::unique_ptr<http::ByteStream> stream) {
    if (options_.tls != nullptr) return Fail("TLS is not available");
    auto core = std::make_shared<ClientCore>(
        loop_, std::move(stream), options_.authority.empty() ? target_ : options_.authority, options_.limits);
    core->Start();
    done_(std::make_unique<Connection>(std::move(core)));
  }

  void Fail(std::string_view why) { done_(absl::UnavailableError(std::string(why))); }

  http::Loop& loop_;
  const std::string target_;
  const ConnectOptions options_;
  ConnectDone done_;
  asio::local::stream_protocol::socket socket_;
};

}  // namespace

void ClientConnection::Connect(http::Loop& loop, const std::string& target, ConnectOptions options,
                               ConnectDone done) {
  auto attempt = std::make_shared<Attempt>(loop, target, std::move(options), std::move(done));
  loop.Post([attempt] { attempt->Begin(); });
}

}  // namespace kvorum::grpc
