#include "proxy/grpc/registration.h"

#include "base/go_json.h"
#include "fmt/format.h"
#include "grpc/metadata.h"
#include "proto/rpc.pb.h"

namespace kvorum::proxy_grpc {

using namespace std::chrono_literals;

namespace {

constexpr auto kBetweenSessions = 1s;  // at least
constexpr auto kCallTimeout = 5s;

}  // namespace

std::string RegistrationKey(const RegistrationOptions& options) {
  return fmt::format("{}/{}", options.resolver_prefix, options.advertise_url);
}

std::string RegistrationValue(const RegistrationOptions& options) {
  std::string metadata = "{\"name\":";
  AppendJsonString(metadata, options.host_name);
  metadata += '}';
  std::string value = "{\"Op\":0,\"Addr\":";
  AppendJsonString(value, options.advertise_url);
  value += ",\"Metadata\":";
  AppendJsonString(value, metadata);
  value += '}';
  return value;
}

class Registration::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(const Upstream& upstream, RegistrationOptions options)
      : upstream_(upstream), loop_(*upstream.loop), options_(std::move(options)) {}

  void Begin() {
    began_ = loop_.clock().Now();
    etcdserverpb::LeaseGrantRequest request;
    request.set_ttl(options_.ttl.count());
    Call("/etcdserverpb.Lease/LeaseGrant", request.SerializeAsString(),
         [this](const absl::Status& status, std::string_view response) {
           etcdserverpb::LeaseGrantResponse granted;
           if (!status.ok()) return Again(status);
           if (!granted.ParseFromArray(response.data(), static_cast<int>(response.size()))) {
             return Again(absl::InternalError("a malformed answer"));
           }
           lease_ = granted.id();
           PutKey();
         });
  }

  void Stop() {
    stopped_ = true;
    keep_alive_.reset();
    for (Executor::TimerId* timer : {&again_, &beat_, &expiry_}) Cancel(timer);
  }

  void Withdraw(absl::AnyInvocable<void()> done) {
    const int64_t lease = std::exchange(lease_, 0);
    Stop();
    if (lease == 0) return done();
    etcdserverpb::LeaseRevokeRequest request;
    request.set_id(lease);
    upstream_.channel->Unary(
        "/etcdserverpb.Lease/LeaseRevoke", request.SerializeAsString(), loop_.clock().Now() + 1s,
        [done = std::move(done)](const absl::Status&, std::string_view) mutable { done(); });
  }

 private:
  void Cancel(Executor::TimerId* timer) {
    if (*timer != 0) loop_.CancelTimer(std::exchange(*timer, 0));
  }

  template <typename Done>
  void Call(std::string_view method, const std::string& request, Done done) {
    upstream_.channel->Unary(
        method, request, loop_.clock().Now() + kCallTimeout,
        [weak = weak_from_this(), done](const absl::Status& status, std::string_view response) {
          const auto self = weak.lock();
          if (self != nullptr && !self->stopped_) done(status, response);
        });
  }

  void PutKey() {
    etcdserverpb::PutRequest request;
    request.set_key(upstream_.prefix->Key(RegistrationKey(options_)));
    request.set_value(RegistrationValue(options_));
    request.set_lease(lease_);
    Call("/etcdserverpb.KV/Put", request.SerializeAsString(),
         [this](const absl::Status& status, std::string_view) {
           if (!status.ok()) return Again(status);
           KVORUM_LOG(*upstream_.logger, kInfo, "registered session with lease",
                      {"addr", options_.advertise_url}, {"lease-ttl", options_.ttl.count()});
           Extend(options_.ttl);
           OpenKeepAlive();
         });
  }

  /// The lease holds for so long from now on.
  void Extend(std::chrono::seconds ttl) {
    Cancel(&expiry_);
    expiry_ = loop_.PostAfter(ttl, [this] {
      expiry_ = 0;
      Again(absl::DeadlineExceededError("the lease expired"));
    });
  }

  void OpenKeepAlive() {
    grpc::ClientConnection::StreamCallbacks callbacks;
    callbacks.on_message = [weak = weak_from_this()](std::string_view message) {
      if (const auto self = weak.lock()) self->OnKeptAlive(message);
    };
    callbacks.on_end = [weak = weak_from_this()](const absl::Status&) {
      const auto self = weak.lock();
      if (self == nullptr || self->stopped_) return;
      // Another member takes it; until then the lease runs on.
      self->Cancel(&self->beat_);
      self->beat_ = self->loop_.PostAfter(500ms, [impl = self.get()] {
        impl->beat_ = 0;
        impl->OpenKeepAlive();
      });
    };
    keep_alive_ = upstream_.channel->OpenStream("/etcdserverpb.Lease/LeaseKeepAlive", std::move(callbacks));
    Beat();
  }

  void Beat() {
    etcdserverpb::LeaseKeepAliveRequest request;
    request.set_id(lease_);
    keep_alive_->Send(request.SerializeAsString());
    Cancel(&beat_);
    beat_ = loop_.PostAfter(std::chrono::nanoseconds(options_.ttl) / 3, [this] {
      beat_ = 0;
      Beat();
    });
  }

  void OnKeptAlive(std::string_view message) {
    etcdserverpb::LeaseKeepAliveResponse response;
    if (stopped_ || !response.ParseFromArray(message.data(), static_cast<int>(message.size()))) return;
    if (response.ttl() > 0) return Extend(std::chrono::seconds(response.ttl()));
    // It is gone; not inside the stream's own callback.
    loop_.Post([weak = weak_from_this()] {
      const auto self = weak.lock();
      if (self != nullptr && !self->stopped_) self->Again(absl::NotFoundError("the lease is gone"));
    });
  }

  void Again(const absl::Status& why) {
    if (again_ != 0) return;
    KVORUM_LOG(*upstream_.logger, kWarn, "failed to register session with lease",
               {"addr", options_.advertise_url}, {"error", grpc::Message(why)});
    keep_alive_.reset();
    Cancel(&beat_);
    Cancel(&expiry_);
    lease_ = 0;
    again_ = loop_.PostAt(began_ + kBetweenSessions, [this] {
      again_ = 0;
      Begin();
    });
  }

  const Upstream upstream_;
  http::Loop& loop_;
  const RegistrationOptions options_;
  bool stopped_ = false;
  MonotonicTime began_{};  // with this session
  int64_t lease_ = 0;      // 0: none
  std::unique_ptr<grpc::ClientConnection::Stream> keep_alive_;
  Executor::TimerId again_ = 0;
  Executor::TimerId beat_ = 0;
  Executor::TimerId expiry_ = 0;
};

Registration::Registration(const Upstream& upstream, RegistrationOptions options)
    : impl_(std::make_shared<Impl>(upstream, std::move(options))) {
  impl_->Begin();
}

Registration::~Registration() { impl_->Stop(); }

void Registration::Withdraw(absl::AnyInvocable<void()> done) { impl_->Withdraw(std::move(done)); }

}  // namespace kvorum::proxy_grpc
