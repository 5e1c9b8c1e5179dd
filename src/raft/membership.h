#pragma once

#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "raft/progress.h"
#include "raft/quorum.h"
#include "raft/types.h"

namespace kvorum::raft {

/// Who belongs to the group, and what a leader knows of each one's log.
///
/// Invariant: every voter and learner has a progress.
/// Invariant: a learner votes in neither half, and its progress says that it is a learner.
/// Invariant: `learners_next` vote in the outgoing half and are no learners yet.
/// Invariant: outside a joint configuration `learners_next` is empty and `auto_leave` false.
struct Membership {
  JointConfig voters;
  /// The group leaves the joint configuration by itself once it is entered.
  bool auto_leave = false;
  IdSet learners;
  /// Voters that become learners when the joint configuration is left: until then they would both vote in
  /// the outgoing half and be learners.
  IdSet learners_next;
  ProgressMap progress;

  /// The error names the first invariant that does not hold.
  absl::Status Check() const;

  ConfState ToConfState() const;
  /// "voters=(1 2)&&(1) learners=(3) learners_next=(1) autoleave", without the progress.
  std::string ConfigToString() const;
};

/// Makes the memberships that follow from a given one. Pure: nothing changes but through its results.
/// Source: reference raft.md §6.3; thesis chapter 4.
class MembershipChanger {
 public:
  /// `last_index` is where replication to new members starts; `window` is what their inflights are copied
  /// from. `membership` is borrowed.
  MembershipChanger(const Membership& membership, Index last_index, const Inflights& window)
      : membership_(membership), last_index_(last_index), window_(window) {}

  /// The changes at once, without a joint configuration; refused where more than one voter comes or goes.
  absl::StatusOr<Membership> Simple(std::span<const ConfChangeSingle> changes) const;
  /// Into a joint configuration of the voters before and after the changes.
  absl::StatusOr<Membership> EnterJoint(bool auto_leave, std::span<const ConfChangeSingle> changes) const;
  absl::StatusOr<Membership> LeaveJoint() const;

 private:
  absl::Status Apply(std::span<const ConfChangeSingle> changes, Membership& to) const;
  void MakeVoter(NodeId id, Membership& to) const;
  void MakeLearner(NodeId id, Membership& to) const;
  void Remove(NodeId id, Membership& to) const;
  void AddProgress(NodeId id, bool is_learner, Membership& to) const;

  const Membership& membership_;
  const Index last_index_;
  const Inflights& window_;
};

/// The membership that `state` describes, with fresh progress. Error: `state` is none that changes lead to.
absl::StatusOr<Membership> RestoreMembership(const ConfState& state, Index last_index,
                                             const Inflights& window);

/// Equal up to the order of the lists.
bool Equivalent(ConfState a, ConfState b);

// ---- conf changes ----

ConfChangeV2 ToV2(const ConfChange& change);
/// The change asks for nothing but to leave the joint configuration.
bool LeavesJoint(const ConfChangeV2& change);
/// The change goes through a joint configuration.
bool EntersJoint(const ConfChangeV2& change);
/// Of one that enters: the group is to leave the joint configuration by itself.
bool AutoLeaves(const ConfChangeV2& change);

/// "transition:ConfChangeTransitionAuto changes:{type:ConfChangeAddNode node_id:3}", as logs show it.
std::string ToString(const ConfChangeV2& change);
/// "type:ConfChangeAddNode node_id:3".
std::string ToString(const ConfChange& change);
/// "voters:1 voters:2 auto_leave:false".
std::string ToString(const ConfState& state);

}  // namespace kvorum::raft
