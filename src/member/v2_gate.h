#pragma once

#include <map>
#include <optional>

#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "cluster/cluster.h"
#include "member/ports.h"

namespace kvorum::member {

/// Keeps requests of the v2 API out of the log while a member of the cluster could not apply them: etcd from
/// 3.6 on dies of one. Such a member is one that says so itself when it is asked, or one that has started and
/// said in no way that it is of Kvorum, while the cluster's version says that everybody is of 3.6 or later.
/// Who was added and has not started yet holds nothing up (docs/limits.md).
///
/// Check is thread-safe; the rest lives on the apply executor.
class V2Gate {
 public:
  V2Gate(const cluster::Cluster* cluster, const Ports& ports) : cluster_(*cluster), ports_(ports) {}

  void Start() { Ask(); }
  void Stop();
  /// FailedPrecondition, which names the member, where a request may not be proposed.
  absl::Status Check() const;
  /// Whether the member may be shown keys of the v2 API; it is asked where its kind is not known, and may
  /// where it does not answer. `done` runs on the apply executor, perhaps inside the call, or never after
  /// Stop.
  void MayHaveKeys(MemberId id, absl::AnyInvocable<void(bool)> done);

 private:
  /// What a member answered, and whether its attributes in the log said by then that it is of Kvorum: where
  /// they say something else now, it was started anew.
  struct Said {
    PeerVersions versions;
    bool published_kvorum = false;
  };
  enum class Kind : uint8_t { kUnknown, kApplies, kDiesOfIt };

  void Ask();
  void OnAnswers(std::map<MemberId, absl::StatusOr<PeerVersions>> answers);
  Kind KindOf(const cluster::Member& member) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Judge() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const cluster::Cluster& cluster_;
  const Ports ports_;
  bool stopped_ = false;
  Executor::TimerId timer_ = 0;

  mutable absl::Mutex mutex_;
  std::map<MemberId, Said> said_ ABSL_GUARDED_BY(mutex_);
  // The judgement holds until the membership or an answer changes.
  mutable std::optional<uint64_t> judged_at_ ABSL_GUARDED_BY(mutex_);
  mutable absl::Status judgement_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace kvorum::member
