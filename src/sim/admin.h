#pragma once

#include <deque>
#include <map>
#include <string>
#include <vector>

#include "sim/stage.h"

namespace kvorum::sim {

/// Whoever looks after the cluster, as the operators' documents say: one change of the membership at a time,
/// each asked for until it is to be seen; machines for members that have none; machines whose disk is gone
/// taken away and replaced by new members. It reads from the member that has applied most, and believes what
/// it reads there and no answer.
class Admin {
 public:
  explicit Admin(Stage* stage) : stage_(*stage), scheduler_(stage->scheduler()) {}

  void Begin();
  /// Wants a change of the membership, which one chance says; but for while another is under way.
  void Wish();
  /// Asks the leader to give way to another voter.
  void MoveLeader();
  /// Ends what is under way, and wants nothing more.
  void Finish() { finishing_ = true; }

  /// Members and machines are the same, no change is under way, and no disk is gone.
  bool settled() const { return settled_; }
  /// Whether the cluster has to bear it that this machine's disk is gone: no change is under way, and most
  /// voters still have theirs.
  bool MayBreak(const Node& node) const;

 private:
  struct Order {
    enum class Kind : uint8_t { kAdd, kAddLearner, kPromote, kRemove, kUpdate };
    Kind kind;
    MemberId id;      // not of kAdd and kAddLearner
    std::string url;  // not of kPromote and kRemove
    Instant latest = kNever;
    bool replace = false;  // kRemove: a new machine is to come
  };

  void Tick();
  void Look();
  void Reconcile();
  void PromoteOthers();
  void TakeAwayRemoved();
  void Adopt(const cluster::Member& member);
  void Replace(Node& node);
  void Follow(Node& node, const cluster::Member& member);
  /// Whether the order is carried out, or given up.
  bool IsOver(Order& order);
  Node* Leader();
  Node* AskedFor(const Order& order);
  void Send(const Order& order);
  const cluster::Member* Find(MemberId id) const;
  const cluster::Member* FindUrl(const std::string& url) const;
  Node* MachineOf(MemberId id) const;
  std::string NewUrl();
  size_t voters() const;
  bool KnowsVoters(Node& node) const;

  Stage& stage_;
  Scheduler& scheduler_;
  uint64_t seen_ = 0;     // the index that `members_` is of
  uint64_t changed_ = 0;  // an index by which whoever applied it has the voters of `members_`
  std::vector<cluster::Member> members_;
  std::deque<Order> orders_;
  std::map<MemberId, Instant> leave_at_;  // removed, and still there until then
  uint64_t call_ = 0;                     // the one that is waited for
  bool waiting_ = false;
  uint64_t urls_ = 0;
  bool finishing_ = false;
  bool settled_ = false;
};

}  // namespace kvorum::sim
