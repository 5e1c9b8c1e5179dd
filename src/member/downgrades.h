#pragma once

#include <string>

#include "cluster/version.h"
#include "member/member.h"

namespace kvorum::member {

/// Downgrades of the cluster that clients ask for (reference: v3-api.md §6.11). Thread-safe.
class Downgrades {
 public:
  using Action = Member::DowngradeAction;
  using Done = absl::AnyInvocable<void(absl::StatusOr<std::string>)>;
  Downgrades(Member* member, const Ports& ports) : member_(*member), ports_(ports) {}

  /// See Member::ChangeDowngrade.
  void Change(Action action, std::string target_version, MonotonicTime deadline, Done done);

 private:
  void Refuse(absl::Status status, Done done);
  void Validate(const cluster::Version& target, MonotonicTime deadline,
                absl::AnyInvocable<void(absl::Status)> done);
  absl::Status Check(const cluster::Version& target) const;
  void Enable(const cluster::Version& target, MonotonicTime deadline, Done done);
  void Cancel(MonotonicTime deadline, Done done);
  void Propose(std::string_view request, MonotonicTime deadline, ApplyDone done);
  /// `then` after a linearizable read.
  void AfterRead(MonotonicTime deadline, absl::AnyInvocable<void(absl::Status)> then);

  Member& member_;
  const Ports ports_;
};

}  // namespace kvorum::member
