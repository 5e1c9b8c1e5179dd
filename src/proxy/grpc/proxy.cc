#include "proxy/grpc/proxy.h"

#include <algorithm>
#include <optional>

#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "base/random.h"
#include "base/status.h"
#include "fmt/format.h"
#include "grpc/relay.h"
#include "grpc/server.h"
#include "http/client.h"
#include "proto/rpc.pb.h"
#include "proxy/grpc/cluster_proxy.h"
#include "proxy/grpc/kv_proxy.h"
#include "proxy/grpc/lease_proxy.h"
#include "proxy/grpc/pages.h"
#include "proxy/grpc/registration.h"
#include "proxy/grpc/watch_proxy.h"

namespace kvorum::proxy_grpc {

using namespace std::chrono_literals;

namespace {

/// Of a request's message, as gRPC's servers have it.
constexpr size_t kMaxRequestBytes = 4 << 20;
constexpr auto kStopGrace = 2s;
constexpr auto kSyncTimeout = 5s;

/// Runs `action` on the loop and waits for it.
template <typename Action>
void RunOn(http::Loop& loop, Action action) {
  absl::Notification done;
  loop.Post([&] {
    action();
    done.Notify();
  });
  done.WaitForNotification();
}

/// Gives the methods that the proxy knows to its own server and the others to the cluster.
class Dispatcher final : public http::Handler {
 public:
  Dispatcher(grpc::Server* own, http::Handler* relay) : own_(own), relay_(relay) {}
  std::unique_ptr<http::RequestSink> Start(const http::Request& request,
                                           http::ResponseWriter& writer) override {
    return (own_->Has(request.path) ? static_cast<http::Handler*>(own_) : relay_)->Start(request, writer);
  }

 private:
  grpc::Server* const own_;
  http::Handler* const relay_;
};

/// Services whose calls write keys that the proxy does not see.
bool WritesKeys(std::string_view method) {
  return method.starts_with("/v3lockpb.") || method.starts_with("/v3electionpb.") ||
         method == "/etcdserverpb.Lease/LeaseRevoke";
}

class ProxyImpl final : public Proxy {
 public:
  explicit ProxyImpl(ProxyOptions options)
      : options_(std::move(options)),
        prefix_(options_.key_prefix),
        cache_({}, *options_.metrics),
        loops_(options_.io_threads, "client"),
        endpoints_(options_.cluster.endpoints) {}
  ~ProxyImpl() override { Stop(); }

  absl::Status Begin();
  const std::string& address() const override { return address_; }
  void Stop() override;

 private:
  void ConnectUpstream();
  void AddServices();
  absl::Status Listen();
  void SyncEndpoints();
  void OnMembers(const absl::Status& status, std::string_view response);
  void SetEndpoints(std::vector<std::string> endpoints);
  std::vector<std::string> MemberUrls();
  grpc::Channel& ChannelOf(http::Loop& loop) const { return *channels_.find(&loop)->second; }

  const ProxyOptions options_;
  const KeyPrefix prefix_;
  RangeCache cache_;
  std::string address_;
  bool stopped_ = false;

  http::LoopGroup loops_;
  http::Loop upstream_loop_{"upstream"};
  absl::flat_hash_map<const http::Loop*, std::unique_ptr<grpc::Channel>> channels_;  // fixed once started

  // Of the upstream's loop.
  std::unique_ptr<grpc::Channel> upstream_channel_;
  std::unique_ptr<grpc::Channel> self_;  // to this proxy, for its health
  std::unique_ptr<LeaderState> leader_;
  std::unique_ptr<ClusterProxy> cluster_;
  std::unique_ptr<Registration> registration_;
  Executor::TimerId sync_timer_ = 0;

  Upstream upstream_;
  std::unique_ptr<KvProxy> kv_;
  std::unique_ptr<WatchProxy> watch_;
  std::unique_ptr<LeaseProxy> lease_;
  std::optional<grpc::Server> services_;
  std::optional<grpc::HealthService> health_;
  std::unique_ptr<http::Handler> relay_;
  std::optional<Dispatcher> dispatcher_;
  std::optional<http::Client> client_;  // for members' metrics
  std::unique_ptr<http::Handler> pages_;
  std::optional<http::Server> server_;
  std::optional<http::Server> metrics_server_;

