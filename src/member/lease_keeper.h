#pragma once

#include "lease/lessor.h"
#include "member/metrics.h"
#include "member/ports.h"
#include "member/proposer.h"

namespace kvorum::member {

/// On the leader: has leases that ended revoked, and those that run long checkpointed, through the log
/// (reference: apply.md §6). Revocations go in windows: the next one is proposed when the one before was
/// applied, so that many leases which end at once neither flood the log nor wait for a clock. Lives on the
/// apply executor; not thread-safe.
class LeaseKeeper {
 public:
  LeaseKeeper(lease::Lessor* lessor, const cluster::Cluster* cluster, Proposer* proposer, Metrics* metrics,
              const Ports& ports)
      : lessor_(lessor), cluster_(cluster), proposer_(proposer), metrics_(metrics), ports_(ports) {}

  void Start();
  void Stop();

 private:
  void OnTick();
  void RevokeExpired();
  void OnRevoked();
  void CheckpointDue();

  lease::Lessor* const lessor_;
  const cluster::Cluster* const cluster_;
  Proposer* const proposer_;
  Metrics* const metrics_;
  const Ports ports_;
  bool stopped_ = false;
  Executor::TimerId timer_ = 0;
  size_t revoking_ = 0;  // revocations that were proposed and not answered
  bool more_expired_ = false;
};

}  // namespace kvorum::member
