#include "proxy/grpc/pages.h"

#include "base/go_json.h"
#include "fmt/format.h"
#include "grpc/metadata.h"
#include "proto/rpc.pb.h"

namespace kvorum::proxy_grpc {

using namespace std::chrono_literals;

namespace {

constexpr auto kGetTimeout = 1s;
constexpr auto kWatchTimeout = 3s;
constexpr auto kMetricsTimeout = 5s;
constexpr std::string_view kMetricsType = "text/plain; version=0.0.4; charset=utf-8";
constexpr std::string_view kTextType = "text/plain; charset=utf-8";

/// The sink of a request whose body does not matter, and the way back to it from other threads.
class Page final : public http::RequestSink {
 public:
  /// While the exchange lives. On its loop only.
  struct Back {
    http::ResponseWriter* writer = nullptr;  // null: gone
  };
  explicit Page(http::ResponseWriter& writer) : back_(std::make_shared<Back>(Back{&writer})) {}
  ~Page() override { back_->writer = nullptr; }
  void OnData(std::string_view) override {}
  void OnEnd() override {}
  void OnAbort() override { back_->writer = nullptr; }

  /// Answers once, from any thread.
  using Answer = std::function<void(int status, std::string_view type, std::string body)>;
  static Answer AnswerTo(const Page& page) {
    return [back = page.back_, loop = &page.back_->writer->loop()](int status, std::string_view type,
                                                                   std::string body) {
      loop->Post([back, status, type, body = std::move(body)] {
        if (back->writer == nullptr) return;
        http::Headers headers{{"content-type", std::string(type)}};
        if (status != 200) headers.emplace_back("x-content-type-options", "nosniff");
        std::exchange(back->writer, nullptr)->Reply(status, std::move(headers), body);
      });
    };
  }

 private:
  const std::shared_ptr<Back> back_;  // shared with the tasks that answer
};

void AnswerHealth(const Page::Answer& answer, std::string_view failure) {
  std::string body = fmt::format("{{\"health\":\"{}\",\"reason\":", failure.empty());
  AppendJsonString(body, failure);
  body += '}';
  if (failure.empty()) return answer(200, kTextType, std::move(body));
  body += '\n';
  answer(503, kTextType, std::move(body));
}

/// Asks for a key: `done` gets the failure, or nothing.
void CheckGet(http::Loop& loop, grpc::Channel& channel, const KeyPrefix& prefix,
              absl::AnyInvocable<void(std::string failure)> done) {
  etcdserverpb::RangeRequest request;
  request.set_key(prefix.Key("a"));
  channel.Unary(
      "/etcdserverpb.KV/Range", request.SerializeAsString(), loop.clock().Now() + kGetTimeout,
      [done = std::move(done)](const absl::Status& status, std::string_view) mutable {
        // The key may be nobody's to read, and the cluster be sound.
        if (status.ok() || absl::IsPermissionDenied(status)) return done({});
        const bool late = absl::IsDeadlineExceeded(status) || absl::IsUnavailable(status);
        done(fmt::format("GET ERROR:{}", late ? "context deadline exceeded" : grpc::Message(status)));
      });
}

/// A watch that is to be created; keeps itself until then.
class WatchCheck : public std::enable_shared_from_this<WatchCheck> {
 public:
  WatchCheck(http::Loop& loop, absl::AnyInvocable<void(std::string failure)> done)
      : loop_(loop), done_(std::move(done)) {}

  void Begin(grpc::Channel& channel) {
    timer_ = loop_.PostAfter(kWatchTimeout, [self = shared_from_this()] {
      self->timer_ = 0;
      self->Finish("WATCH TIMEOUT");
    });
    grpc::ClientConnection::StreamCallbacks callbacks;
    callbacks.on_message = [weak = weak_from_this()](std::string_view) {
      if (const auto self = weak.lock()) self->Finish({});
    };
    callbacks.on_end = [weak = weak_from_this()](const absl::Status&) {
      if (const auto self = weak.lock()) self->Finish("WATCH TIMEOUT");
    };
    stream_ = channel.OpenStream("/etcdserverpb.Watch/Watch", std::move(callbacks));
    etcdserverpb::WatchRequest request;
    request.mutable_create_request()->set_key("a");
    stream_->Send(request.SerializeAsString());
  }

