#include "api/admin/handlers.h"

#include "api/admin/access.h"
#include "api/admin/exchange.h"
#include "api/admin/health.h"
#include "api/admin/pages.h"
#include "base/check.h"
#include "base/version.h"
#include "fmt/format.h"

namespace kvorum::api_admin {
namespace {

constexpr std::string_view kV2Path = "/v2";
constexpr std::string_view kGatewayPath = "/v3/";
constexpr std::string_view kOldGatewayPath = "/v3beta/";

/// A request under another path. Keeps the original, whose texts it shares.
struct RewrittenRequest final : http::Request {
  RewrittenRequest(const http::Request& request, std::string new_path)
      : http::Request(request), text(std::move(new_path)), original(request.shared_from_this()) {
    path = text;
  }
  const std::string text;
  const std::shared_ptr<const http::Request> original;
};

/// Keeps a rewritten request as long as its sink.
class RewrittenSink final : public http::RequestSink {
 public:
  RewrittenSink(std::shared_ptr<const http::Request> request, std::unique_ptr<http::RequestSink> inner)
      : request_(std::move(request)), inner_(std::move(inner)) {}
  void OnData(std::string_view data) override { inner_->OnData(data); }
  void OnEnd() override { inner_->OnEnd(); }
  void OnAbort() override { inner_->OnAbort(); }
  void OnWritable() override { inner_->OnWritable(); }
  void OnDrain() override { inner_->OnDrain(); }

 private:
  const std::shared_ptr<const http::Request> request_;
  const std::unique_ptr<http::RequestSink> inner_;
};

/// What the client listener answers, behind the access rules.
class ClientPages final : public http::Handler {
 public:
  explicit ClientPages(const HandlerOptions& options)
      : options_(options), health_(options), metrics_(options.metrics) {}

  std::unique_ptr<http::RequestSink> Start(const http::Request& request,
                                           http::ResponseWriter& writer) override {
    const std::string_view path = request.path;
    if (options_.v2 != nullptr && IsV2(path)) return options_.v2->Start(request, writer);
    if (options_.gateway != nullptr && path.starts_with(kGatewayPath)) {
      return options_.gateway->Start(request, writer);
    }
    if (options_.gateway != nullptr && path.starts_with(kOldGatewayPath)) {
      auto rewritten = std::make_shared<RewrittenRequest>(
          request, std::string(kGatewayPath).append(path.substr(kOldGatewayPath.size())));
      auto inner = options_.gateway->Start(*rewritten, writer);
      return std::make_unique<RewrittenSink>(std::move(rewritten), std::move(inner));
    }
    if (auto sink = health_.TryStart(request, writer)) return sink;
    if (path == "/config/local/log" && options_.set_log_level)
      return ServeLogLevel(options_, request, writer);
    if (path == "/version") {
      ServeVersion(*options_.member, kApiVersion, "", request, writer);
    } else if (path == "/metrics") {
      metrics_.Serve(request, writer);
    } else if (path == "/debug/vars") {
      ServeVars(options_, request, writer);
    } else if (options_.v2 != nullptr) {
      return options_.v2->Start(request, writer);  // knows the other spellings of its paths, and 404
    } else {
      ReplyNotFound(writer);
    }
    return std::make_unique<Exchange>();
  }

 private:
  static bool IsV2(std::string_view path) {
    return path.starts_with(kV2Path) && (path.size() == kV2Path.size() || path[kV2Path.size()] == '/');
  }

  const HandlerOptions options_;
  Health health_;
  MetricsPage metrics_;
};

class ClientHandler final : public http::Handler {
 public:
  explicit ClientHandler(const HandlerOptions& options)
      : logger_(*options.logger), rules_(options.cors, options.host_whitelist), pages_(options) {}

  std::unique_ptr<http::RequestSink> Start(const http::Request& request,
                                           http::ResponseWriter& writer) override {
    if (!request.secure && !rules_.HostAllowed(request.authority)) {
      const std::string_view host = HostOf(request.authority);
      KVORUM_LOG(logger_, kWarn, "rejecting HTTP request to prevent DNS rebinding attacks", {"host", host});
      writer.ReplyError(421, UnrecognizedHostText(host));
      return std::make_unique<Exchange>();
    }
    const std::optional<std::string_view> origin = rules_.AllowedOrigin(request.Find("origin"));
    if (origin) AddCorsHeaders(*origin, writer);
    http::Handler& pages = request.method == "OPTIONS" ? static_cast<http::Handler&>(preflight_) : pages_;
    return pages.Start(request, writer);
  }

 private:
  /// OPTIONS, of any path.
  class Preflight final : public http::Handler {
   public:
    std::unique_ptr<http::RequestSink> Start(const http::Request&, http::ResponseWriter& writer) override {
      writer.SendOnlyHead(200, {});
      return std::make_unique<Exchange>();
    }
  };

  Logger& logger_;
  const AccessRules rules_;
  ClientPages pages_;
  Preflight preflight_;
};

class MetricsHandler final : public http::Handler {
 public:
  explicit MetricsHandler(const HandlerOptions& options) : health_(options), metrics_(options.metrics) {}

  std::unique_ptr<http::RequestSink> Start(const http::Request& request,
                                           http::ResponseWriter& writer) override {
    if (auto sink = health_.TryStart(request, writer)) return sink;
    if (request.path == "/metrics") {
      metrics_.Serve(request, writer);
    } else {
      ReplyNotFound(writer);
    }
    return std::make_unique<Exchange>();
  }

 private:
  Health health_;
  MetricsPage metrics_;
};

class PeerHandler final : public http::Handler {
 public:
  explicit PeerHandler(const HandlerOptions& options) : member_(*options.member) {}

  std::unique_ptr<http::RequestSink> Start(const http::Request& request,
                                           http::ResponseWriter& writer) override {
    if (request.path == "/version") {
      // Other members learn here that this one is none of etcd, which passes over it.
      const std::string kind = fmt::format(R"(,"kvorum":"{}")", kKvorumVersion);
      ServeVersion(member_, member_.options().release, kind, request, writer);
    } else {
      ReplyNotFound(writer);
    }
    return std::make_unique<Exchange>();
  }

 private:
  member::Member& member_;
};

}  // namespace

std::unique_ptr<http::Handler> NewClientHandler(const HandlerOptions& options) {
  KVORUM_CHECK(options.member != nullptr && options.metrics != nullptr);
  return std::make_unique<ClientHandler>(options);
}

std::unique_ptr<http::Handler> NewMetricsHandler(const HandlerOptions& options) {
  KVORUM_CHECK(options.member != nullptr && options.metrics != nullptr);
  return std::make_unique<MetricsHandler>(options);
}

std::unique_ptr<http::Handler> NewPeerHandler(const HandlerOptions& options) {
  KVORUM_CHECK(options.member != nullptr);
  return std::make_unique<PeerHandler>(options);
}

}  // namespace kvorum::api_admin
