#pragma once

#include <optional>
#include <string>

#include "cluster/cluster.h"
#include "cluster/version.h"
#include "member/member_versions.h"
#include "member/proposer.h"
#include "member/shared_state.h"

namespace kvorum::member {

/// On the leader: keeps the cluster's version at that of its oldest member, never lower than it was but for a
/// downgrade, which it also brings to its end (reference: apply.md §8). Lives on the apply executor; not
/// thread-safe.
class VersionKeeper {
 public:
  VersionKeeper(const cluster::Cluster* cluster, Proposer* proposer, const SharedState* state,
                const MemberOptions& options, const Ports& ports)
      : cluster_(cluster), proposer_(proposer), state_(state), options_(options), ports_(ports) {}

  void Start();
  void Stop();
  /// This member leads, and everything from before its term was applied.
  void OnLeading();

 private:
  void ArmVersions(std::chrono::nanoseconds delay);
  void ArmDowngrade();
  void CheckVersion();
  void Decide(const MemberVersions& versions);
  void DecideFirst(const MemberVersions& versions);
  std::optional<cluster::Version> Next(const cluster::Version& current, const cluster::Version& oldest) const;
  void Propose(const cluster::Version& version, MembershipForm form);
  void CheckDowngrade();
  void EndDowngrade(const MemberVersions& versions);

  const cluster::Cluster* const cluster_;
  Proposer* const proposer_;
  const SharedState* const state_;
  const MemberOptions options_;
  const Ports ports_;
  bool stopped_ = false;
  bool checking_ = false;        // the members are being asked, or a version is proposed
  MonotonicTime leading_since_;  // this term's leadership
  Executor::TimerId version_timer_ = 0;
  Executor::TimerId downgrade_timer_ = 0;
};

}  // namespace kvorum::member
