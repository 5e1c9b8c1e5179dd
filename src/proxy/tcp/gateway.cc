#include "proxy/tcp/gateway.h"

#include <errno.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "base/check.h"
#include "base/status.h"
#include "fmt/format.h"
#include "http/dialer.h"
#include "http/listener.h"
#include "proxy/tcp/balancer.h"
#include "proxy/tcp/link_set.h"

namespace kvorum::proxy_tcp {

namespace {

using http::Dialer;
using http::Loop;
using Stream = std::unique_ptr<http::ByteStream>;

constexpr int kAcceptsPerTurn = 64;
constexpr std::chrono::nanoseconds kFirstBackoff = std::chrono::milliseconds(5);
constexpr std::chrono::nanoseconds kLastBackoff = std::chrono::seconds(1);
/// A server that says nothing for so long is not there.
constexpr std::chrono::seconds kDialTimeout{5};
/// Where no delay is asked for.
constexpr std::chrono::minutes kDefaultRetryDelay{5};
/// Descriptors that are not for connections.
constexpr size_t kReservedFiles = 64;

size_t ConnectionsOfFiles() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  const size_t files = limit.rlim_cur;
  return files <= kReservedFiles + 2 ? 1 : (files - kReservedFiles) / 2;
}

struct HostPort {
  std::string host;
  std::string port;
};

HostPort Split(const std::string& address) {
  const size_t colon = address.rfind(':');
  KVORUM_CHECK(colon != std::string::npos, "no port in {}", address);
  std::string host = address.substr(0, colon);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  return {.host = std::move(host), .port = address.substr(colon + 1)};
}

/// Errors of accept that concern one connection, or none, and not the listener.
bool IsPassing(int error) {
  return error == EINTR || error == ECONNABORTED || error == EPROTO || error == ENETDOWN ||
         error == ENOPROTOOPT || error == EHOSTDOWN || error == ENONET || error == EHOSTUNREACH ||
         error == EOPNOTSUPP || error == ENETUNREACH || error == EPERM;
}

/// The gateway as its loops share it. Accepts, and tests servers, on the first loop; a client is served on
/// one loop from then on.
class Core final : public std::enable_shared_from_this<Core> {
 public:
  Core(http::LoopGroup* loops, GatewayOptions options, http::Listener listener)
      : options_(std::move(options)),
        limit_(options_.max_connections > 0 ? options_.max_connections : ConnectionsOfFiles()),
        retry_delay_(options_.retry_delay.count() > 0 ? options_.retry_delay : kDefaultRetryDelay),
        loop_(loops->at(0)),
        listener_(std::move(listener)),
        testing_(options_.remotes.size()),
        balancer_(options_.remotes, options_.seed) {
    for (const Remote& remote : options_.remotes) targets_.push_back(Split(remote.address));
    for (size_t i = 0; i < loops->size(); ++i) workers_.push_back(std::make_unique<Worker>(loops->at(i)));
  }

  void Start() {
    for (size_t i = 0; i < workers_.size(); ++i) {
      workers_[i]->links = std::make_unique<LinkSet>(fmt::format("relay{}", i), [weak = weak_from_this()] {
        if (const std::shared_ptr<Core> self = weak.lock()) self->OnClosed();
      });
    }
    loop_.Post([self = shared_from_this()] {
      self->waiter_.emplace(self->loop_, self->listener_->fd(), http::Poller::kInputOnce);
      self->WaitForClients();
      self->TestLater();
    });
  }

  void Stop() {
    Run(loop_, [this] {
      stopped_ = true;
      waiter_.reset();
      listener_.reset();
      for (auto& test : testing_) {
        if (test != nullptr) std::exchange(test, nullptr)->Cancel();
      }
      if (timer_ != 0) loop_.CancelTimer(timer_);
    });
    for (auto& worker : workers_) {
      Run(worker->loop, [this, worker = worker.get()] {
        for (const std::shared_ptr<Client>& client : std::exchange(worker->dialing, {})) {
          client->dialer->Cancel();
          CloseClient(client->fd);
        }
        worker->stopped = true;
      });
      worker->links->CloseAll();
    }
  }

