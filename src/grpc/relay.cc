#include "grpc/relay.h"

#include <algorithm>
#include <array>

#include "fmt/format.h"
#include "grpc/framing.h"
#include "grpc/metadata.h"

namespace kvorum::grpc {

namespace {

constexpr size_t kHighWater = http::ResponseWriter::kHighWater;

/// Looks at the sizes of messages that pass by.
class SizeCheck {
 public:
  explicit SizeCheck(size_t max_bytes) : max_bytes_(max_bytes) {}

  absl::Status Feed(std::string_view data) {
    while (!data.empty()) {
      if (left_ > 0) {
        const size_t n = std::min(left_, data.size());
        left_ -= n;
        data.remove_prefix(n);
        continue;
      }
      prefix_[have_++] = data.front();
      data.remove_prefix(1);
      if (have_ < kPrefixBytes) continue;
      have_ = 0;
      left_ = ReadMessageSize(prefix_.data());
      if (left_ > max_bytes_) {
        return absl::ResourceExhaustedError(
            fmt::format("grpc: received message larger than max ({} vs. {})", left_, max_bytes_));
      }
    }
    return absl::OkStatus();
  }

 private:
  const size_t max_bytes_;
  std::array<char, kPrefixBytes> prefix_;
  size_t have_ = 0;  // of prefix_
  size_t left_ = 0;  // of the message
};

/// Headers of a request that are not the next server's business, or that the next connection writes anew.
bool IsPassedOn(std::string_view name) {
  return name != "te" && name != "grpc-timeout" && name != "host" && name != "content-length";
}

/// One call. The sink of its exchange; on the loop of both connections only.
class RelayedCall final : public http::RequestSink {
 public:
  RelayedCall(http::ResponseWriter& writer, const RelayOptions& options)
      : options_(options),
        writer_(writer),
        requests_(options.max_request_bytes),
        responses_(options.max_message_bytes) {}

  void Begin(Channel& channel, const http::Request& request) {
    http::Headers metadata;
    MonotonicTime deadline = MonotonicTime::max();
    for (const auto& [name, value] : request.headers) {
      if (IsPassedOn(name)) metadata.emplace_back(name, value);
      if (name != "grpc-timeout") continue;
      const auto timeout = ParseTimeout(value);
      if (!timeout) return Finish(absl::InternalError(fmt::format("malformed grpc-timeout: \"{}\"", value)));
      const MonotonicTime now = writer_.loop().clock().Now();
      if (*timeout < MonotonicTime::max() - now) deadline = now + *timeout;
    }
    ClientConnection::StreamCallbacks callbacks;
    callbacks.as_bytes = true;
    callbacks.on_head = [this](const http::HeaderViews& headers) { SendHead(headers); };
    callbacks.on_message = [this](std::string_view bytes) { OnResponse(bytes); };
    callbacks.on_trailers = [this](const http::HeaderViews& trailers) {
      for (const auto& [name, value] : trailers) trailers_.emplace_back(name, value);
    };
    callbacks.on_end = [this](const absl::Status& status) { Finish(status); };
    callbacks.on_writable = [this] {
      if (std::exchange(input_paused_, false)) writer_.ResumeInput();
    };
    if (options_.before_answer) method_ = request.path;
    upstream_ = channel.OpenStream(request.path, std::move(callbacks), metadata, deadline);
  }

  void OnData(std::string_view data) override {
    if (over_) return;
    if (absl::Status status = requests_.Feed(data); !status.ok()) return Finish(status);
    upstream_->Send(data);
    if (upstream_->buffered() >= kHighWater && !std::exchange(input_paused_, true)) writer_.PauseInput();
  }
  void OnEnd() override {
    half_closed_ = true;
    if (!over_) upstream_->HalfClose();
  }
  void OnAbort() override {
    over_ = true;
    upstream_.reset();
  }
  void OnWritable() override {
    if (!over_) upstream_->Resume();
  }
  void OnDrain() override {
    // What the client may go on with for ever; an answer that is due is waited for.
    if (!half_closed_) Finish(absl::UnavailableError("the proxy is stopping"));
  }

 private:
  void SendHead(const http::HeaderViews& headers) {
    http::Headers head;
    for (const auto& [name, value] : headers) {
      if (name != "content-length") head.emplace_back(name, value);
    }
    head_sent_ = true;
    writer_.SendHead(200, head);
  }

  void OnResponse(std::string_view bytes) {
    if (over_) return;
    if (absl::Status status = responses_.Feed(bytes); !status.ok()) return Finish(status);
    if (!head_sent_) return Finish(absl::InternalError("a response without a head"));
    BeforeAnswer();
    writer_.Send(bytes);
    if (writer_.buffered() >= kHighWater) upstream_->Pause();
  }

  void Finish(const absl::Status& status) {
    if (std::exchange(over_, true)) return;
    upstream_.reset();  // which is over, or shall be
    BeforeAnswer();
    // The server's own words where it had any: they may say more than a status holds.
    if (trailers_.empty()) trailers_ = StatusTrailers(status);
    if (head_sent_) return writer_.End(trailers_);
    const bool typed =
        std::ranges::any_of(trailers_, [](const auto& trailer) { return trailer.first == "content-type"; });
    if (!typed) trailers_.insert(trailers_.begin(), {"content-type", "application/grpc"});
    writer_.SendOnlyHead(200, trailers_);
  }

  void BeforeAnswer() {
    if (options_.before_answer) options_.before_answer(method_);
  }

  const RelayOptions& options_;
  std::string method_;  // where somebody wants to know it
  http::ResponseWriter& writer_;
  SizeCheck requests_;
  SizeCheck responses_;
  std::unique_ptr<ClientConnection::Stream> upstream_;
  http::Headers trailers_;
  bool head_sent_ = false;
  bool half_closed_ = false;
  bool input_paused_ = false;
  bool over_ = false;
};

class Relay final : public http::Handler {
 public:
  explicit Relay(RelayOptions options) : options_(std::move(options)) {}

  std::unique_ptr<http::RequestSink> Start(const http::Request& request,
                                           http::ResponseWriter& writer) override {
    auto call = std::make_unique<RelayedCall>(writer, options_);
    call->Begin(options_.channel(writer.loop()), request);
    return call;
  }

 private:
  const RelayOptions options_;
};

}  // namespace

std::unique_ptr<http::Handler> NewRelay(RelayOptions options) {
  return std::make_unique<Relay>(std::move(options));
}

}  // namespace kvorum::grpc
