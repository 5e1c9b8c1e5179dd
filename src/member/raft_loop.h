#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "member/member.h"
#include "member/memory_log.h"
#include "member/metrics.h"
#include "member/ports.h"
#include "member/read_rounds.h"
#include "member/read_witness.h"
#include "member/shared_state.h"
#include "member/waiters.h"
#include "raft/raw_node.h"
#include "raft/storage.h"

namespace kvorum::member {

/// Owns the consensus core and the log in memory, on the raft executor. Everything that comes from outside is
/// put into one inbox, with one post for a burst; each turn drains it, steps the core once for all of it, and
/// hands the result out in parallel: entries to the log, messages to the peers, committed entries to the
/// applier. Where others wait for its messages, nothing here waits for a disk; a member without others may
/// write its log at the end of a turn, so that a batch of writes wakes no other thread on its way to the disk
/// and back.
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
    /// Sends a follower, with `message`, everything as it is applied by now.
    virtual void SendSnapshot(raft::Message message) = 0;
    /// Puts what came with `snapshot` in the place of everything, after what was given to Apply; `installed`
    /// has to be called when reads see it. Both notes of it, the file and the log's, are durable.
    virtual void Install(raft::Snapshot snapshot, absl::AnyInvocable<void()> installed) = 0;
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
  /// The same for several, in their order; they are moved from.
  void Propose(std::span<std::pair<Bytes, Waiter>> proposals);
  /// One change is proposed at a time: the next one when the one before is applied.
  void ProposeConfChange(const raft::ConfChange& change, Waiter waiter);
  /// Drops the message where too many wait. A follower's question for a read may be answered at once, and
  /// those who wait for the answer to one of this member told.
  void Receive(raft::Message&& message);
  void ReportUnreachable(raft::NodeId id);
  void ReportSnapshot(raft::NodeId id, bool finished);
  /// `call` on the raft executor, unless stopped: false then.
  bool WithCore(absl::AnyInvocable<void(raft::RawNode&)> call);
  /// `done` when this member has applied everything that was committed anywhere before the call.
  void Read(MonotonicTime deadline, absl::AnyInvocable<void(absl::Status)> done);

  /// The core takes a conf change that the applier has accepted (or refused: node id 0). Takes effect before
  /// the `applied` of the entries it came with.
  void ApplyConfChange(raft::ConfChangeV2 change);
  /// `task` on the raft executor, after the core has learnt of every `applied` before the call.
  void AfterApplied(Executor::Task task);
  /// Everything up to the point is in the database, durable or not: the log in memory may be cut, keeping the
  /// catch-up entries.
  void CutMemory(SnapshotPoint point);
  /// Everything up to the point is in the database durably: writes a snapshot file, notes it in the log, and
  /// gives up what lies before. `done` runs on the raft executor, with success only.
  void SaveSnapshot(SnapshotPoint point, absl::AnyInvocable<void()> done);

  /// Something that must not fail did: nothing is acknowledged any more.
  void Fail(const absl::Status& status);

  /// Since when the oldest write of the log has been under way; nothing: none is.
  std::optional<MonotonicTime> OldestWrite() const;

 private:
  /// The core's view of the log: as `log`, but the configuration of a restart is the applied one.
  class CoreStorage;
  class CoreLogger;

  struct Proposal {
    Bytes entry;
    MonotonicTime deadline;
    std::unique_ptr<Waiter> as_leader;  // Waiter::as_leader: who waits for it; seldom there
  };
  /// A MsgProp with one conf change, of this member or of one that forwards it.
  struct HeldConfChange {
    raft::Message message;
    MonotonicTime deadline;
  };
  struct Appended {
    Boxed<raft::Snapshot> snapshot;
    std::vector<raft::Entry> entries;
    std::vector<raft::Message> responses;
  };
  struct Inbox {
    std::vector<std::pair<Bytes, Waiter>> proposals;
    std::vector<std::pair<raft::Message, Waiter>> conf_changes;
    std::vector<raft::Message> messages;
    uint64_t message_bytes = 0;
    std::vector<Appended> appended;
    std::vector<std::vector<raft::Message>> applied;  // responses
    std::vector<Executor::Task> calls;                // run first
    std::vector<Executor::Task> after_apply;          // run when the core has learnt what was applied

    /// Forgets everything, but keeps the memory that a usual turn needs.
    void Clear();
  };

  RaftLoop(Setup& setup, const MemberOptions& options, const Ports& ports, SharedState* state,
           Metrics* metrics, Applier* applier);
  absl::Status CreateCore(const Setup& setup);

  /// Puts something into the inbox; false once stopped.
  template <typename Put>
  bool Post(Put put) {
    absl::MutexLock lock(&mutex_);
    if (stopped_) return false;
    put(*inbox_);
    PostTurn();
    return true;
  }
  void Put(Inbox& inbox, Bytes entry, Waiter waiter);
  void FailStopped(ApplyDone done);
  void PostTurn() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void PostApplied(std::vector<raft::Message> responses);
  void AskForApplied();
  /// On the apply executor, now and then while SaveDue is used: those who wait behind a slow disk are made
  /// known to the applier, which watches their time.
  void WatchSave();
  void ArmSaveWatch() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  /// Starts a round for the reads that wait, unless one is under way: asks the leader past the core where
  /// another member leads. A question that is lost is asked again through the core.
  void AskForReads();
  void Send(raft::Message message);
  raft::Index Applied() const { return raft::Index(state_->applied.load(std::memory_order_acquire)); }

