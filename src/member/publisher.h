#pragma once

#include "cluster/cluster.h"
#include "member/member.h"
#include "member/member_versions.h"
#include "member/proposer.h"

namespace kvorum::member {

/// Tells the cluster this member's name and client URLs through the log, again until it succeeds (reference:
/// apply.md §2.3). Lives on the apply executor; not thread-safe.
class Publisher {
 public:
  Publisher(const cluster::Cluster* cluster, Proposer* proposer, const MemberOptions& options,
            const Ports& ports)
      : cluster_(cluster), proposer_(proposer), options_(options), ports_(ports) {}

  /// `published` once the log has it.
  void Start(absl::AnyInvocable<void()> published);
  void Stop() { stopped_ = true; }

 private:
  void TryAgainAfter(std::chrono::nanoseconds delay);
  void Try();
  void ChooseForm(const MemberVersions& versions);
  void Propose(MembershipForm form);
  void OnProposed(const absl::Status& status);

  const cluster::Cluster* const cluster_;
  Proposer* const proposer_;
  const MemberOptions options_;
  const Ports ports_;
  absl::AnyInvocable<void()> published_;
  MonotonicTime guess_at_;  // from when on what is known of the others has to do
  bool stopped_ = false;
};

}  // namespace kvorum::member
