#include "http/client.h"

#include "absl/container/flat_hash_set.h"
#include "absl/synchronization/notification.h"
#include "base/check.h"
#include "fmt/format.h"
#include "http/client_connection.h"
#include "http/http2_connections.h"

namespace kvorum::http {

namespace {

absl::Status StoppedError() { return absl::CancelledError("the HTTP client was stopped"); }

/// Collects a response.
class Collector final : public ResponseSink {
 public:
  using Done = absl::AnyInvocable<void(absl::StatusOr<ClientResponse>)>;
  Collector(size_t limit, Done done) : limit_(limit), done_(std::move(done)) {}

  void OnHead(ClientResponse head) override { response_ = std::move(head); }
  void OnData(std::string_view data) override {
    if (!done_) return;
    if (data.size() > limit_ - response_.body.size()) {
      Finish(absl::ResourceExhaustedError(fmt::format("a response of more than {} bytes", limit_)));
      if (const std::shared_ptr<Exchange> exchange = exchange_.lock()) exchange->Cancel();
      return;
    }
    response_.body.append(data);
  }
  void OnEnd(absl::Status status) override {
    if (!done_) return;
    if (!status.ok()) return Finish(std::move(status));
    Finish(std::move(response_));
  }

  /// What to break off when the response is too long.
  void SetExchange(const std::shared_ptr<Exchange>& exchange) { exchange_ = exchange; }

 private:
  void Finish(absl::StatusOr<ClientResponse> result) { std::exchange(done_, nullptr)(std::move(result)); }

  const size_t limit_;
  Done done_;  // empty once called
  ClientResponse response_;
  std::weak_ptr<Exchange> exchange_;
};

}  // namespace

const std::string* ClientResponse::Find(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (key == name) return &value;
  }
  return nullptr;
}

class Client::Impl final : public ClientPool, public std::enable_shared_from_this<Impl> {
 public:
  Impl(Loop* loop, const ClientOptions& options) : loop_(*loop), options_(options) {}

  void Call(ClientRequest request, MonotonicTime deadline, Collector::Done done) {
    auto sink = std::make_shared<Collector>(options_.max_response_bytes, std::move(done));
    loop_.Post([self = shared_from_this(), request = std::move(request), deadline,
                sink = std::move(sink)]() mutable {
      if (self->stopped_) return sink->OnEnd(StoppedError());
      auto exchange = std::make_shared<ClientExchange>(self.get(), std::move(request),
                                                       ExchangeOptions{.deadline = deadline}, sink, nullptr);
      sink->SetExchange(exchange);
      self->active_.insert(exchange);
      exchange->Start();
    });
  }

  std::shared_ptr<Exchange> Open(ClientRequest request, const ExchangeOptions& options,
                                 std::shared_ptr<ResponseSink> sink, std::shared_ptr<BodySource> source) {
    KVORUM_CHECK(loop_.InThread(), "a client is used from its loop");
    KVORUM_CHECK(source == nullptr || !(options.pipelined || options.multiplexed),
                 "a request whose body is not here, and which shares a connection");
    auto exchange = std::make_shared<ClientExchange>(this, std::move(request), options, std::move(sink),
                                                     std::move(source));
    active_.insert(exchange);
    opened_.push_back(exchange);
    if (opened_.size() == 1) loop_.Post([self = shared_from_this()] { self->StartOpened(); });
    return exchange;
  }

  void Stop() {
    KVORUM_CHECK(!loop_.InThread(), "a client is not stopped from its loop");
    absl::Notification stopped;
    loop_.Post([this, &stopped] {
      stopped_ = true;
      while (!active_.empty()) {
        const std::shared_ptr<ClientExchange> exchange = *active_.begin();
        exchange->Fail(StoppedError());
      }
      http2_.Stop();
      for (Connections* connections : {&idle_, &pipelined_}) {
        while (!connections->empty()) {
          const std::shared_ptr<ClientConnection> connection = connections->begin()->second.back();
          connection->Close();
        }
      }
      stopped.Notify();
    });
    stopped.WaitForNotification();
  }

