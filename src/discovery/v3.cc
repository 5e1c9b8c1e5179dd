#include "discovery/v3.h"

#include <algorithm>
#include <deque>
#include <limits>
#include <map>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_join.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "base/check.h"
#include "base/status.h"
#include "fmt/format.h"
#include "grpc/channel.h"
#include "proto/rpc.pb.h"

namespace kvorum::discovery {
namespace {

constexpr std::chrono::seconds kMinKeepaliveTime(10);
constexpr uint64_t kMaxRetries = std::numeric_limits<uint32_t>::max();
/// Of everything that is registered under a token.
constexpr size_t kMaxMessageBytes = size_t{4} << 20;
constexpr std::string_view kAuthIsOff = "etcdserver: authentication is not enabled";

std::string Trimmed(const std::string& text) { return std::string(absl::StripAsciiWhitespace(text)); }

/// The end of the range of keys that begin with `prefix`, whose last byte is less than 0xff.
std::string PrefixEnd(std::string prefix) {
  ++prefix.back();
  return prefix;
}

/// What a watch brings, handed from the loop to the thread that waits. Shared by both.
class Inbox {
 public:
  void Add(std::string_view message) {
    absl::MutexLock lock(&mutex_);
    messages_.emplace_back(message);
  }
  void End(const absl::Status& status) {
    absl::MutexLock lock(&mutex_);
    end_ = status.ok() ? absl::UnavailableError("the watch ended") : status;
  }
  /// The next message, or why there is none.
  absl::StatusOr<std::string> Take() {
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(this, &Inbox::HasSomething));
    if (messages_.empty()) return end_;
    std::string message = std::move(messages_.front());
    messages_.pop_front();
    return message;
  }

 private:
  bool HasSomething() const ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return !messages_.empty() || !end_.ok(); }

  absl::Mutex mutex_;
  std::deque<std::string> messages_ ABSL_GUARDED_BY(mutex_);
  absl::Status end_ ABSL_GUARDED_BY(mutex_);
};

/// One member's way through the protocol. Of one thread, which is not the loop's.
class Session {
 public:
  Session(const V3Options& options, const Registration& self)
      : options_(options),
        loop_(*options.loop),
        logger_(*options.logger),
        endpoints_(absl::StrJoin(options.endpoints, ",")),
        size_key_(fmt::format("/_etcd/registry/{}/_config/size", options.token)),
        members_key_(fmt::format("/_etcd/registry/{}/members", options.token)),
        own_key_(fmt::format("{}/{:x}", members_key_, self.id.value())),
        own_value_(self.Text()) {
    grpc::ChannelOptions channel;
    channel.endpoints = options.endpoints;
    channel.tls = options.tls;
    // A request waits no longer for a connection than for its answer.
    channel.dial_timeout = options.dial_timeout.count() > 0 ? options.dial_timeout : options.request_timeout;
    if (options.keepalive_time.count() > 0) {
      channel.keepalive_time = std::max<std::chrono::nanoseconds>(options.keepalive_time, kMinKeepaliveTime);
    }
    if (options.keepalive_timeout.count() > 0) channel.keepalive_timeout = options.keepalive_timeout;
    channel.max_receive_bytes = kMaxMessageBytes;
    channel.logger = options.logger;
    OnLoop([&] { channel_ = std::make_unique<grpc::Channel>(loop_, std::move(channel)); });
  }
  ~Session() {
    OnLoop([&] { channel_.reset(); });
  }

  absl::StatusOr<std::string> Join() {
    KVORUM_RETURN_IF_ERROR(Authenticate());
    KVORUM_ASSIGN_OR_RETURN(View view, Check());
    KVORUM_RETURN_IF_ERROR(Register());
    KVORUM_ASSIGN_OR_RETURN(view, Check());
    while (view.peers.size() < view.size) {
      const absl::Status waited = Wait(view);
      if (waited.ok()) break;
      KVORUM_RETURN_IF_ERROR(WaitToRetry("waiting for other nodes", waited));
      KVORUM_ASSIGN_OR_RETURN(view, Check());
    }
    KVORUM_LOG(logger_, kInfo, "found all needed peers from discovery service",
               {"discovery-token", options_.token}, {"discovery-endpoints", endpoints_},
               {"clusterSize", uint64_t{view.size}}, {"found-peers", uint64_t{view.peers.size()}});
    std::vector<std::string> values;
    for (size_t i = 0; i < view.size; ++i) values.push_back(view.peers[i].value);
    KVORUM_ASSIGN_OR_RETURN(ClusterText cluster, JoinTexts(values, "discovery: invalid peer URL"));
    KVORUM_LOG(logger_, kInfo, "discovery joined cluster successfully", {"discovery-token", options_.token},
               {"discovery-endpoints", endpoints_}, {"cluster", cluster.text});
    return std::move(cluster.text);
  }