  // On the raft executor.
  void Turn();
  void Take();
  void TakeAppended(Appended&& appended);
  void TakeInstalled(std::vector<raft::Message> responses);
  void TakeMessage(raft::Message&& message);
  void TakeWaiter(Waiter&& waiter);
  void ProposeWaiting();
  /// Forgets the proposals of a leader that `which` says.
  void ForgetLeaders(absl::FunctionRef<bool(const Proposal&)> which);
  void ProposeConfChanges();
  void CampaignIfAlone();
  void HandleReady(raft::Ready&& ready);
  /// Hands a message to the log or the applier, where it is for one of them.
  bool HandOut(raft::Message& message);
  void SendOutgoing();
  void Append(raft::Message&& message);
  /// REQUIRES: `write.done` begins with Written
  void Enqueue(wal::LogStorage::Write&& write);
  /// At the end of a turn: what was held back for the log, in one call, which may wait for the disk.
  void SaveDue();
  /// The oldest write came back, on the storage's thread; false where it failed, and with it the member.
  bool Written(const absl::Status& status);
  void HandCommitted(raft::Message&& message);
  void OnSoftState(const raft::SoftState& now);
  void ShowState();
  void OnTick();
  void AdvanceFirstElection();
  void FlushHardState();
  void Step(raft::Message&& message);
  bool AloneInCharge() const;
  bool HasFollowers() const;
  void LogLeader(raft::NodeId before, raft::NodeId now) const;
  MemoryLog::Followers LookAtFollowers() const;
  void WriteSnapshotRecord(raft::SnapshotMetadata metadata, absl::AnyInvocable<void()> done);

  // Constant after construction.
  const MemberId id_;
  const MemberOptions options_;
  const Ports ports_;
  SharedState* const state_;
  Metrics* const metrics_;
  Applier* const applier_;

  absl::Mutex mutex_;
  std::unique_ptr<Inbox> inbox_ ABSL_GUARDED_BY(mutex_) = std::make_unique<Inbox>();
  bool turn_posted_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  /// Somebody waits for what the applier reports; else it lies in the inbox until the next turn, which spares
  /// a wake-up for each batch.
  bool applied_wanted_ ABSL_GUARDED_BY(mutex_) = true;

  // Of SaveDue.
  uint64_t saves_ ABSL_GUARDED_BY(mutex_) = 0;                 // odd: one is under way
  uint64_t watched_save_ ABSL_GUARDED_BY(mutex_) = 0;          // `saves_` at the last look
  std::vector<Waiter> saved_waiters_ ABSL_GUARDED_BY(mutex_);  // new_waiters_, meanwhile
  Executor::TimerId save_watch_ ABSL_GUARDED_BY(mutex_) = 0;   // 0: nobody looks

  // Thread-safe themselves.
  ReadRounds reads_;
  ReadWitness witness_;

  mutable absl::Mutex writes_mutex_;
  /// When each write that is under way was handed to the log.
  std::deque<MonotonicTime> writes_ ABSL_GUARDED_BY(writes_mutex_);

  // Owned by the raft executor.
  std::unique_ptr<Inbox> taken_ = std::make_unique<Inbox>();  // by the turn under way; else empty
  MemoryLog log_;
  std::unique_ptr<CoreLogger> core_logger_;
  std::unique_ptr<CoreStorage> core_storage_;
  std::unique_ptr<raft::RawNode> node_;
  raft::SoftState soft_state_;
  raft::ConfState conf_state_;
  std::deque<Proposal> proposals_;  // not yet taken by the core
  std::deque<HeldConfChange> conf_changes_;
  std::vector<Waiter> new_waiters_;          // not yet handed to the applier
  std::vector<wal::LogStorage::Write> due_;  // for SaveDue
  std::vector<raft::Message> outgoing_;      // of this turn, to other members
  raft::HardState hard_state_;               // the newest that the core gave out
  bool hard_state_unwritten_ = false;        // it moved the commit index alone, and no write carried it yet
  uint64_t unreported_bytes_ = 0;            // handed to the applier since it last reported
  bool ticking_ = false;
  Executor::TimerId tick_timer_ = 0;
  MonotonicTime last_tick_;
  /// The first election timeout is to be cut short once the others can be reached, until then.
  std::optional<MonotonicTime> advance_until_;
  raft::Index last_record_;  // the newest snapshot that the log was told of
  // While the database of a snapshot is being installed, the core must not hear that entries behind it are
  // on disk: of these it would forget where they end.
  size_t installing_ = 0;
  std::vector<raft::Message> after_install_;
};

}  // namespace kvorum::member