  Loop& loop() override { return loop_; }
  const ClientOptions& options() const override { return options_; }

  std::shared_ptr<ClientConnection> TakeIdle(const std::string& authority) override {
    const auto it = idle_.find(authority);
    if (it == idle_.end()) return nullptr;
    std::shared_ptr<ClientConnection> connection = std::move(it->second.back());
    it->second.pop_back();
    if (it->second.empty()) idle_.erase(it);
    return connection;
  }

  std::shared_ptr<ClientConnection> FindPipelined(const std::string& authority) override {
    const auto it = pipelined_.find(authority);
    if (it == pipelined_.end()) return nullptr;
    for (const std::shared_ptr<ClientConnection>& connection : it->second) {
      if (connection->HasRoom()) return connection;
    }
    return nullptr;
  }

  void OnPipelined(const std::shared_ptr<ClientConnection>& connection) override {
    pipelined_[connection->authority()].push_back(connection);
  }

  std::shared_ptr<ExchangeConnection> FindMultiplexed(const std::string& authority,
                                                      const HttpUrl& url) override {
    return http2_.Find(authority, url);
  }

  void OnIdle(const std::shared_ptr<ClientConnection>& connection) override {
    Forget(pipelined_, connection.get());
    std::vector<std::shared_ptr<ClientConnection>>& list = idle_[connection->authority()];
    list.push_back(connection);
    if (list.size() <= options_.max_idle_connections && !stopped_) return;
    const std::shared_ptr<ClientConnection> oldest = list.front();
    oldest->Close();
  }

  void OnClosed(ClientConnection* connection) override {
    Forget(idle_, connection);
    Forget(pipelined_, connection);
  }

  void OnEnded(ClientExchange* exchange) override { active_.erase(exchange->shared_from_this()); }

 private:
  /// Behind the input that waits: what came of it leaves together.
  void StartOpened() {
    for (const std::shared_ptr<ClientExchange>& exchange : std::exchange(opened_, {})) {
      if (stopped_) {
        exchange->Fail(StoppedError());
      } else {
        exchange->Start();
      }
    }
  }

  /// By authority. No list is empty.
  using Connections = absl::flat_hash_map<std::string, std::vector<std::shared_ptr<ClientConnection>>>;

  static void Forget(Connections& connections, const ClientConnection* connection) {
    const auto it = connections.find(connection->authority());
    if (it == connections.end()) return;
    std::erase_if(it->second, [connection](const auto& one) { return one.get() == connection; });
    if (it->second.empty()) connections.erase(it);
  }

  Loop& loop_;
  const ClientOptions options_;
  // Owned by the loop.
  bool stopped_ = false;
  absl::flat_hash_set<std::shared_ptr<ClientExchange>> active_;
  std::vector<std::shared_ptr<ClientExchange>> opened_;  // and not yet started
  Http2Connections http2_{this};
  Connections idle_;       // the one used last at the back
  Connections pipelined_;  // the one that is filled first at the front
};

Client::Client(Loop* loop, ClientOptions options) : impl_(std::make_shared<Impl>(loop, options)) {}

Client::~Client() { Stop(); }

void Client::Call(ClientRequest request, MonotonicTime deadline,
                  absl::AnyInvocable<void(absl::StatusOr<ClientResponse>)> done) {
  impl_->Call(std::move(request), deadline, std::move(done));
}

std::shared_ptr<Exchange> Client::Open(ClientRequest request, const ExchangeOptions& options,
                                       std::shared_ptr<ResponseSink> sink,
                                       std::shared_ptr<BodySource> source) {
  return impl_->Open(std::move(request), options, std::move(sink), std::move(source));
}

void Client::Stop() {
  if (!std::exchange(stopped_, true)) impl_->Stop();
}

}  // namespace kvorum::http
