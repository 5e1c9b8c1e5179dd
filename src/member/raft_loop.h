#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "member/member.h"
#include "member/metrics.h"
#include "member/ports.h"
#include "member/read_rounds.h"
#include "member/shared_state.h"
#include "member/waiters.h"
#include "raft/raw_node.h"
#include "raft/storage.h"

namespace kvorum::member {

/// A point at which the log in memory may be cut: what a raft snapshot at `index` says.
struct SnapshotPoint {
  raft::Index index;
  raft::Term term;
  raft::ConfState conf_state;
  Bytes data;
};

/// Owns the consensus core and the log in memory, on the raft executor. Everything that comes from outside is
/// put into one inbox, with one post for a burst; each turn drains it, steps the core once for all of it, and
/// hands the result out in parallel: entries to the log, messages to the peers, committed entries to the
/// applier. Nothing here waits for a disk.
///
/// Public methods are thread-safe unless they say otherwise. Borrows everything; see Member for the order in
/// which to stop.
class RaftLoop {
 public:
  /// Takes committed entries, in order, and those who wait for them; `applied` has to be called, on any
  /// thread, when their effects are visible. Called on the raft executor; must not block.
  class Applier {
   public:
    virtual ~Applier() = default;
    virtual void Apply(std::vector<raft::Entry> entries, std::vector<Waiter> waiters,
                       absl::AnyInvocable<void()> applied) = 0;
    /// This member stopped leading. Called on the raft executor.
    virtual void OnLeadershipLost() = 0;
  };

  struct Setup {
    MemberId id;
    std::unique_ptr<raft::MemoryStorage> log;
    /// Who votes as of `applied`, and what was applied by then; the log's snapshot says it where nothing was.
    std::optional<raft::ConfState> conf_state;
    raft::Index applied;
    std::vector<cluster::Member> bootstrap_members;
  };
  static absl::StatusOr<std::unique_ptr<RaftLoop>> Create(Setup setup, const MemberOptions& options,
                                                          const Ports& ports, SharedState* state,
                                                          Metrics* metrics, Applier* applier);
  ~RaftLoop();

  void Start();
  /// Nothing is proposed, sent or timed any more; reads that wait fail; `done` runs on the raft executor.
  void Stop(absl::AnyInvocable<void()> done);

  void Propose(Bytes entry, Waiter waiter);
  void Receive(raft::Message message);
  /// `done` when this member has applied everything that was committed anywhere before the call.
  void Read(MonotonicTime deadline, absl::AnyInvocable<void(absl::Status)> done);
  /// `done` when this member has applied what it knows to be committed now.
  void WaitApplied(MonotonicTime deadline, absl::AnyInvocable<void(absl::Status)> done);

  /// The core takes a conf change that the applier has accepted (or refused: node id 0). Takes effect before
  /// the `applied` of the entries it came with.
  void ApplyConfChange(raft::ConfChange change);
  /// Everything up to the point is in the database, durable or not: the log in memory may be cut, keeping the
  /// catch-up entries.
  void CutMemory(SnapshotPoint point);
  /// Everything up to the point is in the database durably: writes a snapshot file, notes it in the log, and
  /// gives up what lies before. `done` runs on the raft executor, with success only.
  void SaveSnapshot(SnapshotPoint point, absl::AnyInvocable<void()> done);

  /// Something that must not fail did: nothing is acknowledged any more.
  void Fail(const absl::Status& status);

 private:
  /// The core's view of the log: as `log`, but the configuration of a restart is the applied one.
  class CoreStorage;
  class CoreLogger;

  struct Proposal {
    Bytes entry;
    MonotonicTime deadline;
  };
  struct Appended {
    std::vector<raft::Entry> entries;
    std::vector<raft::Message> responses;
  };
  struct Inbox {
    std::vector<std::pair<Bytes, Waiter>> proposals;
    std::vector<raft::Message> messages;
    std::vector<Appended> appended;
    std::vector<std::vector<raft::Message>> applied;  // responses
    std::vector<PendingRead> reads;
    std::vector<Executor::Task> calls;        // run first
    std::vector<Executor::Task> after_apply;  // run when the core has learnt what was applied
  };

  RaftLoop(MemberId id, const MemberOptions& options, const Ports& ports, SharedState* state,
           Metrics* metrics, Applier* applier);
  absl::Status CreateCore(const Setup& setup);

  /// Puts something into the inbox; false once stopped.
  template <typename Put>
  bool Post(Put put);
  void PostTurn() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void PostApplied(std::vector<raft::Message> responses);
  void AskForApplied();

  // On the raft executor.
  void Turn();
  void Take(Inbox& inbox);
  void ProposeWaiting();
  void CampaignIfAlone();
  void HandleReady(raft::Ready ready);
  void Append(raft::Message message);
  void HandCommitted(raft::Message message);
  void OnSoftState(const raft::SoftState& now);
  void ShowState();
  void OnTick();
  void FlushHardState();
  void Step(raft::Message message);
  bool AloneInCharge() const;
  bool HasFollowers() const;
  void LogLeader(raft::NodeId before, raft::NodeId now) const;
  void CutMemoryNow(const SnapshotPoint& point);
  void CompactLog(raft::Index applied);
  void WriteSnapshotRecord(raft::SnapshotMetadata metadata, absl::AnyInvocable<void()> done);

  // Constant after construction.
  const MemberId id_;
  const MemberOptions options_;
  const Ports ports_;
  SharedState* const state_;
  Metrics* const metrics_;
  Applier* const applier_;

  absl::Mutex mutex_;
  Inbox inbox_ ABSL_GUARDED_BY(mutex_);
  bool turn_posted_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  /// Somebody waits for what the applier reports; else it lies in the inbox until the next turn, which spares
  /// a wake-up for each batch.
  bool applied_wanted_ ABSL_GUARDED_BY(mutex_) = true;

  // Owned by the raft executor.
  std::unique_ptr<raft::MemoryStorage> log_;
  std::unique_ptr<CoreLogger> core_logger_;
  std::unique_ptr<CoreStorage> core_storage_;
  std::unique_ptr<raft::RawNode> node_;
  raft::SoftState soft_state_;
  raft::ConfState conf_state_;
  ReadRounds reads_;
  std::deque<Proposal> proposals_;       // not yet taken by the core
  std::vector<Waiter> new_waiters_;      // not yet handed to the applier
  std::vector<raft::Message> outgoing_;  // of this turn, to other members
  raft::HardState hard_state_;           // the newest that the core gave out
  bool hard_state_unwritten_ = false;    // it moved the commit index alone, and no write carried it yet
  uint64_t unreported_bytes_ = 0;        // handed to the applier since it last reported
  bool ticking_ = false;
  Executor::TimerId tick_timer_ = 0;
  MonotonicTime last_tick_;

  /// How many payload bytes the log had got by an index, at each cut of it.
  struct Mark {
    raft::Index index;
    uint64_t bytes = 0;
  };
  std::deque<Mark> marks_;
  uint64_t appended_bytes_ = 0;
};

}  // namespace kvorum::member
