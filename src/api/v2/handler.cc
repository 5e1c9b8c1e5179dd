#include "api/v2/handler.h"

#include <string>
#include <utility>
#include <vector>

#include "api/v2/access.h"
#include "api/v2/endpoint.h"
#include "api/v2/keys.h"
#include "api/v2/path.h"
#include "api/v2/redirect.h"
#include "api/v2/token_endpoint.h"
#include "base/check.h"

namespace kvorum::api_v2 {
namespace {

bool IsUnderV2(std::string_view path) { return path == "/v2" || path.starts_with("/v2/"); }

class V2Handler final : public http::Handler {
 public:
  explicit V2Handler(const HandlerOptions& options)
      : access_(NewAccessControl(options)),
        keys_(NewKeysEndpoint(options, access_.get())),
        members_(NewMembersEndpoint(options, access_.get())),
        machines_(NewMachinesEndpoint(options)),
        stats_(NewStatsEndpoint(options)),
        auth_(NewAuthEndpoint(options, access_.get())) {
    routes_ = {{.path = "/v2/keys", .below = true, .endpoint = keys_.get()},
               {.path = "/v2/members", .below = true, .endpoint = members_.get()},
               {.path = "/v2/machines", .below = false, .endpoint = machines_.get()},
               {.path = "/v2/stats", .below = true, .endpoint = stats_.get()},
               {.path = "/v2/auth", .below = true, .endpoint = auth_.get()}};
    if (options.discovery_scheme.empty()) return;
    token_ = NewTokenEndpoint(options, access_.get());
    routes_.push_back({.path = "/new", .below = false, .endpoint = token_.get()});
  }

  std::unique_ptr<http::RequestSink> Start(const http::Request& request,
                                           http::ResponseWriter& writer) override {
    std::string buffer;
    const std::optional<std::string_view> path = DecodePath(request.path, &buffer);
    if (!path) {
      writer.Reply(400, {{"content-type", "text/plain; charset=utf-8"}, {"connection", "close"}},
                   "400 Bad Request");
      return IgnoreBody();
    }
    if (!IsCleanPath(*path)) {
      const std::string clean = CleanPath(*path);
      if (IsUnderV2(*path) || IsUnderV2(clean)) {
        RedirectTo(clean, request, writer);
        return IgnoreBody();
      }
    }
    if (Endpoint* endpoint = Find(*path)) return endpoint->Start({request, *path, writer});
    writer.ReplyError(404, "404 page not found");
    return IgnoreBody();
  }

 private:
  struct Route {
    std::string path;
    bool below = false;  // whether the paths below are its own too
    Endpoint* endpoint = nullptr;

    bool Matches(std::string_view asked) const {
      return asked.starts_with(path) && (asked.size() == path.size() || (below && asked[path.size()] == '/'));
    }
  };

  Endpoint* Find(std::string_view path) const {
    for (const Route& route : routes_) {
      if (route.Matches(path)) return route.endpoint;
    }
    return nullptr;
  }

  const std::unique_ptr<AccessControl> access_;
  const std::unique_ptr<Endpoint> keys_;
  const std::unique_ptr<Endpoint> members_;
  const std::unique_ptr<Endpoint> machines_;
  const std::unique_ptr<Endpoint> stats_;
  const std::unique_ptr<Endpoint> auth_;
  std::unique_ptr<Endpoint> token_;
  std::vector<Route> routes_;
};

}  // namespace

std::unique_ptr<http::Handler> NewHandler(const HandlerOptions& options) {
  KVORUM_CHECK(options.member != nullptr && options.metrics != nullptr);
  return std::make_unique<V2Handler>(options);
}

}  // namespace kvorum::api_v2
