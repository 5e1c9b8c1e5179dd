#include "http/handler.h"

#include "fmt/format.h"
#include "http/session.h"

namespace kvorum::http {

const std::string_view* Request::Find(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (key == name) return &value;
  }
  return nullptr;
}

void ResponseWriter::Reply(int status, Headers headers, std::string_view body) {
  headers.emplace_back("content-length", fmt::format_int(body.size()).str());
  if (body.empty()) return SendOnlyHead(status, headers);
  SendHead(status, headers);
  Send(body);
  End();
}

void ResponseWriter::ReplyWith(int status, std::span<const HeaderView> headers, std::string_view body) {
  Headers all(headers.begin(), headers.end());
  all.insert(all.end(), added_.begin(), added_.end());
  added_.clear();
  Reply(status, std::move(all), body);
}

void ResponseWriter::ReplyError(int status, std::string_view text) {
  Reply(status, {{"content-type", "text/plain; charset=utf-8"}, {"x-content-type-options", "nosniff"}},
        std::string(text) + "\n");
}

namespace {

class BodyCollector final : public RequestSink {
 public:
  BodyCollector(ResponseWriter& writer, size_t limit, absl::AnyInvocable<void(std::string)> done)
      : writer_(writer), limit_(limit), done_(std::move(done)) {}
  ~BodyCollector() override { Release(); }

  void OnData(std::string_view data) override {
    if (!done_) return;
    if (data.size() > limit_ - body_.size()) return Refuse(413, "request body too large");
    if (!writer_.Keep(static_cast<ptrdiff_t>(data.size()))) {
      return Refuse(503, "too many request bytes on this connection");
    }
    body_.append(data);
    kept_ += data.size();
  }

  void OnEnd() override {
    if (!done_) return;
    Release();
    std::exchange(done_, nullptr)(std::move(body_));
  }

  void OnAbort() override { done_ = nullptr; }

 private:
  void Refuse(int status, std::string_view text) {
    done_ = nullptr;
    body_ = std::string();
    Release();
    writer_.ReplyError(status, text);
  }

  void Release() {
    if (kept_ > 0) writer_.Keep(-static_cast<ptrdiff_t>(std::exchange(kept_, 0)));
  }

  ResponseWriter& writer_;
  const size_t limit_;
  absl::AnyInvocable<void(std::string)> done_;  // empty once called or refused
  std::string body_;
  size_t kept_ = 0;
};

class NotFound final : public Handler {
 public:
  std::unique_ptr<RequestSink> Start(const Request&, ResponseWriter& writer) override {
    struct Ignore final : RequestSink {
      void OnData(std::string_view) override {}
      void OnEnd() override {}
      void OnAbort() override {}
    };
    writer.ReplyError(404, "404 page not found");
    return std::make_unique<Ignore>();
  }
};

}  // namespace

Handler& NotFoundHandler() {
  static NotFound handler;
  return handler;
}

std::unique_ptr<RequestSink> CollectBody(ResponseWriter& writer, size_t limit,
                                         absl::AnyInvocable<void(std::string body)> done) {
  return std::make_unique<BodyCollector>(writer, limit, std::move(done));
}

}  // namespace kvorum::http
