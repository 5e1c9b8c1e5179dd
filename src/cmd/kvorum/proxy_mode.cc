#include "cmd/kvorum/proxy_mode.h"

#include <algorithm>
#include <thread>

#include "api/admin/handlers.h"
#include "base/status.h"
#include "cmd/kvorum/initial_cluster.h"
#include "cmd/kvorum/member_tls.h"
#include "cmd/kvorum/process.h"
#include "discovery/srv.h"
#include "discovery/v2.h"
#include "dns/resolver.h"
#include "http/client.h"
#include "http/server.h"
#include "proxy/http/reverse_proxy.h"

namespace kvorum::cmd {
namespace {

constexpr std::chrono::seconds kDiscoveryDialTimeout(30);
constexpr size_t kMaxDiscoveryBytes = size_t{4} << 20;
/// How long running exchanges may take at a stop.
constexpr std::chrono::seconds kShutdownGrace(1);
/// Open files that are no client's and no member's connection.
constexpr uint64_t kOtherFiles = 150;
/// More than the largest form that a member takes.
constexpr size_t kMaxFormBytes = 11 << 20;
/// What a message has beside the keys and values that --max-request-bytes bounds.
constexpr size_t kMessageOverhead = 512 << 10;

std::chrono::nanoseconds Milliseconds(uint64_t count) {
  constexpr uint64_t kMax = 1'000'000'000'000;  // thirty years: what nanoseconds can hold
  return std::chrono::milliseconds(std::min(count, kMax));
}

std::string Message(const absl::Status& status) { return std::string(status.message()); }

std::string ClusterFileOf(const config::Config& config) { return config.data_dir + "/proxy/cluster"; }

/// The members as --initial-cluster would have them, from wherever the flags say. Blocks.
absl::StatusOr<std::string> MembersText(const config::Config& config, Logger& logger) {
  if (!config.discovery.empty()) {
    http::Loop loop("discovery");
    http::Client client(&loop,
                        {.dial_timeout = kDiscoveryDialTimeout, .max_response_bytes = kMaxDiscoveryBytes});
    return discovery::ClusterV2(
        {.url = config.discovery, .proxy = config.discovery_proxy, .client = &client, .logger = &logger});
  }
  if (config.discovery_srv.empty()) return config.initial_cluster;
  KVORUM_ASSIGN_OR_RETURN(const dns::Resolver resolver, dns::Resolver::Create({.server = config.dns_server}));
  // Nobody of them is this process.
  absl::StatusOr<std::string> found = discovery::MembersBySrv(
      resolver, {.domain = config.discovery_srv, .service_name = config.discovery_srv_name}, config.name,
      /*advertise_peer_urls=*/{}, logger);
  if (found.ok()) return found;
  return absl::NotFoundError(fmt::format("error setting up initial cluster: {}", Message(found.status())));
}

absl::StatusOr<std::vector<std::string>> PeerUrls(const config::Config& config, Logger& logger) {
  const std::string file = ClusterFileOf(config);
  if (PosixEnv().Exists(file)) {
    if (!config.discovery.empty()) {
      KVORUM_LOG(
          logger, kWarn,
          "discovery token ignored since the proxy has already been initialized; valid cluster file found",
          {"cluster-file", file});
    }
    if (!config.discovery_srv.empty()) {
      KVORUM_LOG(
          logger, kWarn,
          "DNS SRV discovery ignored since the proxy has already been initialized; valid cluster file found",
          {"cluster-file", file});
    }
    return std::vector<std::string>();
  }
  StopAtOnce stop([&logger](int signal) {
    KVORUM_LOG(logger, kInfo, "received signal; shutting down", {"signal", SignalName(signal)});
  });
  KVORUM_ASSIGN_OR_RETURN(const std::string text, MembersText(config, logger));
  const auto cluster = config::ParseCluster(text);
  if (!cluster.ok()) {
    return absl::InvalidArgumentError(
        fmt::format("error setting up initial cluster: {}", Message(cluster.status())));
  }
  std::vector<std::string> urls;
  for (const auto& [name, members] : *cluster) {
    for (const config::Url& url : members) urls.push_back(url.Text());
  }
  std::sort(urls.begin(), urls.end());
  if (urls.empty()) return absl::InvalidArgumentError("no members are named to be a proxy of");
  return urls;
}

/// One running proxy: its ports and everything behind. Used by one thread.
class Proxy {
 public:
  Proxy(const config::Config& config, ProcessTls tls, JsonLogger& logger)
      : config_(config), tls_(std::move(tls)), logger_(logger), loops_(IoThreads(config)) {}
  ~Proxy() { Stop(); }

