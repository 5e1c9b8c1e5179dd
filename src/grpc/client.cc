#include "grpc/client.h"

#include <sys/un.h>

#include "base/check.h"
#include "fmt/format.h"
#include "grpc/client_core.h"
#include "http/connecting.h"
#include "http/dialer.h"
#include "http/listener.h"
#include "http/text.h"

namespace kvorum::grpc {

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
        connecting_(loop) {}

  void Begin() {
    std::string_view rest = target_;
    if (!http::ConsumePrefix(&rest, "unix:")) return DialTcp();
    http::ConsumePrefix(&rest, "//");
    DialUnix(std::string(rest));
  }

 private:
  using StreamOr = absl::StatusOr<std::unique_ptr<http::ByteStream>>;

  void DialTcp() {
    const size_t colon = target_.rfind(':');
    uint64_t port;
    if (colon == std::string::npos || !http::ParseDecimal(target_.substr(colon + 1), &port) || port > 65535) {
      return Fail(fmt::format("dial tcp {}: missing port in address", target_));
    }
    host_ = target_.substr(0, colon);
    if (host_.size() >= 2 && host_.front() == '[' && host_.back() == ']')
      host_ = host_.substr(1, host_.size() - 2);
    http::Dialer::Start(loop_, host_, target_.substr(colon + 1), options_.deadline,
                        [self = shared_from_this()](StreamOr stream) {
                          if (!stream.ok()) return self->Finish(stream.status());
                          self->OnDialled(*std::move(stream));
                        });
  }

  void DialUnix(std::string path) {
    if (path.size() >= sizeof(sockaddr_un::sun_path)) {
      return Fail(fmt::format("dial unix {}: path too long", path));
    }
    host_ = "localhost";
    sockaddr_un address{.sun_family = AF_UNIX};
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    connecting_.Start(
        reinterpret_cast<const sockaddr*>(&address), sizeof address,
        [self = shared_from_this(), path = std::move(path)](int error) {
          if (error != 0) {
            return self->Fail(fmt::format("dial unix {}: connect: {}", path, http::ErrnoText(error)));
          }
          self->OnDialled(http::NewSocketStream(self->loop_, self->connecting_.Release()));
        });
  }

  void OnDialled(std::unique_ptr<http::ByteStream> stream) {
    const std::string& authority = options_.authority.empty() ? target_ : options_.authority;
    if (options_.tls == nullptr) {
      core_ = std::make_shared<ClientCore>(loop_, std::move(stream), authority, options_.limits);
      core_->Start();
      return Finish(absl::OkStatus());
    }
    http::TlsHandshake::Start(
        loop_, http::NewTlsClientStream(loop_, std::move(stream), options_.tls, host_, {"h2"}),
        options_.deadline, [self = shared_from_this(), authority](StreamOr secured) {
          if (absl::IsDeadlineExceeded(secured.status())) {
            return self->FailHandshake("context deadline exceeded");
          }
          if (!secured.ok()) return self->FailHandshake(secured.status().message());
          if ((*secured)->alpn() != "h2") {
            return self->FailHandshake("credentials: cannot check peer: missing selected ALPN property");
          }
          self->core_ = std::make_shared<ClientCore>(self->loop_, *std::move(secured), authority,
                                                     self->options_.limits, "https");
          self->AwaitServer();
        });
  }

  /// Under TLS 1.3 a server refuses a client's certificate when the client takes the handshake for done.
  void AwaitServer() {
    if (options_.deadline != MonotonicTime::max()) {
      timer_ = loop_.PostAt(options_.deadline, [self = shared_from_this()] {
        self->timer_ = 0;
        self->core_->Close(absl::UnavailableError("error reading server preface: context deadline exceeded"));
      });
    }
    core_->Start();
    core_->OnReady([self = shared_from_this()] {
      if (self->core_ == nullptr) return;
      self->core_->OnUnusable(nullptr);
      self->Finish(absl::OkStatus());
    });
    core_->OnUnusable([self = shared_from_this()] {
      const absl::Status& why = self->core_->close_reason();
      self->Finish(why.ok() ? absl::UnavailableError("the server is going away") : why);
    });
  }

  void FailHandshake(absl::string_view why) {
    Fail(fmt::format("transport: authentication handshake failed: {}",
                     std::string_view(why.data(), why.size())));
  }

  void Fail(std::string_view why) { Finish(absl::UnavailableError(std::string(why))); }

  void Finish(const absl::Status& status) {
    if (timer_ != 0) loop_.CancelTimer(std::exchange(timer_, 0));
    std::shared_ptr<ClientCore> core = std::move(core_);
    if (!status.ok()) return done_(status);
    done_(std::make_unique<Connection>(std::move(core)));
  }

  http::Loop& loop_;
  const std::string target_;
  const ConnectOptions options_;
  ConnectDone done_;
  http::Connecting connecting_;
  std::string host_;  // that must be in the server's certificate
  std::shared_ptr<ClientCore> core_;
  Executor::TimerId timer_ = 0;
};

}  // namespace

void ClientConnection::Connect(http::Loop& loop, const std::string& target, ConnectOptions options,
                               ConnectDone done) {
  auto attempt = std::make_shared<Attempt>(loop, target, std::move(options), std::move(done));
  loop.Post([attempt] { attempt->Begin(); });
}

}  // namespace kvorum::grpc
