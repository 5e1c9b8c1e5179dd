#include "http/server.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "base/check.h"
#include "boost/asio/posix/stream_descriptor.hpp"
#include "fmt/format.h"
#include "http/connection.h"
#include "http/listener.h"

namespace kvorum::http {

namespace asio = boost::asio;

namespace {

constexpr int kAcceptsPerTurn = 64;
constexpr std::chrono::nanoseconds kFirstBackoff = std::chrono::milliseconds(5);
constexpr std::chrono::nanoseconds kLastBackoff = std::chrono::seconds(1);

/// Errors of accept that concern one connection, or none, and not the listener.
bool IsPassing(int error) {
  return error == EINTR || error == ECONNABORTED || error == EPROTO || error == ENETDOWN ||
         error == ENOPROTOOPT || error == EHOSTDOWN || error == ENONET || error == EHOSTUNREACH ||
         error == EOPNOTSUPP || error == ENETUNREACH || error == EPERM;
}

}  // namespace

class Server::Impl final : public ConnectionOwner, public std::enable_shared_from_this<Impl> {
 public:
  Impl(LoopGroup* loops, ServerOptions options) : loops_(loops), options_(std::move(options)) {}

  absl::StatusOr<std::string> Listen(const ListenAddress& address) {
    absl::StatusOr<Listener> listener = Listener::Open(address.url, options_);
    if (!listener.ok()) return listener.status();
    std::string bound = listener->address();
    acceptors_.push_back(std::make_unique<Acceptor>(loops_->Next(), *std::move(listener)));
    return bound;
  }

  void Start() {
    for (auto& acceptor : acceptors_) {
      acceptor->loop.Post([self = shared_from_this(), acceptor = acceptor.get()] {
        boost::system::error_code error;
        acceptor->waiter.emplace(acceptor->loop.context());
        acceptor->waiter->assign(acceptor->listener->fd(), error);
        KVORUM_CHECK(!error, "cannot wait for connections: {}", error.message());
        self->Wait(acceptor);
      });
    }
  }

  void Shutdown(std::chrono::nanoseconds grace) {
    StopAccepting();
    CancelHandshakes();
    ForEachConnection([](Connection& connection) { connection.Drain(); });
    if (WaitUntilEmpty(grace)) return;
    ForEachConnection([](Connection& connection) { connection.Close(); });
    WaitUntilEmpty(std::chrono::seconds(5));
  }

  size_t connection_count() const {
    absl::MutexLock lock(&mutex_);
    return connections_.size();
  }

  void OnClosed(Connection* connection) override {
    std::shared_ptr<Connection> last;
    absl::MutexLock lock(&mutex_);
    auto it = connections_.find(connection);
    if (it == connections_.end()) return;
    last = std::move(it->second);
    connections_.erase(it);
  }

 private:
  struct Acceptor {
    Acceptor(Loop& l, Listener opened) : loop(l), listener(std::move(opened)) {}
    Loop& loop;
    std::optional<Listener> listener;  // closed by StopAccepting
    // On the loop only.
    std::optional<asio::posix::stream_descriptor> waiter;
    std::chrono::nanoseconds backoff = kFirstBackoff;
    bool stopped = false;
  };

  void Wait(Acceptor* acceptor) {
    if (acceptor->stopped || !acceptor->waiter) return;
    acceptor->waiter->async_wait(
        asio::posix::stream_descriptor::wait_read,
        [self = shared_from_this(), acceptor](const boost::system::error_code& error) {
          if (!error) self->Accept(acceptor);
        });
  }

  void Accept(Acceptor* acceptor) {
    if (acceptor->stopped) return;
    for (int i = 0; i < kAcceptsPerTurn; ++i) {
      const int fd = ::accept4(acceptor->listener->fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd >= 0) {
        acceptor->backoff = kFirstBackoff;
        Adopt(fd, acceptor->listener->secure());
      } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
        break;
      } else if (!IsPassing(errno)) {
        return BackOff(acceptor, errno);
      }
    }
    Wait(acceptor);
  }

  /// Too many open files, no memory: tried again later, for the listener stays readable and would spin.
  void BackOff(Acceptor* acceptor, int error) {
    KVORUM_LOG(*options_.logger, kWarn, "failed to accept a connection; will try again",
               {"address", acceptor->listener->address()}, {"error", ErrnoText(error)},
               {"retry-in", acceptor->backoff});
    acceptor->loop.PostAfter(acceptor->backoff,
                             [self = shared_from_this(), acceptor] { self->Accept(acceptor); });
    acceptor->backoff = std::min(2 * acceptor->backoff, kLastBackoff);
  }

  void Adopt(int fd, bool secure) {
    Loop& loop = loops_->Next();
    loop.Post([self = shared_from_this(), &loop, fd, secure] {
      std::unique_ptr<ByteStream> stream = NewSocketStream(loop, fd);
      if (secure) return self->Shake(loop, std::move(stream));
      self->Serve(loop, std::move(stream));
    });
  }

