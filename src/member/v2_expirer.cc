#include "member/v2_expirer.h"

#include <utility>

namespace kvorum::member {
namespace {

constexpr std::chrono::milliseconds kInterval(500);

}  // namespace

void V2Expirer::Stop() {
  stopped_ = true;
  ports_.apply_executor->CancelTimer(timer_);
}

void V2Expirer::Arm() {
  if (stopped_) return;
  timer_ = ports_.apply_executor->PostAfter(kInterval, [this] {
    Arm();
    ProposeSync();
  });
}

void V2Expirer::ProposeSync() {
  if (!state_.is_leader() || !store_.HasTtls() || !gate_.Check().ok()) return;
  const auto now = ports_.clock->WallNow().time_since_epoch();
  v2store::Request sync{.method = "SYNC"};
  sync.time = std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
  proposer_.ProposeOwnV2(std::move(sync));
}

}  // namespace kvorum::member
