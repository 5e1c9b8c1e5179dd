#include "member/lease_keeper.h"

#include <string>
#include <vector>

#include "base/wire.h"
#include "cluster/version.h"

namespace kvorum::member {
namespace {

constexpr std::chrono::milliseconds kScanInterval(500);
constexpr size_t kRevokeWindow = 500;
constexpr size_t kMaxCheckpoints = 1000;

}  // namespace

void LeaseKeeper::Start() {
  timer_ = ports_.apply_executor->PostAfter(kScanInterval, [this] { OnTick(); });
}

void LeaseKeeper::Stop() {
  stopped_ = true;
  ports_.apply_executor->CancelTimer(timer_);
}

void LeaseKeeper::OnTick() {
  if (stopped_) return;
  Start();
  if (!lessor_->primary()) return;
  RevokeExpired();
  CheckpointDue();
}

void LeaseKeeper::RevokeExpired() {
  if (revoking_ != 0) return;
  const std::vector<LeaseId> expired = lessor_->TakeExpired(kRevokeWindow);
  more_expired_ = expired.size() == kRevokeWindow;
  revoking_ = expired.size();
  metrics_->leases_expired.Add(expired.size());
  for (LeaseId id : expired) {
    std::string request;
    wire::AppendUint(request, 1, static_cast<uint64_t>(id.value()));
    // One that was deposed without knowing may count a lease out that its successor has renewed.
    proposer_->ProposeAsLeader(RequestKind::kLeaseRevoke, request, [this](ApplyResult) { OnRevoked(); });
  }
}

void LeaseKeeper::OnRevoked() {
  // A revocation that failed is given out again by the lessor after a while.
  if (--revoking_ == 0 && more_expired_ && !stopped_ && lessor_->primary()) RevokeExpired();
}

void LeaseKeeper::CheckpointDue() {
  // Releases before 3.4 do not know such an entry.
  const std::optional<cluster::Version> version = cluster::ParseVersion(cluster_->version());
  if (!version || *version < cluster::Version{.major = 3, .minor = 4}) return;
  const std::vector<lease::Lessor::CheckpointItem> due = lessor_->TakeDueCheckpoints(kMaxCheckpoints);
  if (due.empty()) return;
  std::string request;
  for (const lease::Lessor::CheckpointItem& item : due) {
    std::string checkpoint;
    wire::AppendUint(checkpoint, 1, static_cast<uint64_t>(item.id.value()));
    if (item.remaining_ttl_seconds != 0) {
      wire::AppendUint(checkpoint, 2, static_cast<uint64_t>(item.remaining_ttl_seconds));
    }
    wire::AppendBytes(request, 1, checkpoint);
  }
  proposer_->ProposeAsLeader(RequestKind::kLeaseCheckpoint, request, [](ApplyResult) {});
}

}  // namespace kvorum::member
