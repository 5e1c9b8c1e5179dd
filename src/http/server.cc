#include "http/server.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <map>

#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "base/check.h"
#include "fmt/format.h"
#include "http/connecting.h"
#include "http/connection.h"
#include "http/listener.h"
#include "http/tls_names.h"

namespace kvorum::http {

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

/// The first byte of TLS (RFC 8446 §5.1): a record of the handshake. No HTTP request begins with it.
constexpr char kHandshakeRecord = 0x16;

/// Where a URL leads, whether or not it is encrypted: "tcp 127.0.0.1:2379".
std::string PlaceOf(std::string_view url) {
  const size_t colon = url.find("://");
  if (colon == std::string_view::npos) return std::string(url);
  return fmt::format("{} {}", url.starts_with("unix") ? "unix" : "tcp", url.substr(colon + 3));
}

/// Waits for a connection's first byte. On the loop only; shared between its user and the wait.
class FirstByte final : public ByteStream::User, public std::enable_shared_from_this<FirstByte> {
 public:
  /// The stream, of which nothing was read; null where nothing came in time.
  using Done = absl::AnyInvocable<void(std::unique_ptr<ByteStream>, bool is_tls)>;

  FirstByte(Loop& loop, std::unique_ptr<ByteStream> stream, Done done)
      : loop_(loop), stream_(std::move(stream)), done_(std::move(done)) {}

  /// Calls `done` once, not inside this call, unless `Cancel` comes first.
  void Start(MonotonicTime deadline) {
    stream_->WaitReadable(shared_from_this());
    timer_ = loop_.PostAt(deadline, [weak = weak_from_this()] {
      const std::shared_ptr<FirstByte> self = weak.lock();
      if (self == nullptr) return;
      self->timer_ = 0;
      self->stream_.reset();
      if (self->done_) std::exchange(self->done_, nullptr)(nullptr, false);
    });
  }
  void Cancel() {
    if (timer_ != 0) loop_.CancelTimer(std::exchange(timer_, 0));
    stream_.reset();
    done_ = nullptr;
  }

  void OnReadable() override {
    if (!done_) return;
    Loop::Turn turn(loop_);
    if (timer_ != 0) loop_.CancelTimer(std::exchange(timer_, 0));
    const int fd = stream_->Release();
    stream_.reset();
    char first = 0;
    const bool is_tls = ::recv(fd, &first, 1, MSG_PEEK | MSG_DONTWAIT) == 1 && first == kHandshakeRecord;
    std::exchange(done_, nullptr)(fd < 0 ? nullptr : NewSocketStream(loop_, fd), is_tls);
  }
  void OnRead(size_t, bool) override {}
  void OnWritable() override {}

 private:
  Loop& loop_;
  std::unique_ptr<ByteStream> stream_;
  Done done_;  // empty once called or cancelled
  Executor::TimerId timer_ = 0;
};

}  // namespace

class Server::Impl final : public ConnectionOwner, public std::enable_shared_from_this<Impl> {
 public:
  Impl(LoopGroup* loops, ServerOptions options) : loops_(loops), options_(std::move(options)) {}

  absl::StatusOr<std::string> Listen(const ListenAddress& address) {
    const std::string place = PlaceOf(address.url);
    const bool secure = address.url.starts_with("https://") || address.url.starts_with("unixs://");
    for (const auto& acceptor : acceptors_) {
      const bool other_kind =
          secure ? acceptor->traffic == Traffic::kPlain : acceptor->traffic == Traffic::kTls;
      if (acceptor->place != place || !other_kind || place.ends_with(":0")) continue;
      if (secure && options_.tls == nullptr) break;
      acceptor->traffic = Traffic::kBoth;
      return acceptor->listener->address();
    }
    absl::StatusOr<Listener> listener = Listener::Open(address.url, options_);
    if (!listener.ok()) return listener.status();
    std::string bound = listener->address();
    acceptors_.push_back(std::make_unique<Acceptor>(loops_->Next(), *std::move(listener), place));
    return bound;
  }

  void Start() {
    for (auto& acceptor : acceptors_) {
      acceptor->loop.Post([self = shared_from_this(), acceptor = acceptor.get()] {
        acceptor->waiter.emplace(acceptor->loop, acceptor->listener->fd(), Poller::kInputOnce);
        self->Wait(acceptor);
      });
    }
  }