  const std::string& address() const { return listener_->address(); }

 private:
  /// One who waits for a server.
  struct Client {
    int fd = -1;
    std::shared_ptr<Dialer> dialer;
  };
  struct Worker {
    explicit Worker(Loop& l) : loop(l) {}
    Loop& loop;
    std::unique_ptr<LinkSet> links;
    // On the loop only.
    absl::flat_hash_set<std::shared_ptr<Client>> dialing;
    bool stopped = false;
  };

  static void Run(Loop& loop, absl::AnyInvocable<void()> work) {
    absl::Notification done;
    loop.Post([&] {
      work();
      done.Notify();
    });
    done.WaitForNotification();
  }

  void WaitForClients() {
    if (stopped_) return;
    const bool waits = waiter_->Once([self = shared_from_this()] { self->Accept(); });
    KVORUM_CHECK(waits, "cannot wait for connections: {}", http::ErrnoText(errno));
  }

  void Accept() {
    if (stopped_) return;
    for (int i = 0; i < kAcceptsPerTurn; ++i) {
      if (open_ >= limit_ && Pause()) return;
      const int fd = accept4(listener_->fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd >= 0) {
        backoff_ = kFirstBackoff;
        ++open_;
        Worker* worker = workers_[next_worker_++ % workers_.size()].get();
        worker->loop.Post([self = shared_from_this(), worker, fd] { self->Adopt(worker, fd); });
      } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
        break;
      } else if (!IsPassing(errno)) {
        return BackOff(errno);
      }
    }
    WaitForClients();
  }

  /// True when accepting goes on as soon as a connection ends.
  bool Pause() {
    if (!std::exchange(said_full_, true)) {
      KVORUM_LOG(*options_.logger, kWarn, "too many connections; more wait until some end",
                 {"connections", uint64_t{limit_}});
    }
    paused_ = true;
    return open_ >= limit_ || !paused_.exchange(false);  // one may have ended meanwhile
  }

  /// Too many open files, no memory: tried again later, for the listener stays readable and would spin.
  void BackOff(int error) {
    KVORUM_LOG(*options_.logger, kWarn, "failed to accept a connection; will try again",
               {"address", listener_->address()}, {"error", http::ErrnoText(error)}, {"retry-in", backoff_});
    loop_.PostAfter(backoff_, [self = shared_from_this()] { self->Accept(); });
    backoff_ = std::min(2 * backoff_, kLastBackoff);
  }

  void OnClosed() {
    --open_;
    if (paused_.exchange(false)) {
      loop_.Post([self = shared_from_this()] { self->Accept(); });
    }
  }

  void CloseClient(int fd) {
    close(fd);
    OnClosed();
  }

  void Adopt(Worker* worker, int fd) {
    if (worker->stopped) return CloseClient(fd);
    auto client = std::make_shared<Client>();
    client->fd = fd;
    worker->dialing.insert(client);
    Dial(worker, client);
  }

  /// Connects a client to the first server that answers.
  void Dial(Worker* worker, const std::shared_ptr<Client>& client) {
    std::optional<size_t> remote;
    {
      absl::MutexLock lock(&mutex_);
      remote = balancer_.Pick();
    }
    if (!remote) {
      worker->dialing.erase(client);
      return CloseClient(client->fd);
    }
    client->dialer = StartDial(
        worker->loop, *remote,
        [self = shared_from_this(), worker, client, remote = *remote](absl::StatusOr<Stream> stream) {
          self->OnDialed(worker, client, remote, std::move(stream));
        });
  }

  std::shared_ptr<Dialer> StartDial(Loop& loop, size_t remote, Dialer::Done done) {
    return Dialer::Start(loop, targets_[remote].host, targets_[remote].port,
                         loop.clock().Now() + kDialTimeout, std::move(done));
  }

