#include "grpc/client.h"

#include "base/check.h"
#include "boost/asio/generic/stream_protocol.hpp"
#include "boost/asio/ip/tcp.hpp"
#include "boost/asio/local/stream_protocol.hpp"
#include "fmt/format.h"
#include "grpc/client_core.h"
#include "http/text.h"

namespace kvorum::grpc {

namespace asio = boost::asio;

namespace {

using ConnectDone = absl::AnyInvocable<void(absl::StatusOr<std::unique_ptr<ClientConnection>>)>;

class Connection final : public ClientConnection {
 public:
  explicit Connection(std::shared_ptr<ClientCore> core) : core_(std::move(core)) {}
  ~Connection() override { core_->Close(absl::UnavailableError("the connection was closed")); }

  void Unary(std::string_view method, std::string_view request, UnaryDone done,
             const http::Headers& metadata) override {
    core_->Unary(method, request, std::move(done), metadata);
  }
  void UnaryInPieces(std::string_view method, std::string_view request, UnaryPiece on_piece,
                     UnaryDone done) override {
    core_->UnaryInPieces(method, request, std::move(on_piece), std::move(done));
  }
  std::unique_ptr<Stream> OpenStream(std::string_view method, StreamCallbacks callbacks,
                                     const http::Headers& metadata) override {
    return core_->OpenStream(method, std::move(callbacks), metadata);
  }
  bool broken() const override { return core_->broken(); }

 private:
  const std::shared_ptr<ClientCore> core_;  // shared with its I/O under way
};

/// One attempt to connect. Shared with its operation under way.
struct Attempt : std::enable_shared_from_this<Attempt> {
  Attempt(http::Loop& l, std::string t, ConnectDone d)
      : loop(l), target(std::move(t)), done(std::move(d)), socket(l.context()), resolver(l.context()) {}

  http::Loop& loop;
  const std::string target;
  std::string network = "tcp";
  std::string address = target;  // without the scheme
  ConnectDone done;
  asio::generic::stream_protocol::socket socket;
  asio::ip::tcp::resolver resolver;

  void Begin() {
    std::string_view rest = target;
    if (http::ConsumePrefix(&rest, "unix:")) {
      http::ConsumePrefix(&rest, "//");
      network = "unix";
      address = rest;
      if (rest.size() >= sizeof(sockaddr_un::sun_path)) return Fail("path too long");
      return Dial(asio::local::stream_protocol::endpoint(address));
    }
    const size_t colon = rest.rfind(':');
    uint64_t port;
    if (colon == std::string_view::npos || !http::ParseDecimal(rest.substr(colon + 1), &port) ||
        port > 65535) {
      return Fail("missing port in address");
    }
    std::string host(rest.substr(0, colon));
    if (host.size() >= 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
    boost::system::error_code error;
    const auto address = asio::ip::make_address(host, error);
    if (!error) return Dial(asio::ip::tcp::endpoint(address, static_cast<uint16_t>(port)));
    resolver.async_resolve(host, std::string(rest.substr(colon + 1)),
                           [self = shared_from_this()](const boost::system::error_code& failure,
                                                       const asio::ip::tcp::resolver::results_type& found) {
                             http::Loop::Turn turn(self->loop);
                             if (failure || found.empty()) return self->Fail("no such host");
                             self->Dial(found.begin()->endpoint());
                           });
  }

  void Dial(const asio::generic::stream_protocol::endpoint& endpoint) {
    socket.async_connect(endpoint, [self = shared_from_this()](const boost::system::error_code& error) {
      http::Loop::Turn turn(self->loop);
      if (error) return self->Fail("connect: " + http::LowerCase(error.message()));
      boost::system::error_code ignored;
      auto core = std::make_shared<ClientCore>(
          self->loop, http::NewSocketStream(self->loop, self->socket.release(ignored)), self->target);
      core->Start();
      self->done(std::make_unique<Connection>(std::move(core)));
    });
  }

  void Fail(std::string_view reason) {
    done(absl::UnavailableError(fmt::format("dial {} {}: {}", network, address, reason)));
  }
};

}  // namespace

void ClientConnection::Connect(http::Loop& loop, const std::string& target, ConnectDone done) {
  auto attempt = std::make_shared<Attempt>(loop, target, std::move(done));
  loop.Post([attempt] { attempt->Begin(); });
}

}  // namespace kvorum::grpc