  /// Closes the connection where the server stops.
  void Serve(Loop& loop, std::unique_ptr<ByteStream> stream) {
    auto connection = std::make_shared<Connection>(loop, std::move(stream), options_, shared_from_this());
    {
      absl::MutexLock lock(&mutex_);
      if (stopping_) return;
      connections_.emplace(connection.get(), connection);
    }
    connection->Start();
  }

  void Shake(Loop& loop, std::unique_ptr<ByteStream> stream) {
    const auto holder = std::make_shared<std::weak_ptr<TlsHandshake>>();
    const std::shared_ptr<TlsHandshake> handshake = TlsHandshake::Start(
        loop, NewTlsServerStream(loop, std::move(stream), options_.tls),
        loop.clock().Now() + options_.handshake_timeout,
        [self = shared_from_this(), &loop, holder](absl::StatusOr<std::unique_ptr<ByteStream>> result) {
          const std::shared_ptr<TlsHandshake> ended = holder->lock();
          if (result.ok()) {
            self->Serve(loop, *std::move(result));
          } else {
            KVORUM_LOG(*self->options_.logger, kWarn,
                       fmt::format("rejected connection on {}", self->options_.name),
                       {"remote-addr", ended->remote()}, {"error", std::string(result.status().message())});
          }
          absl::MutexLock lock(&self->mutex_);
          self->handshakes_.erase(ended);
        });
    *holder = handshake;
    absl::MutexLock lock(&mutex_);
    if (stopping_) return handshake->Cancel();
    handshakes_.emplace(handshake, &loop);
  }

  /// Ends the handshakes under way; they are no exchanges that one could wait for.
  void CancelHandshakes() {
    absl::MutexLock lock(&mutex_);
    for (const auto& [handshake, loop] : handshakes_) {
      loop->Post([self = shared_from_this(), handshake = handshake] {
        handshake->Cancel();
        absl::MutexLock again(&self->mutex_);
        self->handshakes_.erase(handshake);
      });
    }
  }

  void StopAccepting() {
    {
      absl::MutexLock lock(&mutex_);
      if (std::exchange(stopping_, true)) return;
    }
    for (auto& acceptor : acceptors_) {
      absl::Notification stopped;
      acceptor->loop.Post([&] {
        acceptor->stopped = true;
        if (acceptor->waiter) acceptor->waiter->release();  // the listener closes it
        acceptor->waiter.reset();
        acceptor->listener.reset();
        stopped.Notify();
      });
      stopped.WaitForNotification();
    }
  }

  void ForEachConnection(void (*action)(Connection&)) {
    std::vector<std::shared_ptr<Connection>> all;
    {
      absl::MutexLock lock(&mutex_);
      for (const auto& [_, connection] : connections_) all.push_back(connection);
    }
    for (std::shared_ptr<Connection>& connection : all) {
      Loop& loop = connection->loop();
      loop.Post([action, connection = std::move(connection)] { action(*connection); });
    }
  }

  bool WaitUntilEmpty(std::chrono::nanoseconds limit) {
    absl::MutexLock lock(&mutex_);
    const auto empty = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return connections_.empty() && handshakes_.empty();
    };
    return mutex_.AwaitWithTimeout(absl::Condition(&empty), absl::FromChrono(limit));
  }

  LoopGroup* const loops_;
  const ServerOptions options_;
  std::vector<std::unique_ptr<Acceptor>> acceptors_;  // constant once started

  mutable absl::Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  absl::flat_hash_map<Connection*, std::shared_ptr<Connection>> connections_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<std::shared_ptr<TlsHandshake>, Loop*> handshakes_ ABSL_GUARDED_BY(mutex_);
};

Server::Server(LoopGroup* loops, ServerOptions options)
    : impl_(std::make_shared<Impl>(loops, std::move(options))) {}

Server::~Server() { impl_->Shutdown(std::chrono::nanoseconds(0)); }

absl::StatusOr<std::string> Server::Listen(const ListenAddress& address) { return impl_->Listen(address); }

void Server::Start() { impl_->Start(); }

void Server::Shutdown(std::chrono::nanoseconds grace) { impl_->Shutdown(grace); }

size_t Server::connection_count() const { return impl_->connection_count(); }

Handler* SelectHandler(const ServerOptions& options, const Request& request) {
  if (options.grpc_handler != nullptr && request.protocol == Protocol::kHttp2) {
    const std::string_view* type = request.Find("content-type");
    if (type != nullptr && type->starts_with("application/grpc")) return options.grpc_handler;
  }
  return options.handler != nullptr ? options.handler : &NotFoundHandler();
}

}  // namespace kvorum::http