  void OnDialed(Worker* worker, const std::shared_ptr<Client>& client, size_t remote,
                absl::StatusOr<Stream> stream) {
    if (stream.ok()) {
      worker->dialing.erase(client);
      const int server = (*stream)->Release();
      if (server < 0) return CloseClient(client->fd);
      return worker->links->Add(client->fd, server);
    }
    const std::string error(stream.status().message());
    if (absl::IsResourceExhausted(stream.status())) {  // it is not the server's fault
      KVORUM_LOG(*options_.logger, kWarn, "failed to connect to an endpoint; closing the client's connection",
                 {"address", options_.remotes[remote].address}, {"error", error});
      worker->dialing.erase(client);
      return CloseClient(client->fd);
    }
    Deactivate(remote, error);
    Dial(worker, client);
  }

  void Deactivate(size_t remote, const std::string& error) {
    {
      absl::MutexLock lock(&mutex_);
      if (!balancer_.IsActive(remote)) return;
      balancer_.SetActive(remote, false);
    }
    KVORUM_LOG(*options_.logger, kWarn, "deactivated endpoint", {"address", options_.remotes[remote].address},
               {"interval", retry_delay_}, {"error", error});
  }

  void TestLater() {
    timer_ = loop_.PostAfter(retry_delay_, [self = shared_from_this()] {
      self->timer_ = 0;
      if (self->stopped_) return;
      self->TestInactive();
      self->TestLater();
    });
  }

  void TestInactive() {
    std::vector<size_t> inactive;
    {
      absl::MutexLock lock(&mutex_);
      inactive = balancer_.Inactive();
    }
    for (const size_t remote : inactive) {
      if (testing_[remote] != nullptr) continue;
      testing_[remote] =
          StartDial(loop_, remote, [self = shared_from_this(), remote](absl::StatusOr<Stream> stream) {
            self->testing_[remote].reset();
            self->OnTested(remote, stream);
          });
    }
  }

  void OnTested(size_t remote, const absl::StatusOr<Stream>& stream) {
    const std::string& address = options_.remotes[remote].address;
    if (!stream.ok()) {
      KVORUM_LOG(*options_.logger, kWarn, "failed to activate endpoint (stay inactive for another interval)",
                 {"address", address}, {"interval", retry_delay_},
                 {"error", std::string(stream.status().message())});
      return;
    }
    (*stream)->Close();
    {
      absl::MutexLock lock(&mutex_);
      balancer_.SetActive(remote, true);
    }
    KVORUM_LOG(*options_.logger, kInfo, "activated", {"address", address});
  }

  // Constant once made.
  const GatewayOptions options_;
  const size_t limit_;
  const std::chrono::nanoseconds retry_delay_;
  std::vector<HostPort> targets_;
  std::vector<std::unique_ptr<Worker>> workers_;
  Loop& loop_;

  // On `loop_` only.
  std::optional<http::Listener> listener_;
  std::optional<http::DescriptorWait> waiter_;
  std::chrono::nanoseconds backoff_ = kFirstBackoff;
  size_t next_worker_ = 0;
  bool said_full_ = false;
  bool stopped_ = false;
  Loop::TimerId timer_ = 0;
  std::vector<std::shared_ptr<Dialer>> testing_;  // by remote

  std::atomic<size_t> open_{0};      // clients that are accepted and not closed; told by all loops
  std::atomic<bool> paused_{false};  // whoever clears it makes accepting go on

  absl::Mutex mutex_;
  Balancer balancer_ ABSL_GUARDED_BY(mutex_);
};

class GatewayImpl final : public Gateway {
 public:
  explicit GatewayImpl(std::shared_ptr<Core> core) : core_(std::move(core)), address_(core_->address()) {}
  ~GatewayImpl() override { Stop(); }

  const std::string& address() const override { return address_; }
  void Stop() override {
    if (core_ != nullptr) std::exchange(core_, nullptr)->Stop();
  }

 private:
  std::shared_ptr<Core> core_;  // with what goes on on the loops
  const std::string address_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Gateway>> Gateway::Start(http::LoopGroup* loops, GatewayOptions options) {
  KVORUM_ASSIGN_OR_RETURN(http::Listener listener,
                          http::Listener::Open("http://" + options.listen_address, {}));
  auto core = std::make_shared<Core>(loops, std::move(options), std::move(listener));
  core->Start();
  return std::make_unique<GatewayImpl>(std::move(core));
}

}  // namespace kvorum::proxy_tcp
