#include "sim/leaser.h"

#include <memory>
#include <utility>

#include "fmt/format.h"

namespace kvorum::sim {

namespace {

constexpr Instant kMillisecond = 1'000'000;
constexpr Instant kPatience = 2'000 * kMillisecond;
constexpr Instant kMinWay = 20'000;
constexpr Instant kMaxWay = 500'000;

template <typename Request>
void Propose(member::Member& member, member::RequestKind kind, const Request& request,
             member::ApplyDone done) {
  const member::RequestId id = member.NextRequestId();
  member.Propose(id, member::BuildEntry(kind, request.SerializeAsString(), id, {}), MonotonicTime::max(),
                 std::move(done));
}

}  // namespace

Leaser::Leaser(uint64_t id, Scheduler* scheduler, Client::Nodes nodes, History* history)
    : id_(id), scheduler_(scheduler), nodes_(std::move(nodes)), history_(history) {}

void Leaser::Start() {
  scheduler_->After(scheduler_->Between(0, 3'000 * kMillisecond), [this] { Grant(); });
}

void Leaser::Again() {
  scheduler_->After(scheduler_->Between(0, 4'000 * kMillisecond), [this] { Grant(); });
}

void Leaser::Call(
    absl::AnyInvocable<void(member::Member&, absl::AnyInvocable<void(absl::AnyInvocable<void()>)>)> ask,
    Then then) {
  const std::vector<Node*>& nodes = nodes_();
  Node* node = nodes[scheduler_->chance().Below(nodes.size())];
  const uint64_t call = ++call_;
  auto waiting = std::make_shared<Then>(std::move(then));
  const auto finish = [this, call, waiting](bool answered) {
    if (call != call_ || !*waiting) return;
    Then told = std::exchange(*waiting, nullptr);
    told(answered);
  };
  scheduler_->After(kPatience, [finish] { finish(false); });
  scheduler_->After(
      scheduler_->Between(kMinWay, kMaxWay),
      [this, node, call, waiting, finish, start = node->starts(), ask = std::move(ask)]() mutable {
        if (!node->ready() || node->starts() != start) return;
        ask(*node->member(), [this, node, start, call, waiting, finish](absl::AnyInvocable<void()> take) {
          scheduler_->After(scheduler_->Between(kMinWay, kMaxWay),
                            [this, node, start, call, waiting, finish, take = std::move(take)]() mutable {
                              if (call != call_ || !*waiting || !node->up() || node->starts() != start)
                                return;
                              take();
                              finish(true);
                            });
        });
      });
}

void Leaser::Grant() {
  if (stopped_) return;
  revoked_ = false;
  at_ = history_->leases.size();
  history_->leases.emplace_back();
  lease().id = static_cast<int64_t>(id_ << 32 | ++leases_);
  lease().ttl_seconds = 2 + static_cast<int64_t>(scheduler_->chance().Below(8));
  lease().granted_invoked = scheduler_->now();
  etcdserverpb::LeaseGrantRequest request;
  request.set_id(lease().id);
  request.set_ttl(lease().ttl_seconds);
  Call(
      [this, request](member::Member& member, auto answer) mutable {
        Propose(member, member::RequestKind::kLeaseGrant, request,
                [this, answer = std::move(answer)](member::ApplyResult result) mutable {
                  if (!result.status.ok()) return;
                  answer([this, body = std::move(result.body)] {
                    etcdserverpb::LeaseGrantResponse response;
                    if (response.ParseFromString(body)) lease().ttl_seconds = response.ttl();
                    lease().granted = scheduler_->now();
                  });
                });
      },
      [this](bool answered) {
        if (!answered) return Again();
        Put(1 + scheduler_->chance().Below(3));
      });
}

void Leaser::Put(uint64_t left) {
  if (left == 0) return revoked_ ? Again() : Renew(scheduler_->chance().Below(8));
  etcdserverpb::PutRequest request;
  request.set_key(fmt::format("l{}.{}", id_, scheduler_->chance().Below(4)));
  request.set_value(fmt::format("{}.{}", id_, ++values_));
  request.set_lease(lease().id);
  const size_t at = history_->operations.size();
  Operation& operation = history_->operations.emplace_back();
  operation.client = id_;
  operation.invoked = scheduler_->now();
  operation.request = request;
  Call(
      [this, at, request](member::Member& member, auto answer) mutable {
        history_->operations[at].member = member.id();
        Ask(member, request,
            [this, at, answer = std::move(answer)](absl::StatusOr<Operation::Response> got) mutable {
              if (!got.ok() && got.status().message() != "lease not found") return;
              answer([this, at, got = std::move(got)] {
                Operation& done = history_->operations[at];
                done.returned = scheduler_->now();
                done.outcome = got.ok() ? Operation::Outcome::kAnswered : Operation::Outcome::kRefused;
                if (got.ok()) done.response = *got;
                if (!got.ok()) done.error = std::string(got.status().message());
              });
            });
      },
      [this, left](bool) { Put(left - 1); });
}

void Leaser::Renew(uint64_t left) {
  if (stopped_) return;
  if (left == 0) {
    if (revoked_) return Again();
    if (scheduler_->chance().OneIn(1, 2)) return Revoke();
    // Forgotten: it ends by its time. The next one comes when it may be over, or before.
    return Again();
  }
  const Instant pause = lease().ttl_seconds * 1'000 * kMillisecond / 3;
  scheduler_->After(scheduler_->Between(pause / 10, pause), [this, left] {
    const size_t at = lease().renewals.size();
    lease().renewals.push_back({.invoked = scheduler_->now()});
    Call(
        [this, at, id = LeaseId(lease().id)](member::Member& member, auto answer) {
          member.RenewLease(id, [this, at, answer = std::move(answer)](absl::StatusOr<int64_t> ttl) mutable {
            if (!ttl.ok() && ttl.status().message() != "lease not found") return;
            answer([this, at, ttl = ttl.value_or(0)] {
              lease().renewals[at].returned = scheduler_->now();
              lease().renewals[at].ttl_seconds = ttl;
            });
          });
        },
        [this, left](bool) { Renew(left - 1); });
  });
}

void Leaser::Revoke() {
  etcdserverpb::LeaseRevokeRequest request;
  request.set_id(lease().id);
  lease().revoke_invoked = scheduler_->now();
  Call(
      [this, request](member::Member& member, auto answer) mutable {
        Propose(member, member::RequestKind::kLeaseRevoke, request,
                [this, answer = std::move(answer)](member::ApplyResult result) mutable {
                  if (!result.status.ok()) return;
                  answer([this, revision = result.revision] {
                    lease().revoked = scheduler_->now();
                    lease().revoked_revision = revision;
                  });
                });
      },
      [this](bool answered) {
        revoked_ = answered;
        if (!answered || scheduler_->chance().OneIn(1, 3)) return Again();
        UseRevoked();
      });
}

void Leaser::UseRevoked() {
  scheduler_->After(scheduler_->Between(0, 8'000 * kMillisecond), [this] {
    if (stopped_) return;
    if (scheduler_->chance().OneIn(1, 2)) return Put(1);
    Renew(1);
  });
}

}  // namespace kvorum::sim
