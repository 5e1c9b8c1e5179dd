#pragma once

#include <string>

#include "sim/client.h"
#include "sim/history.h"
#include "sim/node.h"

namespace kvorum::sim {

/// A client that lives with leases: asks for one, puts a few keys under it, renews it for a while, then
/// revokes it or forgets it; and so on.
class Leaser {
 public:
  Leaser(uint64_t id, Scheduler* scheduler, Client::Nodes nodes, History* history);

  void Start();
  /// No further lease is begun, and none is renewed.
  void Stop() { stopped_ = true; }

 private:
  using Then = absl::AnyInvocable<void(bool answered)>;

  void Grant();
  void Put(uint64_t left);
  void Renew(uint64_t left);
  void Revoke();
  /// The lease that was revoked, by somebody who does not know it.
  void UseRevoked();
  void Again();
  /// Does `ask` with some member that is up, over the wire; `then` runs once, when it was answered or nobody
  /// waits any more. `answer`, made by the member, runs before it, where it comes in time.
  void Call(
      absl::AnyInvocable<void(member::Member&, absl::AnyInvocable<void(absl::AnyInvocable<void()>)>)> ask,
      Then then);
  LeaseHistory& lease() { return history_->leases[at_]; }

  const uint64_t id_;
  Scheduler* const scheduler_;
  const Client::Nodes nodes_;
  History* const history_;
  bool stopped_ = false;
  bool revoked_ = false;  // the lease is over by a revocation that was answered
  uint64_t leases_ = 0;
  uint64_t values_ = 0;
  uint64_t call_ = 0;  // the one that is waited for
  size_t at_ = 0;      // of history_->leases
};

}  // namespace kvorum::sim