 private:
  struct Peer {
    std::string key;
    std::string value;
    int64_t created = 0;  ///< revision
  };
  /// The token as it stood at one revision.
  struct View {
    size_t size = 0;
    std::vector<Peer> peers;  ///< in the order in which they came
    int64_t revision = 0;
  };

  template <typename Body>
  void OnLoop(Body body) {
    absl::Notification done;
    loop_.Post([&] {
      body();
      done.Notify();
    });
    done.WaitForNotification();
  }

  http::Headers Metadata() const {
    return auth_token_.empty() ? http::Headers{} : http::Headers{{"token", auth_token_}};
  }

  /// One call, without another try.
  template <typename Request, typename Response>
  absl::Status Call(std::string_view method, const Request& request, Response* response) {
    absl::Status result;
    std::string bytes;
    absl::Notification done;
    loop_.Post([&] {
      channel_->Unary(
          method, request.SerializeAsString(), loop_.clock().Now() + options_.request_timeout,
          [&](const absl::Status& status, std::string_view message) {
            result = status;
            bytes = message;
            done.Notify();
          },
          Metadata());
    });
    done.WaitForNotification();
    if (!result.ok()) return result;
    if (response->ParseFromString(bytes)) return absl::OkStatus();
    return absl::InternalError("the discovery service's answer is malformed");
  }

  /// Until the service answers; a refusal ends it.
  absl::Status Authenticate() {
    if (options_.user.empty()) return absl::OkStatus();
    etcdserverpb::AuthenticateRequest request;
    request.set_name(options_.user);
    request.set_password(options_.password);
    auth_token_.clear();
    while (true) {
      etcdserverpb::AuthenticateResponse response;
      const absl::Status status = Call("/etcdserverpb.Auth/Authenticate", request, &response);
      if (status.ok()) {
        auth_token_ = response.token();
        return status;
      }
      // A service without users takes everybody.
      if (status.message() == absl::string_view(kAuthIsOff.data(), kAuthIsOff.size()) ||
          absl::IsUnimplemented(status)) {
        return absl::OkStatus();
      }
      if (!absl::IsUnavailable(status) && !absl::IsDeadlineExceeded(status)) return status;
      KVORUM_RETURN_IF_ERROR(WaitToRetry("authentication", status));
    }
  }

  /// Before the next try, after `failure`.
  absl::Status WaitToRetry(std::string_view reason, const absl::Status& failure) {
    if (++retries_ >= kMaxRetries) return TooManyRetriesError();
    const std::chrono::nanoseconds time = BackOff(retries_);
    KVORUM_LOG(logger_, kWarn, "retry connecting to discovery service", {"discovery-token", options_.token},
               {"discovery-endpoints", endpoints_}, {"reason", reason}, {"backoff", time},
               {"error", std::string(failure.message())});
    options_.pause(time);
    // Tokens do not live for ever.
    if (absl::IsUnauthenticated(failure)) return Authenticate();
    return absl::OkStatus();
  }

  /// Until the service answers. FullError where the first places are others'.
  absl::StatusOr<View> Check() {
    View view;
    while (true) {
      const absl::Status status = CheckOnce(&view);
      if (status.ok()) break;
      if (absl::IsFailedPrecondition(status)) return status;
      KVORUM_RETURN_IF_ERROR(WaitToRetry("cluster status check", status));
    }
    retries_ = 0;
    const auto end = view.peers.begin() + static_cast<ptrdiff_t>(std::min(view.size, view.peers.size()));
    const bool found = std::any_of(view.peers.begin(), end, [&](const Peer& p) { return p.key == own_key_; });
    if (view.peers.size() >= view.size && !found) return FullError();
    return view;
  }

  /// FailedPrecondition for what trying again does not change.
  absl::Status CheckOnce(View* view) {
    etcdserverpb::RangeRequest request;
    etcdserverpb::RangeResponse response;
    request.set_key(size_key_);
    KVORUM_RETURN_IF_ERROR(Range(request, &response));
    if (response.kvs_size() == 0) return absl::FailedPreconditionError("discovery: size key not found");
    KVORUM_ASSIGN_OR_RETURN(view->size, ParseSize(Trimmed(response.kvs(0).value())));

    request.set_key(members_key_);
    request.set_range_end(PrefixEnd(members_key_));
    KVORUM_RETURN_IF_ERROR(Range(request, &response));
    view->revision = response.header().revision();
    view->peers.clear();
    for (const mvccpb::KeyValue& kv : response.kvs()) Add(kv, view);
    return absl::OkStatus();
  }