  absl::Status Start() {
    KVORUM_ASSIGN_OR_RETURN(const std::vector<std::string> peer_urls, PeerUrls(config_, logger_));
    KVORUM_ASSIGN_OR_RETURN(proxy_, proxy_http::ReverseProxy::Create(Options(peer_urls)));
    const bool http_apart = !config_.listen_client_http_urls.empty();
    KVORUM_RETURN_IF_ERROR(Listen(config_.listen_client_urls, &proxy_->grpc_handler(),
                                  http_apart ? nullptr : &proxy_->handler()));
    KVORUM_RETURN_IF_ERROR(Listen(config_.listen_client_http_urls, nullptr, &proxy_->handler()));
    KVORUM_RETURN_IF_ERROR(Listen(config_.listen_metrics_urls, nullptr, &proxy_->metrics_handler()));
    api_admin::AddProcessMetrics(&metrics_);
    {
      StopAtOnce stop([this](int signal) {
        KVORUM_LOG(logger_, kInfo, "received signal; shutting down", {"signal", SignalName(signal)});
      });
      KVORUM_RETURN_IF_ERROR(proxy_->Start());
    }
    for (const auto& server : servers_) server->Start();
    return absl::OkStatus();
  }

  void Stop() {
    std::vector<std::thread> stopping;
    for (const auto& server : servers_) {
      stopping.emplace_back([&server = *server] { server.Shutdown(kShutdownGrace); });
    }
    for (std::thread& thread : stopping) thread.join();
    servers_.clear();
    if (proxy_ != nullptr) proxy_->Stop();
    loops_.Stop();
  }

 private:
  static size_t IoThreads(const config::Config& config) {
    if (config.io_threads > 0) return config.io_threads;
    return std::max(1u, std::thread::hardware_concurrency());
  }

  proxy_http::ReverseProxyOptions Options(const std::vector<std::string>& peer_urls) {
    proxy_http::ReverseProxyOptions options;
    options.readonly = config_.proxy == "readonly";
    options.peer_urls = peer_urls;
    options.cluster_file = ClusterFileOf(config_);
    options.failure_wait = Milliseconds(config_.proxy_failure_wait_ms);
    options.refresh_interval = Milliseconds(config_.proxy_refresh_interval_ms);
    options.dial_timeout = Milliseconds(config_.proxy_dial_timeout_ms);
    options.write_timeout = Milliseconds(config_.proxy_write_timeout_ms);
    options.read_timeout = Milliseconds(config_.proxy_read_timeout_ms);
    options.cors = config_.cors;
    options.host_whitelist = config_.host_whitelist;
    options.max_grpc_bytes = config_.max_request_bytes + kMessageOverhead;
    // JSON has bytes in base64 and names in full.
    options.max_body_bytes = std::max(kMaxFormBytes, 2 * options.max_grpc_bytes);
    // Each exchange takes a client's connection and a member's.
    options.max_exchanges = (std::max(RaiseFileLimit(), 2 * kOtherFiles) - kOtherFiles) / 2;
    options.client_tls = tls_.clients.client != nullptr ? tls_.clients.client : tls_.peers.client;
    options.peer_tls = tls_.peers.client;
    options.env = &PosixEnv();
    options.loops = &loops_;
    options.logger = &logger_;
    options.metrics = &metrics_;
    return options;
  }

