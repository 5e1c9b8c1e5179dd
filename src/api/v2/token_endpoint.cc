#include "api/v2/token_endpoint.h"

#include <atomic>
#include <charconv>
#include <optional>
#include <utility>
#include <variant>

#include "api/v2/exchange.h"
#include "api/v2/form.h"
#include "api/v2/http_status.h"
#include "base/check.h"
#include "base/random.h"
#include "base/status.h"
#include "config/go_text.h"
#include "fmt/format.h"

namespace kvorum::api_v2 {
namespace {

constexpr std::string_view kMethods = "GET,PUT,POST";
constexpr std::string_view kStoreRoot = "/1";
constexpr std::string_view kFormType = "application/x-www-form-urlencoded";
constexpr size_t kMaxBodyBytes = 4096;

/// 128 bits that nobody guesses.
std::string NewToken() { return fmt::format("{:016x}{:016x}", SystemEntropy(), SystemEntropy()); }

/// The service that all requests for tokens share. Thread-safe.
struct TokenService {
  member::Member& member;
  AccessControl& access;
  Logger& logger;
  const std::string scheme;
  /// Shared with those that are: the last to let go of one may be the applier, after the endpoint is gone.
  const std::shared_ptr<std::atomic<int>> under_way = std::make_shared<std::atomic<int>>(0);

  MonotonicTime Deadline() const { return SystemClock().Now() + member.options().request_timeout(); }

  size_t CountTokens() const {
    const v2store::Result found =
        member.v2_store().Get(fmt::format("{}{}", kStoreRoot, kRegistryKey), /*recursive=*/false, false);
    const auto* event = std::get_if<v2store::EventPtr>(&found);
    return event == nullptr ? 0 : (*event)->node.nodes.size();
  }
};

/// A token on its way through the log: its directory first, which takes along what is below when its time is
/// over, then the size. Owned by its proposals.
class Making : public std::enable_shared_from_this<Making> {
 public:
  Making(TokenService* service, ExchangePtr exchange, std::string host, int64_t size)
      : service_(*service),
        under_way_(service->under_way),
        exchange_(std::move(exchange)),
        url_(fmt::format("{}://{}/v2/keys{}/{}", service->scheme, host, kRegistryKey, token_)),
        size_(size) {}
  ~Making() { under_way_->fetch_sub(1); }

  void Begin() {
    const WallTime end = SystemClock().WallNow() + kTokenLifetime;
    v2store::Request directory = Creation(Path());
    directory.dir = true;
    directory.expiration =
        std::chrono::duration_cast<std::chrono::nanoseconds>(end.time_since_epoch()).count();
    Propose(std::move(directory), &Making::WriteSize);
  }

 private:
  std::string Path() const { return fmt::format("{}{}/{}", kStoreRoot, kRegistryKey, token_); }

  static v2store::Request Creation(std::string path) {
    v2store::Request request;
    request.method = "PUT";
    request.path = std::move(path);
    request.prev_exist = false;
    return request;
  }

  void WriteSize() {
    v2store::Request size = Creation(Path() + "/_config/size");
    size.value = fmt::format("{}", size_);
    Propose(std::move(size), &Making::Answer);
  }

  void Answer() {
    KVORUM_LOG(service_.logger, kInfo, "made a discovery token", {"token", token_}, {"size", size_});
    exchange_->ReplyText(kOk, url_);
  }

  /// Goes on with `next`, on the request's loop, when the log has it.
  void Propose(v2store::Request request, void (Making::*next)()) {
    service_.member.ProposeV2(
        std::move(request), service_.Deadline(),
        [self = shared_from_this(), next](const member::Member::V2Outcome& outcome) {
          std::string error(outcome.status.message());
          if (outcome.status.ok() && std::holds_alternative<v2store::Error>(outcome.result)) {
            error = v2store::Message(std::get<v2store::Error>(outcome.result).code);
          }
          self->exchange_->loop().Post([self, next, error] {
            if (error.empty()) return (*self.*next)();
            KVORUM_LOG(self->service_.logger, kWarn, "failed to make a discovery token", {"error", error});
            self->exchange_->ReplyPlain(kUnavailable, "Unable to generate token");
          });
        });
  }

