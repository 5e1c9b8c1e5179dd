#include "api/gateway/gateway.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "api/gateway/routes.h"
#include "api/gateway/transcoder.h"
#include "base/check.h"
#include "base/thread_executor.h"
#include "fmt/format.h"
#include "grpc/framing.h"
#include "grpc/metadata.h"

namespace kvorum::api_gateway {
namespace {

constexpr std::string_view kMetadataPrefix = "grpc-metadata-";
/// Responses over this size become JSON on a thread of their own.
constexpr size_t kInlineJsonBytes = 64 << 10;

/// Headers of HTTP's own that a call sees with the prefix "grpcgateway-" (reference: v3-api.md §3.3).
constexpr std::array<std::string_view, 22> kForwarded = {"accept",
                                                         "accept-charset",
                                                         "accept-language",
                                                         "accept-ranges",
                                                         "authorization",
                                                         "cache-control",
                                                         "content-type",
                                                         "cookie",
                                                         "date",
                                                         "expect",
                                                         "from",
                                                         "host",
                                                         "if-match",
                                                         "if-modified-since",
                                                         "if-none-match",
                                                         "if-schedule-tag-match",
                                                         "if-unmodified-since",
                                                         "max-forwards",
                                                         "origin",
                                                         "pragma",
                                                         "referer",
                                                         "user-agent"};

/// The call's request as the gRPC server sees it.
struct CallRequest final : http::Request {
  CallRequest(const http::Request& outer, const Route& route) : outer(outer.shared_from_this()) {
    protocol = http::Protocol::kHttp2;
    method = "POST";
    path = route.method;
    authority = outer.authority;
    remote = outer.remote;
    Add("content-type", "application/grpc");
    Add("te", "trailers");
    std::string forwarded_for;
    for (const auto& [name, value] : outer.headers) {
      if (name == "grpc-timeout") Add(name, value);
      if (name == "authorization") Add(name, value);
      if (name == "x-forwarded-for") forwarded_for = value;
      if (name.starts_with(kMetadataPrefix) && name.size() > kMetadataPrefix.size()) {
        Add(name.substr(kMetadataPrefix.size()), value);
      } else if (std::find(kForwarded.begin(), kForwarded.end(), name) != kForwarded.end()) {
        Add(fmt::format("grpcgateway-{}", name), value);
      }
    }
    const std::string_view host = outer.remote.substr(0, outer.remote.rfind(':'));
    Add("x-forwarded-for",
        forwarded_for.empty() ? std::string(host) : fmt::format("{}, {}", forwarded_for, host));
    Add("x-forwarded-host", outer.authority);
  }

  void Add(std::string_view name, std::string_view value) {
    texts.push_back(std::make_unique<std::pair<std::string, std::string>>(name, value));
    headers.emplace_back(texts.back()->first, texts.back()->second);
  }

  std::vector<std::unique_ptr<std::pair<std::string, std::string>>> texts;  // what `headers` points into
  const std::shared_ptr<const http::Request> outer;
};

/// The status that a response's last headers name.
absl::Status StatusOf(const http::Headers& headers) {
  int code = static_cast<int>(absl::StatusCode::kUnknown);
  std::string message;
  for (const auto& [name, value] : headers) {
    if (name == "grpc-status") code = std::atoi(value.c_str());
    if (name == "grpc-message") message = grpc::PercentDecode(value);
  }
  return grpc::MakeStatus(static_cast<absl::StatusCode>(code), message);
}

http::Headers JsonHead() {
  return {{"content-type", "application/json"}, {"grpc-metadata-content-type", "application/grpc"}};
}

void ReplyFailure(http::ResponseWriter& writer, const absl::Status& status) {
  http::Headers head = {{"content-type", "application/json"}};
  if (status.code() == absl::StatusCode::kUnauthenticated) {
    head.emplace_back("www-authenticate", std::string(status.message()));
  }
  writer.Reply(HttpStatusOf(status.code()), std::move(head), ErrorJson(status));
}

class NullSink final : public http::RequestSink {
 public:
  void OnData(std::string_view) override {}
  void OnEnd() override {}
  void OnAbort() override {}
};

/// One call: takes JSON from the HTTP request, hands messages to the gRPC server, and gets its response, for
/// which it is the writer.
class CallSink : public http::RequestSink, private http::ResponseWriter {
 public:
  CallSink(const Route& route, size_t max_request_bytes, http::ResponseWriter& writer)
      : route_(route), writer_(writer), splitter_(max_request_bytes), reader_(SIZE_MAX, "") {}
  ~CallSink() override {
    if (call_ != nullptr && !call_ended_) call_->OnAbort();
    if (kept_ > 0) writer_.Keep(-static_cast<ptrdiff_t>(kept_));
  }

