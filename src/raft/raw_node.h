#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/log.h"
#include "raft/config.h"
#include "raft/progress.h"
#include "raft/storage.h"
#include "raft/types.h"

namespace kvorum::raft {

class Raft;

/// What the core wants done, and in which order (reference: raft.md §10):
/// 1. `messages` may leave at once, before anything is on disk: none of them promises anything.
/// 2. `snapshot`, `hard_state` and `entries` go to disk, in this order; durably where `must_sync`.
/// 3. Then `messages_after_persist` may leave: votes and append acknowledgements.
/// 4. `committed_entries` are applied, in order.
/// 5. `RawNode::Advance` is called, unless storage writes are asynchronous.
///
/// With `Config::async_storage_writes`, 2 and 3 are in a message to kAppendThread and 4 is in one to
/// kApplyThread, the last of `messages`; each carries its responses, to be stepped once the work is done.
/// `entries` and `committed_entries` stand there alone.
struct Ready {
  std::optional<SoftState> soft_state;  ///< where it changed
  HardState hard_state;                 ///< empty where unchanged
  std::vector<ReadState> read_states;
  std::vector<Entry> entries;
  Snapshot snapshot;
  std::vector<Entry> committed_entries;
  std::vector<Message> messages;
  std::vector<Message> messages_after_persist;
  bool must_sync = false;
};

/// What the core shows of itself.
struct Status {
  NodeId id;
  HardState hard_state;
  SoftState soft_state;
  Index applied;
  NodeId lead_transferee;
  ConfState conf_state;
  std::map<NodeId, Progress> progress;  ///< empty unless leader
};

/// One member of a Raft group, as a state machine: fed with `Step`, `Tick` and `Propose`, emptied through
/// `GetReady`. No I/O, no clock, no thread; time is ticks, randomness comes from the config's generator.
/// Not thread-safe. A broken invariant (see raft.md §17, FATAL) is a KVORUM_CHECK.
class RawNode {
 public:
  /// Errors: what Config::Validate gives. The storage's content is where the node goes on from.
  static absl::StatusOr<std::unique_ptr<RawNode>> Create(Config config);
  ~RawNode();

  struct Peer {
    NodeId id;
    Bytes context;
  };
  /// Starts a group in which `peers` vote: as if their addition had been agreed on in term 1. REQUIRES for
  /// OK: an empty storage and at least one peer.
  absl::Status Bootstrap(std::span<const Peer> peers);

  void Tick();
  absl::Status Campaign();

  /// Error kProposalDropped where there is no leader to take it or it is over a limit. On a follower the
  /// proposal goes to the leader, and may be lost without a word.
  absl::Status Propose(Bytes data);
  /// Several entries at once, in one message.
  absl::Status ProposeBatch(std::vector<Bytes> data);
  absl::Status ProposeConfChange(const ConfChange& change);
  absl::Status ProposeConfChange(const ConfChangeV2& change);

  /// For each conf-change entry as it is applied (also of refused ones, with node id 0).
  ConfState ApplyConfChange(const ConfChange& change);
  ConfState ApplyConfChange(const ConfChangeV2& change);

  /// A message from another member, or the response of the local storage. Errors: kStepLocalMessage,
  /// kStepPeerNotFound, kProposalDropped; InvalidArgument for what no member sends.
  /// REQUIRES: what comes from the network does not have kAppendThread or kApplyThread as its sender
  absl::Status Step(Message&& message);

  bool HasReady() const;
  /// Hands out what is to be done and takes it as being done. REQUIRES: in synchronous mode the one before
  /// was advanced.
  Ready GetReady();
  /// The work of the last Ready is done. REQUIRES: not Config::async_storage_writes
  void Advance();

  void ReportUnreachable(NodeId id);
  enum class SnapshotResult : uint8_t { kFinished, kFailed };
  void ReportSnapshot(NodeId id, SnapshotResult result);
  void TransferLeader(NodeId transferee);
  absl::Status ForgetLeader();
  /// Asks for a ReadState with `context`. Lost without a word where there is no leader or leadership moves:
  /// the asker retries.
  void ReadIndex(Bytes context);

  Status GetStatus() const;
  SoftState soft_state() const;
  HardState hard_state() const;
  Term term() const;

  /// Stops the process where an `Invariant:` of the core does not hold. For tests and simulation, after each
  /// call.
  void CheckInvariants() const;

  /// For scenario files and tests, which need to force and to see what production code must not.
  Raft& raft() { return *raft_; }
  const Raft& raft() const { return *raft_; }

 private:
  explicit RawNode(const Config& config);

  struct Applied {
    Index index;
    uint64_t bytes;    ///< encoded
    uint64_t payload;  ///< of data alone
  };

  void PrepareAdvance(Ready& ready);
  void AddStorageMessages(Ready& ready);
  /// The answer of the storage once everything that is unstable now is durable; nothing where nothing is.
  void AddStorageAppendResponse(const Ready& ready, std::vector<Message>& out) const;

  std::unique_ptr<Raft> raft_;
  const bool async_storage_writes_;
  /// As the last Ready said.
  SoftState previous_soft_state_;
  HardState previous_hard_state_;
  /// A Ready is out and not advanced. Only in synchronous mode, like the two below.
  bool advance_pending_ = false;
  /// What becomes true when the Ready's writes are durable.
  std::vector<Message> steps_on_advance_;
  /// What the Ready hands out to be applied.
  std::optional<Applied> applied_on_advance_;
};

}  // namespace kvorum::raft
