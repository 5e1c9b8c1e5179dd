#include "cmd/kvorum/listeners.h"

#include <atomic>
#include <thread>

#include "base/status.h"

namespace kvorum::cmd {
namespace {

/// A connection of another member that says nothing for so long is closed (reference: peer-protocol.md §3.1).
constexpr std::chrono::seconds kPeerSilence(5);

/// Warns of what is set and has no meaning for a URL.
void WarnOfPlainUrls(const std::vector<config::Url>& urls, std::string_view key, bool has_certificate,
                     bool client_cert_auth, std::string_view scheme, std::string_view auth_flag,
                     Logger& logger) {
  for (const config::Url& url : urls) {
    if (url.IsSecure()) continue;
    if (has_certificate) {
      KVORUM_LOG(logger, kWarn,
                 fmt::format("scheme is {} while key and cert files are present; ignoring key and cert files",
                             scheme),
                 {key, url.Text()});
    }
    if (client_cert_auth) {
      KVORUM_LOG(logger, kWarn,
                 fmt::format("scheme is {} while {} is enabled; ignoring client cert auth for this URL",
                             scheme, auth_flag),
                 {key, url.Text()});
    }
  }
}

}  // namespace

/// Stands for a handler that is made after the ports were bound: 503 until it is set.
class Listeners::LateHandler final : public http::Handler {
 public:
  void Set(http::Handler* target) {
    target_.store(target, std::memory_order_relaxed);
    set_.store(true, std::memory_order_release);
  }
  std::unique_ptr<http::RequestSink> Start(const http::Request& request,
                                           http::ResponseWriter& writer) override {
    const bool set = set_.load(std::memory_order_acquire);
    if (http::Handler* target = target_.load(std::memory_order_relaxed); target != nullptr) {
      return target->Start(request, writer);
    }
    if (set) {
      writer.ReplyError(404, "404 page not found");
    } else {
      writer.ReplyError(503, "the member is starting");
    }
    return http::CollectBody(writer, 0, [](std::string) {});
  }

