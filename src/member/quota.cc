#include "member/quota.h"

#include <algorithm>
#include <utility>

namespace kvorum::member {

Quota::Quota(int64_t limit_bytes, MemberId local, backend::Backend* backend, const AlarmStore* alarms,
             std::function<void()> raise)
    : limit_bytes_(Effective(limit_bytes)),
      local_(local),
      backend_(backend),
      alarms_(alarms),
      raise_(std::move(raise)) {}

bool Quota::Fits(int64_t cost_bytes) {
  if (limit_bytes_ < 0 || cost_bytes == 0) return true;
  if (backend_->sizes().total_bytes + cost_bytes < limit_bytes_) return true;
  if (raising_.exchange(true, std::memory_order_acq_rel)) return false;
  const std::vector<Alarm> raised = alarms_->List(AlarmType::kNoSpace);
  const Alarm own{.member = local_, .type = AlarmType::kNoSpace};
  if (std::find(raised.begin(), raised.end(), own) != raised.end()) {
    RaiseEnded();
  } else {
    raise_();
  }
  return false;
}

}  // namespace kvorum::member
