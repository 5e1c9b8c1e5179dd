#include "grpc/channel.h"

#include <algorithm>
#include <list>

#include "absl/container/flat_hash_map.h"
#include "base/random.h"
#include "fmt/format.h"
#include "grpc/metadata.h"
#include "http/text.h"

namespace kvorum::grpc {

namespace {

constexpr auto kFirstBackOff = std::chrono::milliseconds(100);
constexpr auto kMaxBackOff = std::chrono::seconds(3);
/// A connection that broke sooner counts as a dial that failed, so that a server which accepts and hangs up
/// is not dialled without end.
constexpr auto kLivedLongEnough = std::chrono::seconds(1);
/// Of the time for one dial where there are several servers to try.
constexpr auto kShortestDial = std::chrono::seconds(1);
/// A stream whose user is behind keeps at most this much.
constexpr uint32_t kStreamWindow = 1 << 20;

struct Target {
  std::string address;  // "host:port" or "unix:path"
  bool tls = false;
};

Target ParseEndpoint(std::string_view endpoint, bool tls_by_default) {
  if (http::ConsumePrefix(&endpoint, "unixs:")) return {fmt::format("unix:{}", endpoint), true};
  if (endpoint.starts_with("unix:")) return {std::string(endpoint), tls_by_default};
  bool tls = tls_by_default;
  if (http::ConsumePrefix(&endpoint, "https://")) {
    tls = true;
  } else if (http::ConsumePrefix(&endpoint, "http://")) {
    tls = false;
  }
  return {std::string(endpoint.substr(0, endpoint.find('/'))), tls};
}

}  // namespace

class Channel::Impl final : public std::enable_shared_from_this<Impl> {
 public:
  Impl(http::Loop& loop, ChannelOptions options)
      : loop_(loop),
        options_(std::move(options)),
        endpoints_(options_.endpoints),
        tls_(options_.tls),
        random_(SystemEntropy()),
        next_(endpoints_.empty() ? 0 : random_.Below(endpoints_.size())) {}

  void Start() { Dial(); }
  void Stop();
  void SetEndpoints(std::vector<std::string> endpoints);
  CallId Unary(std::string_view method, std::string_view request, MonotonicTime deadline,
               ClientConnection::UnaryDone done, const http::Headers& metadata);
  void Cancel(CallId call);
  std::unique_ptr<ClientConnection::Stream> OpenStream(std::string_view method,
                                                       ClientConnection::StreamCallbacks callbacks,
                                                       const http::Headers& metadata, MonotonicTime deadline);
  std::string connected_to() const { return connection_ == nullptr ? std::string() : connected_to_; }
  void TryAnother();
  void LeaveServer();

 private:
  class LateStream;
  /// A call that waits for a connection.
  struct Waiting {
    CallId id = 0;
    std::string method;
    http::Headers metadata;
    MonotonicTime deadline;
    Executor::TimerId timer = 0;
    // Of a unary call.
    std::string request;
    ClientConnection::UnaryDone done;
    // Of a stream.
    LateStream* stream = nullptr;
  };
  using WaitingList = std::list<Waiting>;
  /// A connection that takes no more calls, and runs until the last of them ended.
  struct Retired {
    uint32_t generation;
    std::unique_ptr<ClientConnection> connection;
  };

  bool Connected();
  void Dial();
  void OnDialled(uint64_t attempt, absl::StatusOr<std::unique_ptr<ClientConnection>> connection);
  void OnReady(uint64_t attempt);
  void OnDialFailed(const absl::Status& error);
  void OnUnusable(uint32_t generation);
  ClientConnection* Retire();
  void SweepLater();
  std::chrono::nanoseconds DialTime() const;
  std::shared_ptr<const http::TlsContext> Tls(const Target& target);

  WaitingList::iterator Wait(Waiting call);
  void SendWaiting();
  void Send(Waiting call);
  void GiveUp(CallId id);
  absl::Status NoConnection() const;
  static void End(Waiting call, const absl::Status& status);

  http::Loop& loop_;
  const ChannelOptions options_;
  std::vector<std::string> endpoints_;
  std::shared_ptr<const http::TlsContext> tls_;
  Random random_;
  bool stopped_ = false;