  void Begin(http::Handler& grpc, const http::Request& request) {
    request_ = std::make_shared<CallRequest>(request, route_);
    call_ = grpc.Start(*request_, *this);
  }

  void OnData(std::string_view data) override {
    if (over_) return;
    if (!writer_.Keep(static_cast<ptrdiff_t>(data.size()))) {
      return EndWith(absl::ResourceExhaustedError("too many request bytes on this connection"));
    }
    kept_ += data.size();
    splitter_.Feed(data);
    TakeObjects();
  }

  void OnEnd() override {
    if (over_) return;
    if (splitter_.mid_object()) return EndWith(absl::InvalidArgumentError("unexpected EOF"));
    // A request without a body is an empty message.
    if (!route_.client_streams && messages_ == 0) SendToCall("");
    if (!over_ && !call_ended_) call_->OnEnd();
  }

  void OnAbort() override {
    over_ = true;
    if (call_ != nullptr && !std::exchange(call_ended_, true)) call_->OnAbort();
  }

  void OnWritable() override {
    if (!call_ended_) call_->OnWritable();
  }

 protected:
  /// A message of the response, and how the call ended.
  virtual void OnMessage(std::string_view message) = 0;
  virtual void OnStatus(const absl::Status& status) = 0;

  /// Answers with an error of our own, and gives the call up.
  void EndWith(const absl::Status& status) {
    OnStatus(status);
    over_ = true;
  }
  http::ResponseWriter& writer() { return writer_; }
  const Route& route() const { return route_; }
  bool over() const { return over_; }

 private:
  void TakeObjects() {
    while (!over_) {
      absl::StatusOr<std::optional<std::string>> object = splitter_.Next();
      if (!object.ok()) return EndWith(object.status());
      if (!object->has_value()) return;
      // What follows the one object of a request is not looked at.
      if (!route_.client_streams && messages_ > 0) continue;
      absl::StatusOr<std::string> message = JsonToMessage(*route_.request, **object);
      if (!message.ok()) return EndWith(message.status());
      SendToCall(*message);
    }
  }

  void SendToCall(std::string_view message) {
    ++messages_;
    if (call_ended_) return;
    std::string frame(grpc::kPrefixBytes, '\0');
    grpc::WritePrefix(frame.data(), message.size());
    frame += message;
    call_->OnData(frame);
    if (kept_ > 0) writer_.Keep(-static_cast<ptrdiff_t>(std::exchange(kept_, 0)));
  }

  void EndOfCall(const absl::Status& status) {
    call_ended_ = true;
    if (!over_) OnStatus(status);
    over_ = true;
  }

  // http::ResponseWriter, towards the call.
  http::Loop& loop() override { return writer_.loop(); }
  void SendHead(int, const http::Headers&) override {}
  void SendOnlyHead(int, const http::Headers& headers) override { EndOfCall(StatusOf(headers)); }
  void Send(Bytes data) override {
    if (over_) return;
    const absl::Status status = reader_.Feed(data.view(), [this](std::string_view message) {
      OnMessage(message);
      return true;
    });
    KVORUM_CHECK(status.ok(), "a response of our own: {}", status.ToString());
  }
  void End(const http::Headers& trailers) override { EndOfCall(StatusOf(trailers)); }
  void Abort(uint32_t) override { EndOfCall(absl::InternalError("the call was broken off")); }
  size_t buffered() const override { return writer_.buffered(); }
  void PauseInput() override { writer_.PauseInput(); }
  void ResumeInput() override { writer_.ResumeInput(); }
  bool Keep(ptrdiff_t bytes) override { return writer_.Keep(bytes); }