 private:
  std::atomic<http::Handler*> target_{nullptr};
  std::atomic<bool> set_{false};
};

/// The listeners that share one server.
struct Listeners::Group {
  std::string traffic;  ///< as the log names it: "grpc+http"
  std::vector<config::Url> urls;
  std::unique_ptr<http::Server> server;
  std::vector<std::string> addresses;  ///< as bound
};

Listeners::Listeners(const config::Config& config, const ProcessTls& tls, http::LoopGroup* loops,
                     http::LoopGroup* peer_loops, Logger* logger)
    : config_(config),
      tls_(tls),
      loops_(loops),
      peer_loops_(peer_loops),
      logger_(logger),
      grpc_(std::make_unique<LateHandler>()),
      client_(std::make_unique<LateHandler>()),
      metrics_(std::make_unique<LateHandler>()),
      peer_(std::make_unique<LateHandler>()) {}

Listeners::~Listeners() = default;

Listeners::Group Listeners::MakeGroup(const std::vector<config::Url>& urls, std::string_view traffic,
                                      bool grpc) {
  http::ServerOptions options;
  options.logger = logger_;
  options.reuse_port = config_.socket_reuse_port;
  options.reuse_address = config_.socket_reuse_address;
  options.max_concurrent_streams = static_cast<uint32_t>(config_.max_concurrent_streams);
  constexpr std::chrono::nanoseconds kOff(0);
  options.keepalive_min_time = std::max(config_.grpc_keepalive_min_time, kOff);
  options.keepalive_interval = std::max(config_.grpc_keepalive_interval, kOff);
  options.keepalive_timeout = std::max(config_.grpc_keepalive_timeout, kOff);
  if (grpc) options.grpc_handler = grpc_.get();
  const bool peer = traffic == "peer";
  options.tls = peer ? tls_.peers.server : tls_.clients.server;
  if (peer) {
    options.name = "peer endpoint";
    options.handler = peer_.get();
    options.header_timeout = kPeerSilence;
    options.idle_timeout = kPeerSilence;
    options.handshake_timeout = kPeerSilence;
    options.check_client_names = !config_.peer_skip_client_san_verification;
  } else if (traffic == "metrics") {
    options.handler = metrics_.get();
  } else if (traffic != "grpc") {
    options.handler = client_.get();
  }
  return {.traffic = std::string(traffic),
          .urls = urls,
          .server = std::make_unique<http::Server>(peer ? peer_loops_ : loops_, options),
          .addresses = {}};
}

void Listeners::LogPeerTls() const {
  if (!tls_.peers.info.empty()) {
    KVORUM_LOG(*logger_, kInfo, "starting with peer TLS", {"tls-info", tls_.peers.info},
               {"cipher-suites", config_.cipher_suites});
  }
  WarnOfPlainUrls(config_.listen_peer_urls, "peer-url", !tls_.peers.info.empty(),
                  config_.peer_client_cert_auth, "HTTP", "--peer-client-cert-auth", *logger_);
}

void Listeners::LogClientTls() const {
  for (const auto* urls : {&config_.listen_client_urls, &config_.listen_client_http_urls}) {
    WarnOfPlainUrls(*urls, "client-url", !tls_.clients.info.empty(), config_.client_cert_auth, "http or unix",
                    "--client-cert-auth", *logger_);
  }
  if (tls_.clients.info.empty()) return;
  KVORUM_LOG(*logger_, kInfo, "starting with client TLS", {"tls-info", tls_.clients.info},
             {"cipher-suites", config_.cipher_suites});
}

absl::Status Listeners::Bind() {
  const bool http_apart = !config_.listen_client_http_urls.empty();
  KVORUM_LOG(*logger_, kInfo, "configuring peer listeners",
             {"listen-peer-urls", config::Texts(config_.listen_peer_urls)});
  LogPeerTls();
  inner_.push_back(MakeGroup(config_.listen_peer_urls, "peer", false));
  KVORUM_LOG(*logger_, kInfo, "configuring client listeners",
             {"listen-client-urls", config::Texts(config_.listen_client_urls)});
  LogClientTls();
  clients_.push_back(MakeGroup(config_.listen_client_urls, http_apart ? "grpc" : "grpc+http", true));
  if (http_apart) clients_.push_back(MakeGroup(config_.listen_client_http_urls, "http", false));
  if (!config_.listen_metrics_urls.empty()) {
    inner_.push_back(MakeGroup(config_.listen_metrics_urls, "metrics", false));
  }
  for (std::vector<Group>* groups : {&inner_, &clients_}) {
    for (Group& group : *groups) {
      for (const config::Url& url : group.urls) {
        KVORUM_ASSIGN_OR_RETURN(std::string address, group.server->Listen({url.Text()}));
        group.addresses.push_back(std::move(address));
      }
    }
  }
  return absl::OkStatus();
}

void Listeners::Start(Group& group) {
  if (group.traffic != "peer") group.server->Start();
  for (size_t i = 0; i < group.addresses.size(); ++i) {
    if (group.traffic == "peer") {
      KVORUM_LOG(*logger_, kInfo, "serving peer traffic", {"address", group.addresses[i]});
    } else if (group.traffic == "metrics") {
      KVORUM_LOG(*logger_, kInfo, "serving metrics", {"address", group.urls[i].Text()});
    } else {
      KVORUM_LOG(*logger_, kInfo, "ready to serve client requests");
      if (group.urls[i].IsSecure()) {
        KVORUM_LOG(*logger_, kInfo, "serving client traffic securely", {"traffic", group.traffic},
                   {"address", group.addresses[i]});
        continue;
      }
      KVORUM_LOG(*logger_, kInfo, "serving client traffic insecurely; this is strongly discouraged!",
                 {"traffic", group.traffic}, {"address", group.addresses[i]});
    }
  }
}

void Listeners::StartPeers() { inner_[0].server->Start(); }

void Listeners::StartInner(const Handlers& handlers) {
  grpc_->Set(handlers.grpc);
  client_->Set(handlers.client);
  metrics_->Set(handlers.metrics);
  peer_->Set(handlers.peer);
  for (Group& group : inner_) Start(group);
}

void Listeners::StartClients() {
  for (Group& group : clients_) Start(group);
}

void Listeners::Shutdown(std::vector<Group>& groups, std::chrono::nanoseconds grace) {
  std::vector<std::thread> waiting;
  for (Group& group : groups) {
    waiting.emplace_back([&server = *group.server, grace] { server.Shutdown(grace); });
  }
  for (std::thread& thread : waiting) thread.join();
}

void Listeners::ShutdownClients(std::chrono::nanoseconds grace) { Shutdown(clients_, grace); }

void Listeners::ShutdownInner(std::chrono::nanoseconds grace) { Shutdown(inner_, grace); }

}  // namespace kvorum::cmd