  std::unique_ptr<ClientConnection> connection_;  // null: none
  std::string connected_to_;
  MonotonicTime connected_since_{};
  uint32_t generation_ = 0;  // of connection_
  std::vector<Retired> retired_;
  bool sweep_due_ = false;

  bool dialling_ = false;
  uint64_t attempt_ = 0;                         // what belongs to an earlier one says nothing
  std::string dialled_;                          // by this attempt
  std::unique_ptr<ClientConnection> candidate_;  // connected, but not yet heard of
  size_t next_ = 0;                              // of endpoints_, to dial
  size_t failed_ = 0;                            // dials in a row
  std::chrono::nanoseconds back_off_ = kFirstBackOff;
  Executor::TimerId dial_timer_ = 0;  // of the attempt, or of the pause before the next
  absl::Status last_error_;

  WaitingList waiting_;
  CallId next_waiting_ = 1;
  absl::flat_hash_map<CallId, CallId> sent_late_;  // calls that waited, while they run
};

/// The stream of one that had to wait: keeps what is sent until there is a connection.
class Channel::Impl::LateStream final : public ClientConnection::Stream {
 public:
  LateStream(std::shared_ptr<Impl> impl, ClientConnection::StreamCallbacks callbacks)
      : impl_(std::move(impl)), callbacks_(std::move(callbacks)) {}
  ~LateStream() override {
    if (inner_ != nullptr || ended_) return;
    impl_->waiting_.remove_if([this](const Waiting& call) {
      if (call.stream != this) return false;
      impl_->loop_.CancelTimer(call.timer);
      return true;
    });
  }

  void Send(std::string_view message) override {
    if (inner_ != nullptr) return inner_->Send(message);
    if (ended_ || half_closed_) return;
    queued_.emplace_back(message);
    queued_bytes_ += message.size();
  }
  void HalfClose() override {
    if (inner_ != nullptr) return inner_->HalfClose();
    half_closed_ = true;
  }
  size_t buffered() const override { return inner_ != nullptr ? inner_->buffered() : queued_bytes_; }
  void Pause() override {
    paused_ = true;
    if (inner_ != nullptr) inner_->Pause();
  }
  void Resume() override {
    paused_ = false;
    if (inner_ != nullptr) inner_->Resume();
  }

  void Open(ClientConnection& connection, const Waiting& call) {
    inner_ = connection.OpenStream(call.method, std::move(callbacks_), call.metadata, call.deadline);
    if (paused_) inner_->Pause();
    for (const std::string& message : queued_) inner_->Send(message);
    if (half_closed_) inner_->HalfClose();
    queued_.clear();
  }
  void End(const absl::Status& status) {
    ended_ = true;
    queued_.clear();
    auto callbacks = std::move(callbacks_);
    callbacks.on_end(status);  // which may destroy this
  }