  const Route& route_;
  http::ResponseWriter& writer_;
  JsonSplitter splitter_;
  grpc::MessageReader reader_;
  size_t kept_ = 0;      // accounted for with the connection
  size_t messages_ = 0;  // sent to the call
  bool call_ended_ = false;
  bool over_ = false;
  std::shared_ptr<const CallRequest> request_;
  std::unique_ptr<http::RequestSink> call_;  // last: uses this as its writer
};

/// One message back: its JSON is the body.
class UnarySink final : public CallSink {
 public:
  UnarySink(const Route& route, size_t max_request_bytes, http::ResponseWriter& writer,
            Executor* json_executor)
      : CallSink(route, max_request_bytes, writer),
        json_executor_(*json_executor),
        alive_(std::make_shared<bool>(true)) {}
  ~UnarySink() override { *alive_ = false; }

 private:
  void OnMessage(std::string_view message) override { response_ = message; }

  void OnStatus(const absl::Status& status) override {
    if (!status.ok()) return ReplyFailure(writer(), status);
    if (response_.size() <= kInlineJsonBytes) return Answer(MessageToJson(*route().response, response_));
    http::Loop& loop = writer().loop();
    json_executor_.Post(
        [this, &loop, type = route().response, response = std::move(response_), alive = alive_] {
          loop.Post([this, alive, json = MessageToJson(*type, response)] {
            if (*alive) Answer(json);
          });
        });
  }

  void Answer(const absl::StatusOr<std::string>& json) {
    if (!json.ok()) return ReplyFailure(writer(), json.status());
    writer().Reply(200, JsonHead(), *json);
  }

  Executor& json_executor_;
  std::string response_;
  std::shared_ptr<bool> alive_;  // shared with tasks of the loop
};

/// Many messages back: a line `{"result":…}` each.
class StreamSink final : public CallSink {
 public:
  using CallSink::CallSink;

 private:
  void OnMessage(std::string_view message) override {
    const absl::StatusOr<std::string> json = MessageToJson(*route().response, message);
    if (!json.ok()) return EndWith(json.status());
    if (!std::exchange(begun_, true)) writer().SendHead(200, JsonHead());
    writer().Send(std::string_view(fmt::format("{{\"result\":{}}}\n", *json)));
  }

  void OnStatus(const absl::Status& status) override {
    if (!begun_) {
      if (!status.ok()) return ReplyFailure(writer(), status);
      writer().SendHead(200, JsonHead());
    } else if (!status.ok()) {
      writer().Send(std::string_view(fmt::format("{{\"error\":{}}}\n", ErrorJson(status))));
    }
    writer().End();
  }

  bool begun_ = false;
};

class Gateway final : public http::Handler {
 public:
  explicit Gateway(const GatewayOptions& options) : options_(options) {}

  std::unique_ptr<http::RequestSink> Start(const http::Request& request,
                                           http::ResponseWriter& writer) override {
    const Route* route = FindRoute(request.path);
    if (route == nullptr) {
      ReplyFailure(writer, absl::NotFoundError("Not Found"));
      return std::make_unique<NullSink>();
    }
    if (request.method != "POST") {
      ReplyFailure(writer, absl::UnimplementedError("Method Not Allowed"));
      return std::make_unique<NullSink>();
    }
    if (const std::string_view* timeout = request.Find("grpc-timeout");
        timeout != nullptr && !grpc::ParseTimeout(*timeout).has_value()) {
      ReplyFailure(writer, absl::InvalidArgumentError(fmt::format("invalid grpc-timeout: {}", *timeout)));
      return std::make_unique<NullSink>();
    }
    std::unique_ptr<CallSink> sink;
    if (route->server_streams) {
      sink = std::make_unique<StreamSink>(*route, options_.max_request_bytes, writer);
    } else {
      sink = std::make_unique<UnarySink>(*route, options_.max_request_bytes, writer, &json_executor_);
    }
    sink->Begin(*options_.grpc, request);
    return sink;
  }

 private:
  const GatewayOptions options_;
  ThreadExecutor json_executor_{"gateway-json"};
};

}  // namespace

std::unique_ptr<http::Handler> NewGateway(const GatewayOptions& options) {
  KVORUM_CHECK(options.grpc != nullptr);
  return std::make_unique<Gateway>(options);
}

}  // namespace kvorum::api_gateway