  absl::Status Listen(const std::vector<config::Url>& urls, http::Handler* grpc, http::Handler* handler) {
    if (urls.empty()) return absl::OkStatus();
    http::ServerOptions options;
    options.grpc_handler = grpc;
    options.handler = handler;
    options.logger = &logger_;
    options.tls = tls_.clients.server;
    options.reuse_port = config_.socket_reuse_port;
    options.reuse_address = config_.socket_reuse_address;
    options.max_concurrent_streams = static_cast<uint32_t>(config_.max_concurrent_streams);
    constexpr std::chrono::nanoseconds kOff(0);
    options.keepalive_min_time = std::max(config_.grpc_keepalive_min_time, kOff);
    options.keepalive_interval = std::max(config_.grpc_keepalive_interval, kOff);
    options.keepalive_timeout = std::max(config_.grpc_keepalive_timeout, kOff);
    servers_.push_back(std::make_unique<http::Server>(&loops_, options));
    for (const config::Url& url : urls) {
      KVORUM_ASSIGN_OR_RETURN(const std::string address, servers_.back()->Listen({url.Text()}));
      KVORUM_LOG(logger_, kInfo, "v2 proxy started listening on client requests", {"host", url.Text()},
                 {"address", address});
    }
    return absl::OkStatus();
  }

  const config::Config& config_;
  const ProcessTls tls_;
  JsonLogger& logger_;
  metrics::Registry metrics_;
  http::LoopGroup loops_;
  std::unique_ptr<proxy_http::ReverseProxy> proxy_;
  std::vector<std::unique_ptr<http::Server>> servers_;
};

}  // namespace

absl::StatusOr<DataDirKind> IdentifyDataDir(Env& env, const std::string& data_dir, Logger& logger) {
  if (!env.Exists(data_dir)) return DataDirKind::kFresh;
  KVORUM_ASSIGN_OR_RETURN(const std::vector<std::string> names, env.ListDirectory(data_dir));
  bool member = false;
  bool proxy = false;
  for (const std::string& name : names) {
    member = member || name == "member";
    proxy = proxy || name == "proxy";
    if (name == "member" || name == "proxy" || name == "fixtures") continue;
    KVORUM_LOG(logger, kWarn, "found invalid file under data directory", {"filename", name},
               {"data-dir", data_dir});
  }
  if (member && proxy) {
    return absl::FailedPreconditionError("invalid datadir; both member and proxy directories exist");
  }
  if (member) return DataDirKind::kMember;
  return proxy ? DataDirKind::kProxy : DataDirKind::kFresh;
}

absl::StatusOr<bool> IsProxyMode(const config::Config& config, Env& env, Logger& logger) {
  KVORUM_ASSIGN_OR_RETURN(const DataDirKind kind, IdentifyDataDir(env, config.data_dir, logger));
  if (kind == DataDirKind::kFresh) return config.proxy != "off";
  KVORUM_LOG(logger, kInfo, "server has been already initialized", {"data-dir", config.data_dir},
             {"dir-type", kind == DataDirKind::kProxy ? "proxy" : "member"});
  return kind == DataDirKind::kProxy;
}

int RunProxy(const config::Config& config, JsonLogger& logger) {
  KVORUM_LOG(logger, kInfo, "proxy starting", {"readonly", config.proxy == "readonly"},
             {"data-dir", config.data_dir});
  KeepFreedMemory();
  absl::StatusOr<ProcessTls> tls = MakeProcessTls(config, /*is_proxy=*/true, &logger);
  if (!tls.ok()) {
    KVORUM_LOG(logger, kFatal, "failed to start proxy", {"error", Message(tls.status())});
    return 1;
  }
  Proxy proxy(config, *std::move(tls), logger);
  if (const absl::Status started = proxy.Start(); !started.ok()) {
    if (!ExplainDiscoveryFailure(config, started, logger)) {
      KVORUM_LOG(logger, kFatal, "failed to start proxy", {"error", Message(started)});
    }
    return 1;
  }
  NotifyReady();
  const int signal = WaitForStopSignal();
  KVORUM_LOG(logger, kInfo, "received signal; shutting down", {"signal", SignalName(signal)});
  proxy.Stop();
  logger.Flush();
  DieBySignal(signal);
}

}  // namespace kvorum::cmd