 private:
  const std::shared_ptr<Impl> impl_;
  ClientConnection::StreamCallbacks callbacks_;
  std::vector<std::string> queued_;
  size_t queued_bytes_ = 0;
  bool half_closed_ = false;
  bool paused_ = false;
  bool ended_ = false;
  std::unique_ptr<ClientConnection::Stream> inner_;
};

void Channel::Impl::Stop() {
  stopped_ = true;
  ++attempt_;
  if (dial_timer_ != 0) loop_.CancelTimer(std::exchange(dial_timer_, 0));
  const absl::Status reason = absl::CancelledError("grpc: the client connection is closing");
  candidate_.reset();
  WaitingList waiting = std::move(waiting_);
  waiting_.clear();
  for (Waiting& call : waiting) {
    loop_.CancelTimer(call.timer);
    End(std::move(call), reason);
  }
  std::vector<Retired> connections = std::move(retired_);
  retired_.clear();
  if (connection_ != nullptr) connections.push_back({generation_, std::move(connection_)});
  for (Retired& old : connections) {
    old.connection->OnUnusable(nullptr);
    old.connection->Close(reason);
  }
}

void Channel::Impl::SetEndpoints(std::vector<std::string> endpoints) {
  endpoints_ = std::move(endpoints);
  failed_ = 0;
  next_ = endpoints_.empty() ? 0 : random_.Below(endpoints_.size());
  if (connection_ != nullptr && std::ranges::find(endpoints_, connected_to_) == endpoints_.end()) {
    Retire()->CloseWhenIdle();
  }
  if (!dialling_ && dial_timer_ != 0) loop_.CancelTimer(std::exchange(dial_timer_, 0));
  Dial();
}

void Channel::Impl::TryAnother() {
  if (connection_ == nullptr || endpoints_.size() < 2) return;
  Retire()->CloseWhenIdle();
  Dial();
}

void Channel::Impl::LeaveServer() {
  if (connection_ == nullptr || endpoints_.size() < 2) return;
  Retire()->Close(absl::UnavailableError("the server was left for another"));
  Dial();
}

bool Channel::Impl::Connected() {
  if (connection_ == nullptr) return false;
  if (connection_->usable()) return true;
  Retire();
  Dial();
  return false;
}

std::chrono::nanoseconds Channel::Impl::DialTime() const {
  const std::chrono::nanoseconds share = options_.dial_timeout / std::max<size_t>(1, endpoints_.size());
  return std::min(options_.dial_timeout, std::max<std::chrono::nanoseconds>(share, kShortestDial));
}

std::shared_ptr<const http::TlsContext> Channel::Impl::Tls(const Target& target) {
  if (!target.tls) return nullptr;
  if (tls_ == nullptr) tls_ = http::TlsContext::SystemClient();
  return tls_;
}

void Channel::Impl::Dial() {
  if (stopped_ || dialling_ || dial_timer_ != 0 || connection_ != nullptr || endpoints_.empty()) return;
  dialling_ = true;
  const uint64_t attempt = ++attempt_;
  next_ %= endpoints_.size();
  dialled_ = endpoints_[next_++];
  const Target target = ParseEndpoint(dialled_, options_.tls != nullptr);
  const MonotonicTime deadline = loop_.clock().Now() + DialTime();
  dial_timer_ = loop_.PostAt(deadline, [this, attempt] {
    dial_timer_ = 0;
    if (attempt != attempt_) return;
    OnDialFailed(absl::UnavailableError(fmt::format("dial {}: i/o timeout", dialled_)));
  });
  ConnectOptions connect{.tls = Tls(target), .deadline = deadline};
  connect.limits.max_receive_bytes = options_.max_receive_bytes;
  connect.limits.max_send_bytes = options_.max_send_bytes;
  connect.limits.stream_window = kStreamWindow;
  connect.limits.keepalive_time = options_.keepalive_time;
  connect.limits.keepalive_timeout = options_.keepalive_timeout;
  connect.limits.keepalive_without_calls = options_.keepalive_without_calls;
  ClientConnection::Connect(loop_, target.address, std::move(connect),
                            [weak = weak_from_this(), attempt](auto connection) {
                              if (auto self = weak.lock()) self->OnDialled(attempt, std::move(connection));
                            });
}

void Channel::Impl::OnDialled(uint64_t attempt,
                              absl::StatusOr<std::unique_ptr<ClientConnection>> connection) {
  if (attempt != attempt_) return;
  if (!connection.ok()) return OnDialFailed(connection.status());
  candidate_ = *std::move(connection);
  // A server that hangs accepts connections too: it counts once it said something.
  candidate_->OnReady([weak = weak_from_this(), attempt] {
    if (auto self = weak.lock()) self->OnReady(attempt);
  });
  candidate_->OnUnusable([weak = weak_from_this(), attempt] {
    const auto self = weak.lock();
    if (self == nullptr || attempt != self->attempt_) return;
    self->OnDialFailed(
        absl::UnavailableError(fmt::format("dial {}: the server closed the connection", self->dialled_)));
  });
}

void Channel::Impl::OnReady(uint64_t attempt) {
  if (attempt != attempt_ || candidate_ == nullptr) return;
  ++attempt_;
  dialling_ = false;
  loop_.CancelTimer(std::exchange(dial_timer_, 0));
  connection_ = std::move(candidate_);
  connected_to_ = dialled_;
  connected_since_ = loop_.clock().Now();
  connection_->OnUnusable([weak = weak_from_this(), generation = ++generation_] {
    if (auto self = weak.lock()) self->OnUnusable(generation);
  });
  KVORUM_LOG(*options_.logger, kDebug, "connected to server", {"endpoint", connected_to_});
  SendWaiting();
}

void Channel::Impl::OnDialFailed(const absl::Status& error) {
  ++attempt_;
  dialling_ = false;
  if (dial_timer_ != 0) loop_.CancelTimer(std::exchange(dial_timer_, 0));
  if (candidate_ != nullptr) {
    // It may be this one that calls.
    candidate_->OnUnusable(nullptr);
    retired_.push_back({0, std::move(candidate_)});
    retired_.back().connection->CloseWhenIdle();
    SweepLater();
  }
  last_error_ = error;
  KVORUM_LOG(*options_.logger, kDebug, "failed to connect to server", {"endpoint", dialled_},
             {"error", Message(error)});
  if (++failed_ < endpoints_.size()) return Dial();
  failed_ = 0;
  const auto jitter = back_off_ / 5;
  const auto pause = back_off_ - jitter +
                     std::chrono::nanoseconds(random_.Below(static_cast<uint64_t>(2 * jitter.count()) + 1));
  back_off_ = std::min<std::chrono::nanoseconds>(kMaxBackOff, back_off_ * 8 / 5);
  dial_timer_ = loop_.PostAfter(pause, [this] {
    dial_timer_ = 0;
    Dial();
  });
}

void Channel::Impl::OnUnusable(uint32_t generation) {
  if (stopped_) return;
  if (generation == generation_ && connection_ != nullptr) {
    KVORUM_LOG(*options_.logger, kInfo, "lost connection to server", {"endpoint", connected_to_});
    Retire();
    loop_.Post([weak = weak_from_this()] {
      if (auto self = weak.lock()) self->Dial();
    });
  }
  SweepLater();
}

ClientConnection* Channel::Impl::Retire() {
  const bool lived = loop_.clock().Now() - connected_since_ >= kLivedLongEnough;
  if (lived) {
    failed_ = 0;
    back_off_ = kFirstBackOff;
  } else if (++failed_ >= endpoints_.size()) {
    failed_ = 0;
    dial_timer_ = loop_.PostAfter(back_off_, [this] {
      dial_timer_ = 0;
      Dial();
    });
    back_off_ = std::min<std::chrono::nanoseconds>(kMaxBackOff, back_off_ * 8 / 5);
  }
  ClientConnection* const old = connection_.get();
  retired_.push_back({generation_, std::move(connection_)});
  old->OnUnusable([weak = weak_from_this(), generation = generation_] {
    if (auto self = weak.lock()) self->OnUnusable(generation);
  });
  if (old->broken()) SweepLater();
  return old;
}

void Channel::Impl::SweepLater() {
  if (std::exchange(sweep_due_, true)) return;
  loop_.Post([weak = weak_from_this()] {
    const auto self = weak.lock();
    if (self == nullptr) return;
    self->sweep_due_ = false;
    std::erase_if(self->retired_, [](const Retired& old) { return old.connection->broken(); });
  });
}

Channel::CallId Channel::Impl::Unary(std::string_view method, std::string_view request,
                                     MonotonicTime deadline, ClientConnection::UnaryDone done,
                                     const http::Headers& metadata) {
  if (Connected()) {
    const auto id = connection_->Unary(method, request, std::move(done), metadata, deadline);
    return uint64_t{generation_} << 32 | static_cast<uint32_t>(id);
  }
  Waiting call{.method = std::string(method), .metadata = metadata, .deadline = deadline};
  call.request = request;
  call.done = std::move(done);
  return Wait(std::move(call))->id;
}

std::unique_ptr<ClientConnection::Stream> Channel::Impl::OpenStream(
    std::string_view method, ClientConnection::StreamCallbacks callbacks, const http::Headers& metadata,
    MonotonicTime deadline) {
  if (Connected()) return connection_->OpenStream(method, std::move(callbacks), metadata, deadline);
  Waiting call{.method = std::string(method), .metadata = metadata, .deadline = deadline};
  auto stream = std::make_unique<LateStream>(shared_from_this(), std::move(callbacks));
  call.stream = stream.get();
  Wait(std::move(call));
  return stream;
}

void Channel::Impl::Cancel(CallId call) {
  if (const auto late = sent_late_.find(call); late != sent_late_.end()) {
    call = late->second;
    sent_late_.erase(late);
  }
  const auto generation = static_cast<uint32_t>(call >> 32);
  const auto id = static_cast<ClientConnection::CallId>(call & UINT32_MAX);
  if (generation == 0) {
    waiting_.remove_if([&](const Waiting& waiting) {
      if (waiting.id != call) return false;
      loop_.CancelTimer(waiting.timer);
      return true;
    });
    return;
  }
  if (connection_ != nullptr && generation == generation_) return connection_->Cancel(id);
  for (Retired& old : retired_) {
    if (old.generation == generation) return old.connection->Cancel(id);
  }
}

Channel::Impl::WaitingList::iterator Channel::Impl::Wait(Waiting call) {
  // Without a deadline, or for a stream, as long as one round of dials takes.
  const MonotonicTime limit = loop_.clock().Now() + options_.dial_timeout;
  const bool short_one = call.stream != nullptr || call.deadline == MonotonicTime::max();
  const MonotonicTime until = short_one ? std::min(limit, call.deadline) : call.deadline;
  call.id = next_waiting_++;
  call.timer = loop_.PostAt(until, [this, id = call.id] { GiveUp(id); });
  return waiting_.insert(waiting_.end(), std::move(call));
}

void Channel::Impl::SendWaiting() {
  WaitingList waiting = std::move(waiting_);
  waiting_.clear();
  // Nothing of the users' is called inside, so the connection stays.
  for (Waiting& call : waiting) {
    loop_.CancelTimer(call.timer);
    Send(std::move(call));
  }
}

void Channel::Impl::Send(Waiting call) {
  if (call.stream != nullptr) return call.stream->Open(*connection_, call);
  const CallId late = call.id;
  auto done = [weak = weak_from_this(), late, done = std::move(call.done)](
                  const absl::Status& status, std::string_view response) mutable {
    if (auto self = weak.lock()) self->sent_late_.erase(late);
    done(status, response);
  };
  const auto id =
      connection_->Unary(call.method, call.request, std::move(done), call.metadata, call.deadline);
  sent_late_[late] = uint64_t{generation_} << 32 | static_cast<uint32_t>(id);
}

void Channel::Impl::GiveUp(CallId id) {
  const auto call = std::ranges::find_if(waiting_, [id](const Waiting& waiting) { return waiting.id == id; });
  if (call == waiting_.end()) return;
  Waiting given_up = std::move(*call);
  waiting_.erase(call);
  End(std::move(given_up), NoConnection());
}

absl::Status Channel::Impl::NoConnection() const {
  if (last_error_.ok()) return absl::DeadlineExceededError("context deadline exceeded");
  return absl::UnavailableError(
      fmt::format("connection error: desc = \"transport: Error while {}\"", Message(last_error_)));
}

void Channel::Impl::End(Waiting call, const absl::Status& status) {
  if (call.stream != nullptr) return call.stream->End(status);
  call.done(status, {});
}

Channel::Channel(http::Loop& loop, ChannelOptions options)
    : impl_(std::make_shared<Impl>(loop, std::move(options))) {
  impl_->Start();
}

Channel::~Channel() { impl_->Stop(); }

void Channel::SetEndpoints(std::vector<std::string> endpoints) { impl_->SetEndpoints(std::move(endpoints)); }

Channel::CallId Channel::Unary(std::string_view method, std::string_view request, MonotonicTime deadline,
                               ClientConnection::UnaryDone done, const http::Headers& metadata) {
  return impl_->Unary(method, request, deadline, std::move(done), metadata);
}

void Channel::Cancel(CallId call) { impl_->Cancel(call); }

std::unique_ptr<ClientConnection::Stream> Channel::OpenStream(std::string_view method,
                                                              ClientConnection::StreamCallbacks callbacks,
                                                              const http::Headers& metadata,
                                                              MonotonicTime deadline) {
  return impl_->OpenStream(method, std::move(callbacks), metadata, deadline);
}

std::string Channel::connected_to() const { return impl_->connected_to(); }

void Channel::TryAnother() { impl_->TryAnother(); }

void Channel::LeaveServer() { impl_->LeaveServer(); }

}  // namespace kvorum::grpc
