#include "proxy/http/reverse_proxy.h"

#include <utility>

#include "absl/synchronization/notification.h"
#include "api/admin/access.h"
#include "api/admin/exchange.h"
#include "api/admin/pages.h"
#include "api/v2/path.h"
#include "api/v2/redirect.h"
#include "base/check.h"
#include "base/random.h"
#include "base/status.h"
#include "base/thread_executor.h"
#include "proxy/http/cluster_file.h"
#include "proxy/http/director.h"
#include "proxy/http/forwarding.h"
#include "proxy/http/grpc_forwarder.h"
#include "proxy/http/json_list.h"
#include "proxy/http/member_list.h"

namespace kvorum::proxy_http {
namespace {

constexpr std::string_view kOwnPath = "/v2/config/local/proxy";
/// To one member, of one loop.
constexpr size_t kMaxIdleConnections = 128;

/// Connections to members: one client for each loop, so that a request stays on its client's loop.
class LoopClients {
 public:
  LoopClients(http::LoopGroup& loops, const http::ClientOptions& options) : loops_(loops) {
    for (size_t i = 0; i < loops.size(); ++i) {
      clients_.push_back(std::make_unique<http::Client>(&loops.at(i), options));
    }
  }

  http::Client& Of(http::Loop& loop) {
    for (size_t i = 0; i < clients_.size(); ++i) {
      if (&loops_.at(i) == &loop) return *clients_[i];
    }
    KVORUM_CHECK(false, "a request on a loop that is none of the proxy's");
    return *clients_[0];
  }

  void Stop() {
    for (const auto& client : clients_) client->Stop();
  }

 private:
  http::LoopGroup& loops_;
  std::vector<std::unique_ptr<http::Client>> clients_;
};

/// What stands behind the CORS headers: the proxy's own page, and everything else by a member.
class InnerHandler final : public http::Handler {
 public:
  InnerHandler(Director* director, ForwardingShared* shared, LoopClients* clients)
      : director_(*director), shared_(*shared), clients_(*clients) {}

  std::unique_ptr<http::RequestSink> Start(const http::Request& request,
                                           http::ResponseWriter& writer) override {
    if (request.path == kOwnPath) {
      ServeOwn(request, writer);
      return std::make_unique<api_admin::Exchange>();
    }
    return Forward(shared_, clients_.Of(writer.loop()), request, writer);
  }

 private:
  void ServeOwn(const http::Request& request, http::ResponseWriter& writer) {
    if (request.method != "GET") return api_admin::ReplyMethodNotAllowed(writer, "GET");
    std::string body = R"({"endpoints":)";
    AppendJsonList(body, director_.AvailableUrls());
    body += "}\n";
    writer.Reply(200, {{"content-type", "text/plain; charset=utf-8"}}, body);
  }

  Director& director_;
  ForwardingShared& shared_;
  LoopClients& clients_;
};

/// Every HTTP request of the client port (reference: proxy-discovery.md §6.3, §6.4): host, path, own metrics,
/// read-only filter, CORS, in this order.
class OuterHandler final : public http::Handler {
 public:
  OuterHandler(const ReverseProxyOptions& options, http::Handler* inner)
      : readonly_(options.readonly),
        logger_(*options.logger),
        rules_(options.cors, options.host_whitelist),
        metrics_(options.metrics),
        inner_(*inner) {}

  std::unique_ptr<http::RequestSink> Start(const http::Request& request,
                                           http::ResponseWriter& writer) override {
    if (!request.secure && !rules_.HostAllowed(request.authority)) {
      const std::string_view host = api_admin::HostOf(request.authority);
      KVORUM_LOG(logger_, kWarn, "rejecting HTTP request to prevent DNS rebinding attacks", {"host", host});
      writer.ReplyError(421, api_admin::UnrecognizedHostText(host));
      return std::make_unique<api_admin::Exchange>();
    }
    if (AnswerPath(request, writer)) return std::make_unique<api_admin::Exchange>();
    if (readonly_ && request.method != "GET") {
      writer.SendOnlyHead(501, {});
      return std::make_unique<api_admin::Exchange>();
    }
    const std::optional<std::string_view> origin = rules_.AllowedOrigin(request.Find("origin"));
    if (origin) api_admin::AddCorsHeaders(*origin, writer);
    if (request.method == "OPTIONS") return preflight_.Start(request, writer);
    return inner_.Start(request, writer);
  }

 private:
  class Preflight final : public http::Handler {
   public:
    std::unique_ptr<http::RequestSink> Start(const http::Request&, http::ResponseWriter& writer) override {
      writer.SendOnlyHead(200, {});
      return std::make_unique<api_admin::Exchange>();
    }
  };

  /// True where the path alone tells the answer.
  bool AnswerPath(const http::Request& request, http::ResponseWriter& writer) {
    if (request.path == "*") {  // of the server as a whole
      writer.SendOnlyHead(request.method == "OPTIONS" ? 200 : 400, {});
      return true;
    }
    std::string buffer;
    const std::optional<std::string_view> path = api_v2::DecodePath(request.path, &buffer);
    if (!path) {
      writer.Reply(400, {{"content-type", "text/plain; charset=utf-8"}, {"connection", "close"}},
                   "400 Bad Request");
      return true;
    }
    if (!api_v2::IsCleanPath(*path)) {
      api_v2::RedirectTo(api_v2::CleanPath(*path), request, writer);
      return true;
    }
    if (*path != "/metrics") return false;
    metrics_.Serve(request, writer);
    return true;
  }

