#include <algorithm>

#include "absl/synchronization/mutex.h"
#include "grpc/metadata.h"
#include "grpc/server.h"
#include "proto/health.pb.h"

namespace kvorum::grpc {

namespace pb = ::grpc::health::v1;

namespace {

Payload Encode(const google::protobuf::MessageLite& message) { return {message.SerializeAsString(), {}}; }

pb::HealthCheckResponse State(bool serving) {
  pb::HealthCheckResponse response;
  response.set_status(serving ? pb::HealthCheckResponse::SERVING : pb::HealthCheckResponse::NOT_SERVING);
  return response;
}

absl::Status Malformed() {
  return absl::InternalError("grpc: error unmarshalling request: malformed message");
}

/// One Watch call. Its loop's, but `loop` is constant.
struct Watcher {
  http::Loop& loop;
  StreamWriter* writer;  // null once the call is over
  int last_sent = -1;

  void Report(const pb::HealthCheckResponse& state) {
    if (writer == nullptr || last_sent == state.status()) return;
    last_sent = state.status();
    writer->Send(Encode(state));
  }
};

}  // namespace

class HealthService::Impl : public std::enable_shared_from_this<Impl> {
 public:
  void Register(Server* server) {
    server->AddUnary("/grpc.health.v1.Health/Check",
                     [self = shared_from_this()](std::unique_ptr<UnaryCall> call) { self->Check(*call); });
    server->AddUnary("/grpc.health.v1.Health/List",
                     [self = shared_from_this()](std::unique_ptr<UnaryCall> call) { self->List(*call); });
    server->AddStream("/grpc.health.v1.Health/Watch", MethodKind::kServerStream,
                      [self = shared_from_this()](StreamWriter& writer) {
                        return std::make_unique<WatchHandler>(self, writer);
                      });
  }

  void SetServing(bool serving) {
    absl::MutexLock lock(&mutex_);
    serving_ = serving;
    for (const std::shared_ptr<Watcher>& watcher : watchers_) {
      watcher->loop.Post([watcher, self = shared_from_this()] { watcher->Report(State(self->serving())); });
    }
  }

 private:
  class WatchHandler final : public StreamHandler {
   public:
    WatchHandler(std::shared_ptr<Impl> service, StreamWriter& writer)
        : service_(std::move(service)),
          watcher_(std::make_shared<Watcher>(Watcher{writer.loop(), &writer})) {}
    ~WatchHandler() override { Leave(); }

    void OnMessage(std::string_view message) override {
      pb::HealthCheckRequest request;
      if (!request.ParseFromArray(message.data(), static_cast<int>(message.size()))) {
        return watcher_->writer->Finish(Malformed());
      }
      if (!request.service().empty()) {
        // May come into being later, says the protocol: the call stays open.
        pb::HealthCheckResponse unknown;
        unknown.set_status(pb::HealthCheckResponse::SERVICE_UNKNOWN);
        return watcher_->Report(unknown);
      }
      service_->Join(watcher_);
      watcher_->Report(State(service_->serving()));
    }
    void OnHalfClose() override {}
    void OnCancel() override { Leave(); }

   private:
    void Leave() {
      watcher_->writer = nullptr;
      service_->Leave(watcher_);
    }

    const std::shared_ptr<Impl> service_;  // shared by the server's methods and the calls
    const std::shared_ptr<Watcher> watcher_;
  };

  bool serving() {
    absl::MutexLock lock(&mutex_);
    return serving_;
  }
  void Join(std::shared_ptr<Watcher> watcher) {
    absl::MutexLock lock(&mutex_);
    watchers_.push_back(std::move(watcher));
  }
  void Leave(const std::shared_ptr<Watcher>& watcher) {
    absl::MutexLock lock(&mutex_);
    std::erase(watchers_, watcher);
  }

  void Check(UnaryCall& call) {
    pb::HealthCheckRequest request;
    if (!request.ParseFromArray(call.request().data(), static_cast<int>(call.request().size()))) {
      return call.Fail(Malformed());
    }
    if (!request.service().empty()) return call.Fail(absl::NotFoundError("unknown service"));
    call.Reply(Encode(State(serving())));
  }

  void List(UnaryCall& call) {
    pb::HealthListResponse response;
    (*response.mutable_statuses())[""] = State(serving());
    call.Reply(Encode(response));
  }

  absl::Mutex mutex_;
  bool serving_ ABSL_GUARDED_BY(mutex_) = true;
  std::vector<std::shared_ptr<Watcher>> watchers_ ABSL_GUARDED_BY(mutex_);
};

HealthService::HealthService(Server* server) : impl_(std::make_shared<Impl>()) { impl_->Register(server); }

HealthService::~HealthService() = default;

void HealthService::SetServing(bool serving) { impl_->SetServing(serving); }

}  // namespace kvorum::grpc