  void Shutdown(std::chrono::nanoseconds grace) {
    StopAccepting();
    CancelOpenings();
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
  /// What the connections of a listener speak.
  enum class Traffic : uint8_t { kPlain, kTls, kBoth };

  struct Acceptor {
    Acceptor(Loop& l, Listener opened, std::string where)
        : loop(l),
          place(std::move(where)),
          traffic(opened.secure() ? Traffic::kTls : Traffic::kPlain),
          listener(std::move(opened)) {}
    Loop& loop;
    const std::string place;
    Traffic traffic;                   // constant once started
    std::optional<Listener> listener;  // closed by StopAccepting
    // On the loop only.
    std::optional<DescriptorWait> waiter;
    std::chrono::nanoseconds backoff = kFirstBackoff;
    bool stopped = false;
  };

  void Wait(Acceptor* acceptor) {
    if (acceptor->stopped || !acceptor->waiter) return;
    const bool waits =
        acceptor->waiter->Once([self = shared_from_this(), acceptor] { self->Accept(acceptor); });
    KVORUM_CHECK(waits, "cannot wait for connections: {}", ErrnoText(errno));
  }

  void Accept(Acceptor* acceptor) {
    if (acceptor->stopped) return;
    for (int i = 0; i < kAcceptsPerTurn; ++i) {
      const int fd = ::accept4(acceptor->listener->fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd >= 0) {
        acceptor->backoff = kFirstBackoff;
        Adopt(fd, acceptor->traffic);
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

  void Adopt(int fd, Traffic traffic) {
    Loop& loop = loops_->Next();
    loop.Post([self = shared_from_this(), &loop, fd, traffic] {
      std::unique_ptr<ByteStream> stream = NewSocketStream(loop, fd);
      if (traffic == Traffic::kBoth) return self->AwaitFirstByte(loop, std::move(stream));
      if (traffic == Traffic::kTls) return self->Shake(loop, std::move(stream));
      self->Serve(loop, std::move(stream));
    });
  }

  void AwaitFirstByte(Loop& loop, std::unique_ptr<ByteStream> stream) {
    const uint64_t serial = next_opening_.fetch_add(1, std::memory_order_relaxed);
    auto first = std::make_shared<FirstByte>(
        loop, std::move(stream),
        [self = shared_from_this(), &loop, serial](std::unique_ptr<ByteStream> same, bool is_tls) {
          self->CloseOpening(serial);
          if (same == nullptr) return;
          if (is_tls) return self->Shake(loop, std::move(same));
          self->Serve(loop, std::move(same));
        });
    first->Start(loop.clock().Now() + options_.handshake_timeout);
    AddOpening(serial, loop, first);
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
    const uint64_t serial = next_opening_.fetch_add(1, std::memory_order_relaxed);
    const auto holder = std::make_shared<std::weak_ptr<TlsHandshake>>();
    const std::shared_ptr<TlsHandshake> handshake = TlsHandshake::Start(
        loop, NewTlsServerStream(loop, std::move(stream), options_.tls),
        loop.clock().Now() + options_.handshake_timeout,
        [self = shared_from_this(), &loop, serial,
         holder](absl::StatusOr<std::unique_ptr<ByteStream>> result) {
          const std::shared_ptr<TlsHandshake> ended = holder->lock();
          if (!self->CloseOpening(serial)) return;
          if (result.ok()) return self->CheckNames(loop, *std::move(result));
          self->LogRejected(ended->remote(), ended->peer(), std::string(result.status().message()));
        });
    *holder = handshake;
    AddOpening(serial, loop, handshake);
  }

  /// Whether a client is where its certificate says; then it is served.
  void CheckNames(Loop& loop, std::unique_ptr<ByteStream> stream) {
    if (!options_.check_client_names) return Serve(loop, std::move(stream));
    const TlsPeer peer = stream->tls_peer();
    const std::string remote = stream->remote();
    CheckCertificateNames(loop, peer, remote,
                          [self = shared_from_this(), &loop, peer, remote,
                           stream = std::move(stream)](std::string objection) mutable {
                            if (objection.empty() || self->IsStopping())
                              return self->Serve(loop, std::move(stream));
                            self->LogRejected(remote, peer, objection);
                          });
  }

  bool IsStopping() const {
    absl::MutexLock lock(&mutex_);
    return stopping_;
  }

  void LogRejected(const std::string& remote, const TlsPeer& peer, const std::string& error) {
    const std::string message = fmt::format("rejected connection on {}", options_.name);
    if (peer.has_certificate) {
      KVORUM_LOG(*options_.logger, kWarn, message, {"remote-addr", remote}, {"server-name", peer.server_name},
                 {"ip-addresses", peer.addresses}, {"dns-names", peer.dns_names}, {"error", error});
    } else {
      KVORUM_LOG(*options_.logger, kWarn, message, {"remote-addr", remote}, {"server-name", peer.server_name},
                 {"error", error});
    }
  }

  /// A connection that is not open yet.
  struct Opening {
    Loop* loop;
    absl::AnyInvocable<void()> cancel;  ///< on the loop
  };
  using Openings = std::map<uint64_t, Opening>;

  template <typename T>
  void AddOpening(uint64_t serial, Loop& loop, const std::shared_ptr<T>& opening) {
    absl::MutexLock lock(&mutex_);
    if (stopping_) return opening->Cancel();
    openings_.emplace(serial, Opening{&loop, [opening] { opening->Cancel(); }});
    if (openings_.size() > options_.max_handshakes) CancelOpening(openings_.begin());
  }
  /// False: it was cancelled.
  bool CloseOpening(uint64_t serial) {
    absl::MutexLock lock(&mutex_);
    return openings_.erase(serial) > 0;
  }
  Openings::iterator CancelOpening(Openings::iterator it) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    it->second.loop->Post(std::move(it->second.cancel));
    return openings_.erase(it);
  }
  /// They are no exchanges that one could wait for.
  void CancelOpenings() {
    absl::MutexLock lock(&mutex_);
    for (auto it = openings_.begin(); it != openings_.end();) it = CancelOpening(it);
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
    const auto empty = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return connections_.empty(); };
    return mutex_.AwaitWithTimeout(absl::Condition(&empty), absl::FromChrono(limit));
  }

  LoopGroup* const loops_;
  const ServerOptions options_;
  std::vector<std::unique_ptr<Acceptor>> acceptors_;  // constant once started
  std::atomic<uint64_t> next_opening_{0};

  mutable absl::Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  absl::flat_hash_map<Connection*, std::shared_ptr<Connection>> connections_ ABSL_GUARDED_BY(mutex_);
  Openings openings_ ABSL_GUARDED_BY(mutex_);  // by age
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
