#include "proxy/http/grpc_forwarder.h"

#include <algorithm>
#include <atomic>
#include <iterator>
#include <utility>

#include "absl/synchronization/notification.h"
#include "api/admin/exchange.h"
#include "base/check.h"
#include "grpc/metadata.h"
#include "grpc/relay.h"

namespace kvorum::proxy_http {
namespace {

/// How long a member may be silent before it is asked whether it lives, and before it counts as dead. Servers
/// take no more than a ping in five seconds.
constexpr std::chrono::seconds kKeepaliveTime(10);
constexpr std::chrono::seconds kKeepaliveTimeout(10);
/// What a dial without a limit is given.
constexpr std::chrono::seconds kLongDial(60);

template <typename Action>
void RunOn(http::Loop& loop, Action action) {
  KVORUM_CHECK(!loop.InThread(), "waits for its own loop");
  absl::Notification done;
  loop.Post([&] {
    action();
    done.Notify();
  });
  done.WaitForNotification();
}

}  // namespace

bool IsReadMethod(std::string_view method) {
  static constexpr std::string_view kMethods[] = {
      "/etcdserverpb.Auth/AuthStatus",
      "/etcdserverpb.Auth/Authenticate",
      "/etcdserverpb.Auth/RoleGet",
      "/etcdserverpb.Auth/RoleList",
      "/etcdserverpb.Auth/UserGet",
      "/etcdserverpb.Auth/UserList",
      "/etcdserverpb.Cluster/MemberList",
      "/etcdserverpb.KV/Range",
      "/etcdserverpb.KV/RangeStream",
      "/etcdserverpb.Lease/LeaseLeases",
      "/etcdserverpb.Lease/LeaseTimeToLive",
      "/etcdserverpb.Maintenance/Hash",
      "/etcdserverpb.Maintenance/HashKV",
      "/etcdserverpb.Maintenance/Snapshot",
      "/etcdserverpb.Maintenance/Status",
      "/etcdserverpb.Watch/Watch",
      "/grpc.health.v1.Health/Check",
      "/grpc.health.v1.Health/List",
      "/grpc.health.v1.Health/Watch",
      "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
      "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
      "/v3electionpb.Election/Leader",
      "/v3electionpb.Election/Observe",
  };
  return std::find(std::begin(kMethods), std::end(kMethods), method) != std::end(kMethods);
}

/// Lets through what may go on.
class GrpcForwarder::Gate final : public http::Handler {
 public:
  Gate(std::unique_ptr<http::Handler> inner, bool readonly) : inner_(std::move(inner)), readonly_(readonly) {}

  std::unique_ptr<http::RequestSink> Start(const http::Request& request,
                                           http::ResponseWriter& writer) override {
    if (readonly_ && !IsReadMethod(request.path)) {
      return Refuse(writer, absl::UnimplementedError("kvorum: this proxy is read-only (--proxy=readonly): it "
                                                     "passes nothing on that may write"));
    }
    if (!open) return Refuse(writer, absl::UnavailableError("httpproxy: zero endpoints currently available"));
    return inner_->Start(request, writer);
  }

  /// There are members. Atomic: set by another thread.
  std::atomic<bool> open{false};

 private:
  static std::unique_ptr<http::RequestSink> Refuse(http::ResponseWriter& writer, const absl::Status& status) {
    http::Headers headers = grpc::StatusTrailers(status);
    headers.insert(headers.begin(), {"content-type", "application/grpc"});
    writer.SendOnlyHead(200, headers);
    return std::make_unique<api_admin::Exchange>();
  }

  const std::unique_ptr<http::Handler> inner_;
  const bool readonly_;
};

GrpcForwarder::GrpcForwarder(const Options& options) : loops_(*options.loops) {
  channels_.resize(loops_.size());
  for (size_t i = 0; i < loops_.size(); ++i) {
    grpc::ChannelOptions channel;
    channel.tls = options.tls;
    channel.dial_timeout = options.dial_timeout.count() > 0 ? options.dial_timeout : kLongDial;
    channel.keepalive_time = kKeepaliveTime;
    channel.keepalive_timeout = kKeepaliveTimeout;
    channel.logger = options.logger;
    RunOn(loops_.at(i), [&] { channels_[i] = std::make_unique<grpc::Channel>(loops_.at(i), channel); });
  }
  const auto channel_of = [this](http::Loop& loop) -> grpc::Channel& {
    size_t i = 0;
    while (i + 1 < channels_.size() && &loops_.at(i) != &loop) ++i;
    KVORUM_CHECK(&loops_.at(i) == &loop, "a call on a loop that is none of the proxy's");
    return *channels_[i];
  };
  gate_ = std::make_unique<Gate>(
      grpc::NewRelay({.channel = channel_of, .max_request_bytes = options.max_request_bytes}),
      options.readonly);
}

http::Handler& GrpcForwarder::handler() { return *gate_; }

GrpcForwarder::~GrpcForwarder() { Stop(); }

void GrpcForwarder::SetEndpoints(const std::vector<std::string>& urls) {
  for (size_t i = 0; i < channels_.size(); ++i) {
    RunOn(loops_.at(i), [&] { channels_[i]->SetEndpoints(urls); });
  }
  gate_->open = !urls.empty();
}

void GrpcForwarder::Stop() {
  for (size_t i = 0; i < channels_.size(); ++i) {
    RunOn(loops_.at(i), [&] { channels_[i].reset(); });
  }
  channels_.clear();
}

}  // namespace kvorum::proxy_http
