#include "robustness/leaser.h"

#include <utility>

#include "fmt/format.h"
#include "robustness/kv_client.h"

namespace kvorum::robustness {

namespace {

constexpr Instant kPatience = 2 * kSecond;
constexpr Instant kPause = 3 * kSecond;

}  // namespace

void Leaser::Start() { Again(); }

void Leaser::Again() {
  scene_->After(scene_->Between(0, kPause), [this] { Grant(); });
}

void Leaser::Grant() {
  if (stopped_) return;
  etcdserverpb::LeaseGrantRequest request;
  request.set_id(static_cast<int64_t>(id_ << 32 | (leases_ + 1)));
  request.set_ttl(kMinTtlSeconds + static_cast<int64_t>(scene_->chance().Below(
                                       static_cast<uint64_t>(kMaxTtlSeconds - kMinTtlSeconds) + 1)));
  const Instant invoked = scene_->now();
  const bool sent = scene_->Any().Call<etcdserverpb::LeaseGrantResponse>(
      "/etcdserverpb.Lease/LeaseGrant", request, kPatience,
      [this](const absl::StatusOr<etcdserverpb::LeaseGrantResponse>& response) {
        if (!response.ok()) return Again();
        lease().ttl_seconds = response->ttl();
        lease().granted = scene_->now();
        Put(1 + scene_->chance().Below(3));
      });
  if (!sent) return Again();
  ++leases_;
  at_ = scene_->history().leases.size();
  scene_->history().leases.emplace_back();
  lease().id = request.id();
  lease().ttl_seconds = request.ttl();
  lease().granted_invoked = invoked;
}

void Leaser::Put(uint64_t left) {
  if (left == 0) return Renew(scene_->chance().Below(8));
  etcdserverpb::PutRequest request;
  request.set_key(fmt::format("l{}.{}", id_, scene_->chance().Below(4)));
  request.set_value(fmt::format("{}.{}", id_, ++values_));
  request.set_lease(lease().id);
  const size_t at = scene_->history().operations.size();
  const Instant invoked = scene_->now();
  Endpoint& endpoint = scene_->Any();
  const bool sent = endpoint.Call<etcdserverpb::PutResponse>(
      "/etcdserverpb.KV/Put", request, kPatience,
      [this, at, left](absl::StatusOr<etcdserverpb::PutResponse> response) {
        if (response.ok()) {
          NoteOutcome(scene_, at, *std::move(response));
        } else {
          NoteOutcome(scene_, at, response.status());
        }
        Put(left - 1);
      });
  if (!sent) return Renew(scene_->chance().Below(8));
  sim::Operation& operation = scene_->history().operations.emplace_back();
  operation.client = id_;
  operation.member = endpoint.id();
  operation.invoked = invoked;
  operation.request = std::move(request);
}

void Leaser::Renew(uint64_t left) {
  if (stopped_) return;
  if (left == 0) {
    if (scene_->chance().OneIn(1, 2)) return Revoke();
    // Forgotten: it ends by its time. The next one comes when it may be over, or before.
    return Again();
  }
  const Instant pause = lease().ttl_seconds * kSecond / 3;
  scene_->After(scene_->Between(pause / 2, pause), [this, left] { SendRenewal(left); });
}

void Leaser::SendRenewal(uint64_t left) {
  Endpoint& endpoint = scene_->Any();
  if (endpoint.connection() == nullptr) return Renew(left - 1);
  const size_t at = lease().renewals.size();
  lease().renewals.push_back({.invoked = scene_->now()});
  const uint64_t attempt = ++renewal_;
  stream_ = endpoint.connection()->OpenStream(
      "/etcdserverpb.Lease/LeaseKeepAlive",
      {.on_message =
           [this, at, left, attempt](std::string_view message) {
             if (scene_->over() || attempt != renewal_) return;
             etcdserverpb::LeaseKeepAliveResponse response;
             if (!response.ParseFromArray(message.data(), static_cast<int>(message.size()))) std::abort();
             lease().renewals[at].returned = scene_->now();
             lease().renewals[at].ttl_seconds = response.ttl();
             EndRenewal(attempt, left);
           },
       .on_end = [this, left, attempt](const absl::Status&) { EndRenewal(attempt, left); }});
  etcdserverpb::LeaseKeepAliveRequest request;
  request.set_id(lease().id);
  stream_->Send(request.SerializeAsString());
  scene_->After(kPatience, [this, left, attempt] { EndRenewal(attempt, left); });
}

void Leaser::EndRenewal(uint64_t attempt, uint64_t left) {
  if (scene_->over() || attempt != renewal_) return;
  ++renewal_;
  // Not inside its own callback.
  scene_->loop().Post([stream = std::move(stream_)] {});
  Renew(left - 1);
}

void Leaser::Revoke() {
  etcdserverpb::LeaseRevokeRequest request;
  request.set_id(lease().id);
  const Instant invoked = scene_->now();
  const bool sent = scene_->Any().Call<etcdserverpb::LeaseRevokeResponse>(
      "/etcdserverpb.Lease/LeaseRevoke", request, kPatience,
      [this](const absl::StatusOr<etcdserverpb::LeaseRevokeResponse>& response) {
        if (response.ok()) {
          lease().revoked = scene_->now();
          lease().revoked_revision = response->header().revision();
        }
        Again();
      });
  if (!sent) return Again();
  lease().revoke_invoked = invoked;
}

}  // namespace kvorum::robustness