  TokenService& service_;
  const std::shared_ptr<std::atomic<int>> under_way_;
  const ExchangePtr exchange_;
  const std::string token_ = NewToken();
  const std::string url_;
  const int64_t size_;
};

/// One request for a token. On its loop.
class TokenCall final : public http::RequestSink {
 public:
  TokenCall(TokenService* service, const Call& call)
      : service_(*service),
        request_(call.request),
        writer_(call.writer),
        exchange_(std::make_shared<Exchange>(call.writer)) {}
  ~TokenCall() override { exchange_->Gone(); }

  void OnData(std::string_view data) override {
    if (answered_) return;
    if (data.size() > kMaxBodyBytes - body_.size())
      return Refuse(kBadRequest, "http: request body too large");
    body_.append(data);
  }

  void OnEnd() override {
    if (answered_) return;
    const absl::StatusOr<int64_t> size = Size();
    if (!size.ok()) return Refuse(kBadRequest, std::string(size.status().message()));
    if (request_.authority.empty()) return Refuse(kBadRequest, "missing required Host header");
    if (!service_.access.enabled()) return Make(*size);
    ticket_ = service_.access.CheckKey(request_, writer_, kRegistryKey, /*write=*/true, /*recursive=*/true,
                                       [this, size = *size](Verdict verdict) {
                                         if (verdict == Verdict::kAllowed) return Make(size);
                                         if (verdict == Verdict::kBusy)
                                           return Refuse(kUnavailable, kBusyText);
                                         Refuse(kUnauthorized, kDeniedText);
                                       });
  }

  void OnAbort() override {
    exchange_->Gone();
    ticket_.reset();
  }

 private:
  void Refuse(int status, std::string_view text) {
    answered_ = true;
    exchange_->ReplyPlain(status, text);
  }

  /// What the form or the query asks for; the form counts first, as in Go.
  absl::StatusOr<int64_t> Size() const {
    std::optional<std::string> text;
    const auto take = [&](std::string_view name, std::string_view value) {
      if (name == "size" && !text) text = value;
    };
    const std::string_view* type = request_.Find("content-type");
    if (request_.method != "GET" && type != nullptr && ParseMediaType(*type).type == kFormType) {
      std::string form = body_;
      ParseForm(form, take);
    }
    std::string query(request_.query);
    ParseForm(query, take);
    if (!text || text->empty()) return kDefaultClusterSize;
    int64_t size = 0;
    const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), size);
    if (error == std::errc::result_out_of_range) {
      return absl::InvalidArgumentError(
          fmt::format("strconv.Atoi: parsing {}: value out of range", config::Quoted(*text)));
    }
    if (error != std::errc() || end != text->data() + text->size()) {
      return absl::InvalidArgumentError(
          fmt::format("strconv.Atoi: parsing {}: invalid syntax", config::Quoted(*text)));
    }
    if (size < 1 || size > kMaxClusterSize) {
      return absl::InvalidArgumentError(fmt::format("size must be between 1 and {}", kMaxClusterSize));
    }
    return size;
  }

  void Make(int64_t size) {
    if (service_.under_way->fetch_add(1) >= kMaxTokensUnderWay || service_.CountTokens() >= kMaxTokens) {
      service_.under_way->fetch_sub(1);
      return Refuse(kUnavailable, "too many discovery tokens, try again later");
    }
    std::make_shared<Making>(&service_, exchange_, std::string(request_.authority), size)->Begin();
  }

  TokenService& service_;
  const http::Request& request_;
  http::ResponseWriter& writer_;
  const ExchangePtr exchange_;
  std::string body_;
  bool answered_ = false;
  std::unique_ptr<AccessControl::Ticket> ticket_;
};

class TokenEndpoint final : public Endpoint {
 public:
  TokenEndpoint(const HandlerOptions& options, AccessControl* access)
      : service_{*options.member, *access, *options.logger, options.discovery_scheme} {}

  std::unique_ptr<http::RequestSink> Start(const Call& call) override {
    const std::string_view method = call.request.method;
    if (method == "GET" || method == "PUT" || method == "POST") {
      return std::make_unique<TokenCall>(&service_, call);
    }
    ReplyMethodNotAllowed(call.writer, kMethods);
    return IgnoreBody();
  }

 private:
  TokenService service_;
};

}  // namespace

std::unique_ptr<Endpoint> NewTokenEndpoint(const HandlerOptions& options, AccessControl* access) {
  KVORUM_CHECK(options.member != nullptr && access != nullptr);
  return std::make_unique<TokenEndpoint>(options, access);
}

}  // namespace kvorum::api_v2
