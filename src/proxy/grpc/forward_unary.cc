#include "proxy/grpc/forward_unary.h"

#include <utility>

namespace kvorum::proxy_grpc {
namespace {

/// A call under way. Shared between the two loops and what is posted between them.
class Forward : public std::enable_shared_from_this<Forward> {
 public:
  Forward(const Upstream& upstream, std::unique_ptr<grpc::UnaryCall> call,
          std::function<std::string(std::string_view)> change)
      : upstream_(upstream),
        client_loop_(call->loop()),
        method_(call->info().method),
        request_(call->request()),
        metadata_(ForwardedMetadata(call->info().metadata)),
        deadline_(call->info().deadline.value_or(MonotonicTime::max())),
        change_(std::move(change)),
        call_(std::move(call)) {}

  void Begin() {
    call_->OnCancel([self = shared_from_this()] { self->upstream_.loop->Post([self] { self->Cancel(); }); });
    upstream_.loop->Post([self = shared_from_this()] { self->Send(); });
  }

 private:
  // The upstream's loop.
  void Send() {
    if (over_) return;
    id_ = upstream_.channel->Unary(
        method_, request_, deadline_,
        [self = shared_from_this()](const absl::Status& status, std::string_view response) {
          self->over_ = true;
          std::string answer;
          if (status.ok()) answer = self->change_ ? self->change_(response) : std::string(response);
          self->client_loop_.Post(
              [self, status, answer = std::move(answer)] { self->Answer(status, answer); });
        },
        metadata_);
  }
  void Cancel() {
    if (std::exchange(over_, true)) return;
    if (id_ != 0) upstream_.channel->Cancel(id_);
    client_loop_.Post([self = shared_from_this()] { self->call_.reset(); });
  }

  // The client's loop.
  void Answer(const absl::Status& status, const std::string& response) {
    const std::unique_ptr<grpc::UnaryCall> call = std::move(call_);
    if (call == nullptr || call->cancelled()) return;
    if (!status.ok()) return call->Fail(status);
    call->Reply(grpc::Payload{.head = response, .shared = {}});
  }

  const Upstream upstream_;
  http::Loop& client_loop_;
  const std::string method_;
  const std::string request_;
  const http::Headers metadata_;
  const MonotonicTime deadline_;
  const std::function<std::string(std::string_view)> change_;
  std::unique_ptr<grpc::UnaryCall> call_;  // the client's loop
  grpc::Channel::CallId id_ = 0;           // the upstream's loop
  bool over_ = false;                      // the upstream's loop
};

}  // namespace

void ForwardUnary(const Upstream& upstream, std::unique_ptr<grpc::UnaryCall> call,
                  std::function<std::string(std::string_view response)> change) {
  std::make_shared<Forward>(upstream, std::move(call), std::move(change))->Begin();
}

}  // namespace kvorum::proxy_grpc
