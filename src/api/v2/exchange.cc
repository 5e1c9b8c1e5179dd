#include "api/v2/exchange.h"

#include "api/v2/http_status.h"
#include "cluster/cluster.h"

namespace kvorum::api_v2 {
namespace {

class GatedSink final : public http::RequestSink {
 public:
  GatedSink(const Call& call, const Gate& gate, Serve serve)
      : writer_(call.writer),
        body_limit_(gate.body_limit),
        exchange_(std::make_shared<Exchange>(call.writer)),
        serve_(std::move(serve)),
        has_body_(gate.body_limit == 0),
        allowed_(gate.access == nullptr) {}
  ~GatedSink() override {
    exchange_->Gone();
    Release();
  }

  void Begin(const http::Request& request, AccessControl* access) {
    if (access == nullptr) return ServeIfReady();
    ticket_ = access->CheckRoot(request, writer_, [this](Verdict verdict) { OnVerdict(verdict); });
  }

  void OnData(std::string_view data) override {
    if (!serve_ || has_body_) return;
    if (data.size() > body_limit_ - body_.size()) return Refuse(kTooLarge, "request body too large");
    if (!writer_.Keep(static_cast<ptrdiff_t>(data.size()))) {
      return Refuse(kUnavailable, "too many request bytes on this connection");
    }
    body_.append(data);
    kept_ += data.size();
  }
  void OnEnd() override {
    has_body_ = true;
    ServeIfReady();
  }
  void OnAbort() override {
    exchange_->Gone();
    serve_ = nullptr;
    ticket_.reset();
  }

 private:
  void OnVerdict(Verdict verdict) {
    if (!serve_) return;
    switch (verdict) {
      case Verdict::kDenied:
        return Refuse(kUnauthorized, kDeniedText);
      case Verdict::kBusy:
        return Refuse(kUnavailable, kBusyText);
      case Verdict::kAllowed:
        allowed_ = true;
        ServeIfReady();
    }
  }
  void Refuse(int status, std::string_view text) {
    serve_ = nullptr;
    body_ = std::string();
    Release();
    exchange_->ReplyMessage(status, text);
  }
  void ServeIfReady() {
    if (!serve_ || !has_body_ || !allowed_) return;
    Release();
    std::exchange(serve_, nullptr)(exchange_, std::move(body_));
  }
  void Release() {
    if (kept_ > 0) writer_.Keep(-static_cast<ptrdiff_t>(std::exchange(kept_, 0)));
  }

  http::ResponseWriter& writer_;
  const size_t body_limit_;
  const ExchangePtr exchange_;
  Serve serve_;  // empty once served or refused
  bool has_body_;
  bool allowed_;
  std::string body_;
  size_t kept_ = 0;  // bytes that the connection accounts for
  std::unique_ptr<AccessControl::Ticket> ticket_;
};

}  // namespace

void Exchange::ReplyJson(int status, std::string_view body) {
  if (writer_ == nullptr) return;
  headers_.emplace_back("content-type", "application/json");
  writer_->Reply(status, std::move(headers_), body);
}

void Exchange::ReplyMessage(int status, std::string_view message) {
  if (writer_ != nullptr) api_v2::ReplyMessage(*writer_, status, message, std::move(headers_));
}

void Exchange::ReplyNoContent() {
  if (writer_ != nullptr) writer_->SendOnlyHead(kNoContent, headers_);
}

void Exchange::ReplyText(int status, std::string_view text) {
  if (writer_ == nullptr) return;
  headers_.emplace_back("content-type", "text/plain; charset=utf-8");
  writer_->Reply(status, std::move(headers_), text);
}

void Exchange::ReplyPlain(int status, std::string_view text) {
  if (writer_ == nullptr) return;
  headers_.emplace_back("content-type", "text/plain; charset=utf-8");
  headers_.emplace_back("x-content-type-options", "nosniff");
  writer_->Reply(status, std::move(headers_), std::string(text) + "\n");
}

void AddClusterId(Exchange& exchange, ClusterId id) {
  exchange.AddHeader("x-etcd-cluster-id", cluster::IdText(id.value()));
}

std::unique_ptr<http::RequestSink> StartGated(const Call& call, const Gate& gate, Serve serve) {
  auto sink = std::make_unique<GatedSink>(call, gate, std::move(serve));
  sink->Begin(call.request, gate.access);
  return sink;
}

}  // namespace kvorum::api_v2