  /// No answer of the service's is taken for one of the protocol's own errors.
  absl::Status Range(const etcdserverpb::RangeRequest& request, etcdserverpb::RangeResponse* response) {
    const absl::Status status = Call("/etcdserverpb.KV/Range", request, response);
    if (!absl::IsFailedPrecondition(status)) return status;
    return absl::UnavailableError(status.message());
  }

  /// A registration, unless it is none or known.
  void Add(const mvccpb::KeyValue& kv, View* view) const {
    Peer peer{.key = Trimmed(kv.key()), .value = Trimmed(kv.value()), .created = kv.create_revision()};
    if (peer.value.find('=') == std::string::npos) return;
    if (std::any_of(view->peers.begin(), view->peers.end(),
                    [&](const Peer& p) { return p.key == peer.key; })) {
      return;
    }
    KVORUM_LOG(logger_, kInfo, "found peer from discovery service", {"discovery-token", options_.token},
               {"discovery-endpoints", endpoints_}, {"memberKey", peer.key}, {"memberInfo", peer.value});
    view->peers.push_back(std::move(peer));
    std::stable_sort(view->peers.begin(), view->peers.end(),
                     [](const Peer& a, const Peer& b) { return a.created < b.created; });
  }

  absl::Status Register() {
    etcdserverpb::PutRequest request;
    request.set_key(own_key_);
    request.set_value(own_value_);
    while (true) {
      etcdserverpb::PutResponse response;
      const absl::Status status = Call("/etcdserverpb.KV/Put", request, &response);
      if (status.ok()) break;
      KVORUM_RETURN_IF_ERROR(WaitToRetry("register member", status));
    }
    retries_ = 0;
    KVORUM_LOG(logger_, kInfo, "register member itself successfully", {"discovery-token", options_.token},
               {"discovery-endpoints", endpoints_}, {"memberKey", own_key_}, {"memberInfo", own_value_});
    return absl::OkStatus();
  }

  /// Until there are as many as are to be. Errors: the watch broke.
  absl::Status Wait(View& view) {
    KVORUM_LOG(logger_, kInfo, "waiting for peers from discovery service",
               {"discovery-token", options_.token}, {"discovery-endpoints", endpoints_},
               {"clusterSize", uint64_t{view.size}}, {"found-peers", uint64_t{view.peers.size()}});
    etcdserverpb::WatchRequest request;
    etcdserverpb::WatchCreateRequest* const create = request.mutable_create_request();
    create->set_key(members_key_);
    create->set_range_end(PrefixEnd(members_key_));
    create->set_start_revision(view.revision + 1);
    const auto inbox = std::make_shared<Inbox>();
    std::unique_ptr<grpc::ClientConnection::Stream> stream;
    OnLoop([&] {
      grpc::ClientConnection::StreamCallbacks callbacks;
      callbacks.on_message = [inbox](std::string_view message) { inbox->Add(message); };
      callbacks.on_end = [inbox](const absl::Status& status) { inbox->End(status); };
      stream = channel_->OpenStream("/etcdserverpb.Watch/Watch", std::move(callbacks), Metadata());
      stream->Send(request.SerializeAsString());
    });
    const absl::Status status = TakeEvents(*inbox, view);
    OnLoop([&] { stream.reset(); });
    return status;
  }

  absl::Status TakeEvents(Inbox& inbox, View& view) {
    while (view.peers.size() < view.size) {
      KVORUM_ASSIGN_OR_RETURN(const std::string message, inbox.Take());
      etcdserverpb::WatchResponse response;
      if (!response.ParseFromString(message)) return absl::UnavailableError("malformed watch response");
      if (response.canceled()) {
        return absl::UnavailableError(fmt::format("the watch was canceled: {}", response.cancel_reason()));
      }
      retries_ = 0;
      for (const mvccpb::Event& event : response.events()) {
        if (event.type() == mvccpb::Event::PUT) {
          Add(event.kv(), &view);
        } else {
          std::erase_if(view.peers, [&](const Peer& peer) { return peer.key == Trimmed(event.kv().key()); });
        }
      }
    }
    return absl::OkStatus();
  }

  const V3Options& options_;
  http::Loop& loop_;
  Logger& logger_;
  const std::string endpoints_;
  const std::string size_key_;
  const std::string members_key_;
  const std::string own_key_;
  const std::string own_value_;
  std::unique_ptr<grpc::Channel> channel_;  // on the loop
  std::string auth_token_;                  // changed while no call is under way
  uint64_t retries_ = 0;                    // since the service answered last
};

}  // namespace

absl::StatusOr<std::string> JoinV3(const V3Options& options, const Registration& self) {
  KVORUM_CHECK(options.loop != nullptr && !options.loop->InThread());
  return Session(options, self).Join();
}

}  // namespace kvorum::discovery
