#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/clock.h"
#include "member/request.h"

namespace kvorum::member {

/// Somebody who waits for what becomes of a proposal.
struct Waiter {
  RequestId id;
  MonotonicTime start;
  MonotonicTime deadline;
  size_t bytes = 0;  ///< of the entry
  /// Proposed only while this member leads; where it does not, its time is over at once.
  bool as_leader = false;
  ApplyDone done;
};

/// Who waits for which proposal, by request id. Owned by the applier; not thread-safe.
class WaiterTable {
 public:
  void Add(Waiter waiter) { waiters_.insert_or_assign(waiter.id.value(), std::move(waiter)); }

  /// Takes the one that waits for `id`; its `done` is null where nobody does.
  Waiter Take(RequestId id) {
    const auto it = waiters_.find(id.value());
    if (it == waiters_.end()) return {};
    Waiter waiter = std::move(it->second);
    waiters_.erase(it);
    return waiter;
  }

  /// Takes those whose time is over by `now`, by id.
  std::vector<Waiter> TakeOverdue(MonotonicTime now) {
    std::vector<Waiter> out;
    for (auto it = waiters_.begin(); it != waiters_.end();) {
      if (it->second.deadline > now) {
        ++it;
        continue;
      }
      out.push_back(std::move(it->second));
      waiters_.erase(it++);
    }
    // The table's own order is not the same from run to run.
    std::sort(out.begin(), out.end(), [](const Waiter& a, const Waiter& b) { return a.id < b.id; });
    return out;
  }
  std::vector<Waiter> TakeAll() { return TakeOverdue(MonotonicTime::max()); }

  bool empty() const { return waiters_.empty(); }
  size_t size() const { return waiters_.size(); }

 private:
  absl::flat_hash_map<uint64_t, Waiter> waiters_;
};

}  // namespace kvorum::member