  const bool readonly_;
  Logger& logger_;
  const api_admin::AccessRules rules_;
  api_admin::MetricsPage metrics_;
  Preflight preflight_;
  http::Handler& inner_;
};

class MetricsHandler final : public http::Handler {
 public:
  explicit MetricsHandler(metrics::Registry* metrics) : page_(metrics) {}

  std::unique_ptr<http::RequestSink> Start(const http::Request& request,
                                           http::ResponseWriter& writer) override {
    if (request.path == "/metrics") {
      page_.Serve(request, writer);
    } else {
      api_admin::ReplyNotFound(writer);
    }
    return std::make_unique<api_admin::Exchange>();
  }

 private:
  api_admin::MetricsPage page_;
};

http::ClientOptions ClientOptionsOf(const ReverseProxyOptions& options) {
  return {.dial_timeout = options.dial_timeout,
          .max_idle_connections = kMaxIdleConnections,
          .tls = options.client_tls};
}

class ReverseProxyImpl final : public ReverseProxy {
 public:
  explicit ReverseProxyImpl(const ReverseProxyOptions& options)
      : options_(options),
        metrics_(options.metrics),
        clients_(*options.loops, ClientOptionsOf(options)),
        member_client_(&options.loops->at(0),
                       {.dial_timeout = options.dial_timeout, .tls = options.peer_tls}),
        director_(std::make_shared<Director>(Director::Options{.failure_wait = options.failure_wait,
                                                               .seed = SystemEntropy(),
                                                               .executor = &executor_,
                                                               .logger = options.logger,
                                                               .on_none = [this] { members_.HurryUp(); }})),
        members_({.peer_urls = options.peer_urls,
                  .cluster_file = options.cluster_file,
                  .refresh_interval = options.refresh_interval,
                  .env = options.env,
                  .client = &member_client_,
                  .executor = &executor_,
                  .director = director_.get(),
                  .logger = options.logger,
                  .on_refresh = [this](const auto& urls) { grpc_.SetEndpoints(urls); }}),
        grpc_({.loops = options.loops,
               .dial_timeout = options.dial_timeout,
               .max_request_bytes = options.max_grpc_bytes,
               .readonly = options.readonly,
               .tls = options.client_tls,
               .logger = options.logger}),
        metrics_page_(options.metrics),
        inner_(director_.get(), &shared_, &clients_),
        outer_(options, &inner_) {
    shared_.director = director_.get();
    shared_.metrics = &metrics_;
    shared_.logger = options.logger;
    shared_.exchange = {.write_timeout = options.write_timeout,
                        .response_timeout = options.read_timeout,
                        .read_timeout = options.read_timeout,
                        .repeat = true};
    shared_.max_body_bytes = options.max_body_bytes;
    shared_.max_kept_bytes = options.max_kept_bytes;
    shared_.max_exchanges = options.max_exchanges;
  }
  ~ReverseProxyImpl() override { Stop(); }

  absl::Status Start() override {
    const std::string directory = options_.cluster_file.substr(0, options_.cluster_file.rfind('/'));
    KVORUM_RETURN_IF_ERROR(options_.env->CreateDirectories(directory));
    KVORUM_RETURN_IF_ERROR(options_.env->SyncDirectory(directory.substr(0, directory.rfind('/'))));
    absl::Notification asked;
    executor_.Post([&] { members_.Start([&asked] { asked.Notify(); }); });
    asked.WaitForNotification();
    return absl::OkStatus();
  }

  void Stop() override {
    if (std::exchange(stopped_, true)) return;
    executor_.Post([this] { members_.Stop(); });
    executor_.Stop();
    member_client_.Stop();
    clients_.Stop();
    grpc_.Stop();
  }

  http::Handler& handler() override { return outer_; }
  http::Handler& grpc_handler() override { return grpc_.handler(); }
  http::Handler& metrics_handler() override { return metrics_page_; }

 private:
  const ReverseProxyOptions options_;
  ProxyMetrics metrics_;
  ThreadExecutor executor_{"proxy-members"};
  LoopClients clients_;
  http::Client member_client_;
  const std::shared_ptr<Director> director_;  // shared with its timers
  MemberList members_;                        // used on executor_ only
  ForwardingShared shared_;
  GrpcForwarder grpc_;
  MetricsHandler metrics_page_;
  InnerHandler inner_;
  OuterHandler outer_;
  bool stopped_ = false;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ReverseProxy>> ReverseProxy::Create(ReverseProxyOptions options) {
  KVORUM_CHECK(options.env != nullptr && options.loops != nullptr && options.metrics != nullptr);
  absl::StatusOr<std::vector<std::string>> kept = ReadClusterFile(*options.env, options.cluster_file);
  if (kept.ok()) {
    options.peer_urls = *std::move(kept);
    KVORUM_LOG(*options.logger, kInfo, "proxy using peer URLS from cluster file",
               {"peer-urls", options.peer_urls}, {"cluster-file", options.cluster_file});
  } else if (absl::IsNotFound(kept.status())) {
    KVORUM_LOG(*options.logger, kInfo, "proxy using peer URLS", {"peer-urls", options.peer_urls});
  } else {
    return kept.status();
  }
  return std::make_unique<ReverseProxyImpl>(options);
}

}  // namespace kvorum::proxy_http