  absl::Mutex mutex_;
  std::vector<std::string> endpoints_ ABSL_GUARDED_BY(mutex_);
};

absl::Status ProxyImpl::Begin() {
  for (size_t i = 0; i < loops_.size(); ++i) {
    http::Loop& loop = loops_.at(i);
    RunOn(loop, [&] { channels_[&loop] = std::make_unique<grpc::Channel>(loop, options_.cluster); });
  }
  RunOn(upstream_loop_, [&] { ConnectUpstream(); });
  AddServices();
  KVORUM_RETURN_IF_ERROR(Listen());
  RunOn(upstream_loop_, [&] {
    if (!options_.resolver_prefix.empty()) {
      registration_ = std::make_unique<Registration>(
          upstream_, RegistrationOptions{.resolver_prefix = options_.resolver_prefix,
                                         .advertise_url = options_.advertise_url,
                                         .host_name = options_.host_name,
                                         .ttl = options_.resolver_ttl});
    }
    if (options_.endpoints_sync_interval.count() > 0) SyncEndpoints();
  });
  return absl::OkStatus();
}

void ProxyImpl::ConnectUpstream() {
  upstream_channel_ = std::make_unique<grpc::Channel>(upstream_loop_, options_.cluster);
  leader_ = WatchLeader(upstream_loop_, *upstream_channel_, *options_.logger);
  upstream_ = {.loop = &upstream_loop_,
               .channel = upstream_channel_.get(),
               .prefix = &prefix_,
               .leader = leader_.get(),
               .metrics = options_.metrics,
               .logger = options_.logger};
  if (options_.advertise_url.empty()) return;
  cluster_ = std::make_unique<ClusterProxy>(upstream_,
                                            ClusterProxyOptions{.resolver_prefix = options_.resolver_prefix,
                                                                .advertise_url = options_.advertise_url,
                                                                .host_name = options_.host_name});
  self_ = std::make_unique<grpc::Channel>(
      upstream_loop_, grpc::ChannelOptions{.endpoints = {options_.advertise_url}, .tls = options_.self_tls});
}

void ProxyImpl::AddServices() {
  grpc::ServerOptions server;
  server.max_receive_bytes = kMaxRequestBytes;
  server.finished = [this](const grpc::ServerOptions::Finished& call) {
    if (WritesKeys(call.info.method)) cache_.InvalidateAll();
  };
  services_.emplace(std::move(server));
  const auto channel = [this](http::Loop& loop) -> grpc::Channel& { return ChannelOf(loop); };
  kv_ = std::make_unique<KvProxy>(KvProxyOptions{.channel = channel,
                                                 .prefix = &prefix_,
                                                 .cache = &cache_,
                                                 .serializable_ordering = options_.serializable_ordering,
                                                 .endpoints = options_.cluster.endpoints.size()});
  kv_->Register(&*services_);
  watch_ = std::make_unique<WatchProxy>(upstream_);
  watch_->Register(&*services_);
  lease_ = std::make_unique<LeaseProxy>(upstream_);
  lease_->Register(&*services_);
  if (cluster_ != nullptr) cluster_->Register(&*services_);
  health_.emplace(&*services_);
  health_->SetServing(true);
  relay_ = grpc::NewRelay({.channel = channel,
                           .max_message_bytes = options_.cluster.max_receive_bytes,
                           .max_request_bytes = options_.cluster.max_send_bytes,
                           .before_answer = [this](std::string_view method) {
                             if (WritesKeys(method)) cache_.InvalidateAll();
                           }});
  dispatcher_.emplace(&*services_, relay_.get());
  client_.emplace(&upstream_loop_, http::ClientOptions{.dial_timeout = 1s, .tls = options_.cluster.tls});
  pages_ = NewPages({.upstream = upstream_, .self = self_.get(), .client = &*client_, .member_urls = [this] {
                       return MemberUrls();
                     }});
}

absl::Status ProxyImpl::Listen() {
  http::ServerOptions options = options_.server;
  options.tls = options_.listen_tls;
  const std::string scheme = options.tls == nullptr ? "http://" : "https://";
  options.grpc_handler = &*dispatcher_;
  options.handler = pages_.get();
  options.logger = options_.logger;
  server_.emplace(&loops_, options);
  KVORUM_ASSIGN_OR_RETURN(address_, server_->Listen({scheme + options_.listen_address}));
  KVORUM_LOG(*options_.logger, kInfo, "listening for gRPC proxy client requests", {"address", address_});
  if (!options_.metrics_url.empty()) {
    http::ServerOptions metrics;
    metrics.handler = pages_.get();
    metrics.tls = options_.listen_tls;
    metrics.logger = options_.logger;
    metrics_server_.emplace(&loops_, metrics);
    KVORUM_ASSIGN_OR_RETURN(const std::string bound, metrics_server_->Listen({options_.metrics_url}));
    KVORUM_LOG(*options_.logger, kInfo, "gRPC proxy listening for metrics", {"address", bound});
    metrics_server_->Start();
  }
  server_->Start();
  return absl::OkStatus();
}

void ProxyImpl::SyncEndpoints() {
  upstream_channel_->Unary(
      "/etcdserverpb.Cluster/MemberList", "", upstream_loop_.clock().Now() + kSyncTimeout,
      [this](const absl::Status& status, std::string_view response) { OnMembers(status, response); });
  sync_timer_ = upstream_loop_.PostAfter(options_.endpoints_sync_interval, [this] { SyncEndpoints(); });
}

void ProxyImpl::OnMembers(const absl::Status& status, std::string_view response) {
  etcdserverpb::MemberListResponse members;
  if (!status.ok() || !members.ParseFromArray(response.data(), static_cast<int>(response.size()))) return;
  std::vector<std::string> endpoints;
  for (const etcdserverpb::Member& member : members.members()) {
    if (member.name().empty() || member.islearner()) continue;
    endpoints.insert(endpoints.end(), member.clienturls().begin(), member.clienturls().end());
  }
  if (!endpoints.empty()) SetEndpoints(std::move(endpoints));
}

void ProxyImpl::SetEndpoints(std::vector<std::string> endpoints) {
  std::ranges::sort(endpoints);
  {
    absl::MutexLock lock(&mutex_);
    if (endpoints == endpoints_) return;
    endpoints_ = endpoints;
  }
  KVORUM_LOG(*options_.logger, kInfo, "endpoints of the cluster changed", {"endpoints", endpoints});
  upstream_channel_->SetEndpoints(endpoints);
  for (size_t i = 0; i < loops_.size(); ++i) {
    http::Loop& loop = loops_.at(i);
    loop.Post([&channel = ChannelOf(loop), endpoints] { channel.SetEndpoints(endpoints); });
  }
}

std::vector<std::string> ProxyImpl::MemberUrls() {
  std::vector<std::string> urls;
  {
    absl::MutexLock lock(&mutex_);
    urls = endpoints_;
  }
  for (std::string& url : urls) {
    if (url.find("://") == std::string::npos) {
      url.insert(0, options_.cluster.tls != nullptr ? "https://" : "http://");
    }
  }
  Random random(SystemEntropy());
  for (size_t i = urls.size(); i > 1; --i) std::swap(urls[i - 1], urls[random.Below(i)]);
  return urls;
}

void ProxyImpl::Stop() {
  if (std::exchange(stopped_, true)) return;
  if (health_) health_->SetServing(false);
  if (registration_ != nullptr) {
    absl::Notification withdrawn;
    upstream_loop_.Post([&] { registration_->Withdraw([&] { withdrawn.Notify(); }); });
    withdrawn.WaitForNotification();
  }
  // Their streams would go on for ever; other calls may end.
  watch_.reset();
  lease_.reset();
  if (server_) server_->Shutdown(kStopGrace);
  if (metrics_server_) metrics_server_->Shutdown(0s);
  RunOn(upstream_loop_, [&] {
    if (sync_timer_ != 0) upstream_loop_.CancelTimer(sync_timer_);
    registration_.reset();
    cluster_.reset();
    leader_.reset();
    self_.reset();
    upstream_channel_.reset();
  });
  for (size_t i = 0; i < loops_.size(); ++i) {
    RunOn(loops_.at(i), [&] { channels_[&loops_.at(i)].reset(); });
  }
  client_.reset();
  loops_.Stop();
  upstream_loop_.Stop();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Proxy>> Proxy::Start(ProxyOptions options) {
  auto proxy = std::make_unique<ProxyImpl>(std::move(options));
  KVORUM_RETURN_IF_ERROR(proxy->Begin());
  return proxy;
}

}  // namespace kvorum::proxy_grpc