 private:
  void Finish(std::string failure) {
    if (!done_) return;
    std::exchange(done_, nullptr)(std::move(failure));
    // The stream goes, but not inside its own callback; with the timer's task goes the last hold on this.
    if (timer_ != 0) loop_.CancelTimer(std::exchange(timer_, 0));
    loop_.Post([self = shared_from_this()] { self->stream_.reset(); });
  }

  http::Loop& loop_;
  absl::AnyInvocable<void(std::string)> done_;
  Executor::TimerId timer_ = 0;
  std::unique_ptr<grpc::ClientConnection::Stream> stream_;
};

class Pages final : public http::Handler {
 public:
  explicit Pages(PagesOptions options) : options_(std::make_shared<const PagesOptions>(std::move(options))) {}

  std::unique_ptr<http::RequestSink> Start(const http::Request& request,
                                           http::ResponseWriter& writer) override {
    auto page = std::make_unique<Page>(writer);
    const bool is_health = request.path == "/health" || request.path == "/proxy/health";
    if (is_health && request.method != "GET") {
      writer.Reply(405, {{"allow", "GET"}, {"content-type", std::string(kTextType)}}, "Method Not Allowed\n");
    } else if (request.path == "/health") {
      ClusterHealth(Page::AnswerTo(*page));
    } else if (request.path == "/proxy/health") {
      ProxyHealth(Page::AnswerTo(*page));
    } else if (request.path == "/metrics") {
      MemberMetrics(options_, options_->member_urls(), Page::AnswerTo(*page));
    } else if (request.path == "/proxy/metrics") {
      writer.Reply(200, {{"content-type", std::string(kMetricsType)}}, options_->upstream.metrics->Text());
    } else {
      writer.ReplyError(404, "404 page not found");
    }
    return page;
  }

 private:
  using Options = std::shared_ptr<const PagesOptions>;

  void ClusterHealth(Page::Answer answer) {
    const Upstream& upstream = options_->upstream;
    upstream.loop->Post([options = options_, answer = std::move(answer)]() mutable {
      const Upstream& cluster = options->upstream;
      CheckGet(*cluster.loop, *cluster.channel, *cluster.prefix,
               [answer = std::move(answer)](std::string failure) { AnswerHealth(answer, failure); });
    });
  }

  void ProxyHealth(Page::Answer answer) {
    if (options_->self == nullptr) return AnswerHealth(answer, "no connection to proxy");
    options_->upstream.loop->Post([options = options_, answer = std::move(answer)]() mutable {
      static const KeyPrefix kNone("");
      CheckGet(*options->upstream.loop, *options->self, kNone,
               [options, answer = std::move(answer)](std::string failure) mutable {
                 if (!failure.empty()) return AnswerHealth(answer, failure);
                 auto watch = std::make_shared<WatchCheck>(
                     *options->upstream.loop,
                     [answer = std::move(answer)](std::string late) { AnswerHealth(answer, late); });
                 watch->Begin(*options->self);
               });
    });
  }

  /// Of the first of `urls` that gives them.
  static void MemberMetrics(const Options& options, std::vector<std::string> urls, Page::Answer answer) {
    if (urls.empty()) return answer(500, kTextType, "Internal server error\n");
    const std::string url = std::move(urls.back()) + "/metrics";
    urls.pop_back();
    options->client->Call({.url = url}, options->upstream.loop->clock().Now() + kMetricsTimeout,
                          [options, urls = std::move(urls), answer = std::move(answer)](
                              absl::StatusOr<http::ClientResponse> response) mutable {
                            if (response.ok() && response->status == 200) {
                              return answer(200, kMetricsType, std::move(response->body));
                            }
                            MemberMetrics(options, std::move(urls), std::move(answer));
                          });
  }

  const Options options_;  // shared with the requests under way
};

}  // namespace

std::unique_ptr<http::Handler> NewPages(PagesOptions options) {
  return std::make_unique<Pages>(std::move(options));
}

}  // namespace kvorum::proxy_grpc
