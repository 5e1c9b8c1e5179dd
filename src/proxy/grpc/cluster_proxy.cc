#include "proxy/grpc/cluster_proxy.h"

#include <map>

#include "absl/synchronization/mutex.h"
#include "base/go_json_reader.h"
#include "grpc/metadata.h"
#include "proto/rpc.pb.h"

namespace kvorum::proxy_grpc {

using namespace std::chrono_literals;

namespace {

constexpr auto kRetryPause = 1s;
constexpr auto kCallTimeout = 5s;

/// One field of a JSON object; empty where there is none.
std::string FieldOf(const std::string& json, std::string_view wanted) {
  std::string value;
  if (!CheckJson(json).ok()) return value;
  JsonReader reader(json);
  const bool ok = reader.ReadObject([&](const std::string& name) {
    if (name == wanted && reader.Peek() == JsonReader::Kind::kString) {
      value = reader.ReadString().value_or("");
    } else {
      reader.Skip();
    }
  });
  return ok ? value : std::string();
}

/// As a registration's value says it (see RegistrationValue).
etcdserverpb::Member MemberOf(const std::string& value) {
  etcdserverpb::Member member;
  member.set_name(FieldOf(FieldOf(value, "Metadata"), "name"));
  member.add_clienturls(FieldOf(value, "Addr"));
  return member;
}

}  // namespace

class ClusterProxy::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(const Upstream& upstream, ClusterProxyOptions options)
      : upstream_(upstream), loop_(*upstream.loop), options_(std::move(options)) {
    Publish();
  }

  void Begin() {
    if (!options_.resolver_prefix.empty()) ReadAll();
  }
  void Stop() {
    stopped_ = true;
    watch_.reset();
    if (timer_ != 0) loop_.CancelTimer(std::exchange(timer_, 0));
  }

  std::string Answer() const {
    absl::MutexLock lock(&mutex_);
    return answer_;
  }

 private:
  std::pair<std::string, std::string> Range() const {
    const KeyPrefix all(upstream_.prefix->Key(options_.resolver_prefix + "/"));
    return all.Range("", std::string_view("\0", 1));
  }

  void ReadAll() {
    etcdserverpb::RangeRequest request;
    auto [key, end] = Range();
    request.set_key(std::move(key));
    request.set_range_end(std::move(end));
    upstream_.channel->Unary(
        "/etcdserverpb.KV/Range", request.SerializeAsString(), loop_.clock().Now() + kCallTimeout,
        [weak = weak_from_this()](const absl::Status& status, std::string_view response) {
          const auto self = weak.lock();
          if (self != nullptr && !self->stopped_) self->OnAll(status, response);
        });
  }

  void OnAll(const absl::Status& status, std::string_view bytes) {
    etcdserverpb::RangeResponse response;
    if (!status.ok() || !response.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
      return Again();
    }
    members_.clear();
    for (const mvccpb::KeyValue& kv : response.kvs()) members_[kv.key()] = MemberOf(kv.value());
    Publish();
    Watch(response.header().revision() + 1);
  }

  void Watch(int64_t from) {
    grpc::ClientConnection::StreamCallbacks callbacks;
    callbacks.on_message = [weak = weak_from_this()](std::string_view message) {
      if (const auto self = weak.lock()) self->OnEvents(message);
    };
    callbacks.on_end = [weak = weak_from_this()](const absl::Status&) {
      if (const auto self = weak.lock()) self->Again();
    };
    watch_ = upstream_.channel->OpenStream("/etcdserverpb.Watch/Watch", std::move(callbacks));
    etcdserverpb::WatchRequest request;
    auto [key, end] = Range();
    request.mutable_create_request()->set_key(std::move(key));
    request.mutable_create_request()->set_range_end(std::move(end));
    request.mutable_create_request()->set_start_revision(from);
    watch_->Send(request.SerializeAsString());
  }

  void OnEvents(std::string_view bytes) {
    etcdserverpb::WatchResponse response;
    if (stopped_ || !response.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return;
    if (response.canceled()) return Again();
    for (const mvccpb::Event& event : response.events()) {
      if (event.type() == mvccpb::Event::DELETE) {
        members_.erase(event.kv().key());
      } else {
        members_[event.kv().key()] = MemberOf(event.kv().value());
      }
    }
    if (response.events_size() > 0) Publish();
  }

  /// Begins anew a little later.
  void Again() {
    if (stopped_ || timer_ != 0) return;
    timer_ = loop_.PostAfter(kRetryPause, [this] {
      timer_ = 0;
      watch_.reset();
      ReadAll();
    });
  }

  void Publish() {
    etcdserverpb::MemberListResponse response;
    for (const auto& [key, member] : members_) *response.add_members() = member;
    if (members_.empty()) {
      etcdserverpb::Member* self = response.add_members();
      self->set_name(options_.host_name);
      self->add_clienturls(options_.advertise_url);
    }
    absl::MutexLock lock(&mutex_);
    answer_ = response.SerializeAsString();
  }

  const Upstream upstream_;
  http::Loop& loop_;
  const ClusterProxyOptions options_;
  bool stopped_ = false;
  std::map<std::string, etcdserverpb::Member> members_;  // by key
  std::unique_ptr<grpc::ClientConnection::Stream> watch_;
  Executor::TimerId timer_ = 0;

  mutable absl::Mutex mutex_;
  std::string answer_ ABSL_GUARDED_BY(mutex_);
};

ClusterProxy::ClusterProxy(const Upstream& upstream, ClusterProxyOptions options)
    : impl_(std::make_shared<Impl>(upstream, std::move(options))) {
  impl_->Begin();
}

ClusterProxy::~ClusterProxy() { impl_->Stop(); }

void ClusterProxy::Register(grpc::Server* server) {
  server->AddUnary("/etcdserverpb.Cluster/MemberList", [impl = impl_](std::unique_ptr<grpc::UnaryCall> call) {
    call->Reply({impl->Answer(), {}});
  });
}

}  // namespace kvorum::proxy_grpc
