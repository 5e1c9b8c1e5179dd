#include <deque>
#include <memory>
#include <utility>

#include "api/v3/call.h"
#include "api/v3/core.h"
#include "api/v3/errors.h"
#include "api/v3/flat_message.h"
#include "api/v3/stream.h"
#include "base/wire.h"
#include "member/request_view.h"
#include "proto/rpc.pb.h"

namespace kvorum::api_v3 {
namespace {

template <typename Request>
bool Parse(std::string_view bytes, Request* request) {
  return request->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

/// The header that a lease's answers carry: of the store as it is now.
void ReplyNow(Call call, const google::protobuf::MessageLite& body) {
  member::Member& member = call.member();
  call.Reply(member.store().current_revision(), member.status().term, body.SerializeAsString());
}

void Grant(Call call) {
  etcdserverpb::LeaseGrantRequest request;
  if (!Parse(call.request(), &request)) return call.FailWith(MalformedRequestError());
  request.DiscardUnknownFields();
  if (absl::Status quota = call.member().CheckQuota(member::kLeaseGrantQuotaCost); !quota.ok()) {
    return call.Fail(quota);
  }
  // Ids that the server picks are positive.
  while (request.id() == 0) {
    request.set_id(static_cast<int64_t>(call.member().NextRequestId().value() & INT64_MAX));
  }
  const std::string encoded = request.SerializeAsString();
  Propose(std::move(call), member::RequestKind::kLeaseGrant, encoded);
}

void Revoke(Call call) {
  etcdserverpb::LeaseRevokeRequest request;
  if (!Parse(call.request(), &request)) return call.FailWith(MalformedRequestError());
  request.DiscardUnknownFields();
  const std::string encoded = request.SerializeAsString();
  Propose(std::move(call), member::RequestKind::kLeaseRevoke, encoded);
}

void AnswerTimeToLive(Call call, LeaseId id, const absl::StatusOr<lease::LeaseView>& view) {
  etcdserverpb::LeaseTimeToLiveResponse response;
  response.set_id(id.value());
  if (view.ok()) {
    response.set_ttl(view->remaining_ttl_seconds);
    response.set_grantedttl(view->granted_ttl_seconds);
    for (const std::string& key : view->keys) response.add_keys(key);
  } else if (absl::IsNotFound(view.status())) {
    response.set_ttl(-1);
  } else {
    return call.Fail(view.status());
  }
  ReplyNow(std::move(call), response);
}

void TimeToLive(Call call) {
  etcdserverpb::LeaseTimeToLiveRequest request;
  if (!Parse(call.request(), &request)) return call.FailWith(MalformedRequestError());
  const LeaseId id(request.id());
  member::Member& member = call.member();
  member.LeaseTimeToLive(id, request.keys(),
                         [call = std::move(call), id](absl::StatusOr<lease::LeaseView> view) mutable {
                           http::Loop& loop = call.loop();
                           loop.Post([call = std::move(call), id, view = std::move(view)]() mutable {
                             AnswerTimeToLive(std::move(call), id, view);
                           });
                         });
}

void Leases(Call call) {
  etcdserverpb::LeaseLeasesResponse response;
  for (const LeaseId id : call.member().lessor().List()) response.add_leases()->set_id(id.value());
  ReplyNow(std::move(call), response);
}

/// One LeaseKeepAlive stream: renewals run side by side, their answers leave in the order of the requests.
class KeepAliveHandler final : public grpc::StreamHandler {
 public:
  KeepAliveHandler(Core* core, MethodStats* stats, grpc::StreamWriter& writer)
      : core_(core), writer_(writer), counter_(core, stats), alive_(this), guard_(core, &writer, [this] {
          End(NoLeaderError());
        }) {}

  void OnMessage(std::string_view message) override {
    counter_.Received(message.size());
    FieldValue id;
    static constexpr FieldKind kKinds[] = {FieldKind::kInt64};
    if (ParseFlat(message, kKinds, {&id, 1}) == Form::kMalformed)
      return Break("receive", MalformedRequestError());
    if (waiting_.size() >= kMaxWaiting || writer_.buffered() > kMaxBufferedBytes) {
      return Break("send", absl::ResourceExhaustedError("etcdserver: too many keep-alives at once"));
    }
    const uint64_t number = first_ + waiting_.size();
    // The header is of the time before the renewal.
    waiting_.push_back({.id = LeaseId(static_cast<int64_t>(id.number)),
                        .revision = core_->member().store().current_revision()});
    http::Loop& loop = writer_.loop();
    core_->member().RenewLease(waiting_.back().id,
                               [&loop, handle = alive_.handle(), number](absl::StatusOr<int64_t> ttl) {
                                 // Inside the call, where nothing had to be waited for; elsewhere the handle
                                 // may be dead.
                                 if (loop.InThread()) {
                                   if (*handle != nullptr) (*handle)->Renewed(number, ttl);
                                   return;
                                 }
                                 loop.Post([handle, number, ttl = std::move(ttl)] {
                                   if (*handle != nullptr) (*handle)->Renewed(number, ttl);
                                 });
                               });
  }

  void OnHalfClose() override {
    half_closed_ = true;
    if (!ended_ && waiting_.empty()) End(absl::OkStatus());
  }

  void OnCancel() override { ended_ = true; }

 private:
  static constexpr size_t kMaxWaiting = 100'000;

  struct Renewal {
    LeaseId id;
    int64_t revision = 0;
    bool done = false;
    int64_t ttl = 0;
  };

  void Renewed(uint64_t number, const absl::StatusOr<int64_t>& ttl) {
    if (ended_) return;
    // A lease that is gone is answered with no time at all; everything else ends the stream.
    if (!ttl.ok() && !absl::IsNotFound(ttl.status())) return Break("send", ToClientError(ttl.status()));
    Renewal& renewal = waiting_[number - first_];
    renewal.done = true;
    renewal.ttl = ttl.ok() ? *ttl : 0;
    const uint64_t term = core_->member().status().term;
    for (; !waiting_.empty() && waiting_.front().done; waiting_.pop_front(), ++first_) {
      Send(waiting_.front(), term);
    }
    if (half_closed_ && waiting_.empty()) End(absl::OkStatus());
  }

  void Send(const Renewal& renewal, uint64_t term) {
    grpc::Payload payload;
    core_->header().Append(payload.head, renewal.revision, term);
    if (renewal.id != LeaseId(0))
      wire::AppendUint(payload.head, 2, static_cast<uint64_t>(renewal.id.value()));
    if (renewal.ttl != 0) wire::AppendUint(payload.head, 3, static_cast<uint64_t>(renewal.ttl));
    counter_.Sent(payload.size());
    writer_.Send(std::move(payload));
  }

  void Break(const char* type, const absl::Status& status) {
    core_->stream_failures().With({type, "lease-keepalive"}).Add();
    End(status);
  }

  /// REQUIRES: the caller touches nothing of this afterwards.
  void End(const absl::Status& status) {
    ended_ = true;
    writer_.Finish(status);
  }

  Core* const core_;
  grpc::StreamWriter& writer_;
  StreamCounter counter_;
  std::deque<Renewal> waiting_;  // not answered yet, in the order of the requests
  uint64_t first_ = 0;           // the number of waiting_.front()
  bool half_closed_ = false;
  bool ended_ = false;
  AliveFlag<KeepAliveHandler> alive_;
  LeaderGuard guard_;
};

}  // namespace

void RegisterLease(Core* core, grpc::Server* server) {
  AddUnary(core, server, "/etcdserverpb.Lease/LeaseGrant", &Grant);
  AddUnary(core, server, "/etcdserverpb.Lease/LeaseRevoke", &Revoke);
  AddUnary(core, server, "/etcdserverpb.Lease/LeaseTimeToLive", &TimeToLive);
  AddUnary(core, server, "/etcdserverpb.Lease/LeaseLeases", &Leases);
  AddStream(core, server, "/etcdserverpb.Lease/LeaseKeepAlive", grpc::MethodKind::kBidiStream,
            &MakeStream<KeepAliveHandler>);
}

}  // namespace kvorum::api_v3
