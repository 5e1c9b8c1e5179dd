#pragma once

#include <vector>

#include "member/ask_others.h"
#include "member/member.h"
#include "member/proposer.h"

namespace kvorum::member {

/// Compares hashes of the store with the other members', and raises the CORRUPT alarm for those that differ
/// (reference: peer-protocol.md §6.3, backend-schema.md §7). Lives on the apply executor; not thread-safe.
class CorruptionChecker {
 public:
  CorruptionChecker(Member* member, Proposer* proposer, const MemberOptions& options, const Ports& ports)
      : member_(*member), proposer_(proposer), options_(options), ports_(ports) {}

  /// The checks on the leader, as often as the options say.
  void Start();
  void Stop();

  /// Before a member with data begins. Error: DataLoss where another one has other data at the same revision.
  void CheckInitially(absl::AnyInvocable<void(absl::Status)> done);

 private:
  using Hash = mvcc::HashResult;
  using HashDone = absl::AnyInvocable<void(absl::StatusOr<Hash>)>;

  /// One periodic check.
  struct Periodic {
    Hash before;
    Answers<Hash> peers;
    Hash after;
  };

  void ArmPeriodic();
  void ArmCompaction();
  MonotonicTime Deadline() const { return ports_.clock->Now() + options_.request_timeout(); }
  /// The store's hash as of now, on the apply executor.
  void HashHere(HashDone done);
  void HashThere(int64_t revision, absl::AnyInvocable<void(Answers<Hash>)> done);
  absl::Status CompareInitially(const Hash& here, const Answers<Hash>& peers) const;
  void LogInitialDifference(std::string_view message, const Hash& here, MemberId id, const Hash& there) const;

  void CheckPeriodically();
  void ConfirmPeriodic(Periodic check);
  void JudgePeriodic(const Periodic& check);
  /// Whether the member's answer contradicts this leader's data.
  bool Contradicts(const Periodic& check, MemberId id, const Hash& peer) const;
  void FailPeriodic(const absl::Status& status);

  void CheckCompactions();
  void CheckCompaction(std::vector<Hash> hashes, size_t next);
  /// Whether no older compaction needs to be looked at.
  bool JudgeCompaction(const Hash& here, const Answers<Hash>& peers);
  void LogCompactionDifference(const Hash& here, const std::vector<MemberId>& members, uint32_t hash,
                               bool quorum) const;
  void EndCompactions(size_t checked);

  /// `member` 0: it is not known whose data are wrong.
  void RaiseAlarm(MemberId member);

  Member& member_;
  Proposer* const proposer_;
  const MemberOptions options_;
  const Ports ports_;
  bool stopped_ = false;
  bool periodic_running_ = false;
  bool compaction_running_ = false;
  int64_t last_checked_ = 0;  // the newest compaction that all members agree on
  Executor::TimerId periodic_timer_ = 0;
  Executor::TimerId compaction_timer_ = 0;
};

}  // namespace kvorum::member
