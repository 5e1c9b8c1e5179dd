#pragma once

#include <compare>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/boxed.h"
#include "base/bytes.h"
#include "base/strong_int.h"

namespace kvorum::raft {

// The data of the consensus algorithm. Wire form: codec.h. Source: reference raft.md §1; the Raft paper
// (Ongaro, Ousterhout 2014), figure 2.

using NodeId = StrongInt<struct NodeIdTag, uint64_t>;
using Term = StrongInt<struct TermTag, uint64_t>;
/// Position in the log; the first entry has index 1.
using Index = StrongInt<struct IndexTag, uint64_t>;

inline constexpr NodeId kNoNode{0};
/// Where messages to the local disk go when storage writes are asynchronous.
inline constexpr NodeId kAppendThread{std::numeric_limits<uint64_t>::max()};
/// Where committed entries go when storage writes are asynchronous.
inline constexpr NodeId kApplyThread{std::numeric_limits<uint64_t>::max() - 1};
inline constexpr uint64_t kNoLimit = std::numeric_limits<uint64_t>::max();

enum class EntryType : uint8_t { kNormal = 0, kConfChange = 1, kConfChangeV2 = 2 };

struct Entry {
  EntryType type = EntryType::kNormal;
  Term term;
  Index index;
  Bytes data;  ///< null where the wire form has no data field

  bool operator==(const Entry&) const = default;
};

/// Size of the entry's wire form, by which every limit on encoded entries counts.
size_t EncodedSize(const Entry& entry);
size_t EncodedSize(std::span<const Entry> entries);
/// Bytes of data alone, by which the limits on uncommitted entries and on messages under way count.
size_t PayloadSize(std::span<const Entry> entries);

/// What must be on disk before messages of its term leave.
struct HardState {
  Term term;
  NodeId vote;
  Index commit;

  bool empty() const { return *this == HardState{}; }
  bool operator==(const HardState&) const = default;
};

/// Who votes. The joint halves are empty outside a change.
struct ConfState {
  std::vector<NodeId> voters;
  std::vector<NodeId> learners;
  std::vector<NodeId> voters_outgoing;
  std::vector<NodeId> learners_next;
  bool auto_leave = false;

  bool operator==(const ConfState&) const = default;
};

struct SnapshotMetadata {
  ConfState conf_state;
  Index index;
  Term term;

  bool operator==(const SnapshotMetadata&) const = default;
};

struct Snapshot {
  Bytes data;
  SnapshotMetadata metadata;

  bool empty() const { return metadata.index == Index(0); }
  bool operator==(const Snapshot&) const = default;
};

enum class ConfChangeType : uint8_t { kAddNode = 0, kRemoveNode = 1, kUpdateNode = 2, kAddLearnerNode = 3 };
enum class ConfChangeTransition : uint8_t { kAuto = 0, kJointImplicit = 1, kJointExplicit = 2 };

/// One change of one node (log entry type kConfChange).
struct ConfChange {
  uint64_t id = 0;
  ConfChangeType type = ConfChangeType::kAddNode;
  NodeId node_id;
  Bytes context;

  bool operator==(const ConfChange&) const = default;
};

struct ConfChangeSingle {
  ConfChangeType type = ConfChangeType::kAddNode;
  NodeId node_id;

  bool operator==(const ConfChangeSingle&) const = default;
};

/// Several changes at once, through a joint configuration where needed (log entry type kConfChangeV2).
struct ConfChangeV2 {
  ConfChangeTransition transition = ConfChangeTransition::kAuto;
  std::vector<ConfChangeSingle> changes;
  Bytes context;

  bool operator==(const ConfChangeV2&) const = default;
};

enum class MessageType : uint8_t {
  kHup = 0,
  kBeat = 1,
  kProp = 2,
  kApp = 3,
  kAppResp = 4,
  kVote = 5,
  kVoteResp = 6,
  kSnap = 7,
  kHeartbeat = 8,
  kHeartbeatResp = 9,
  kUnreachable = 10,
  kSnapStatus = 11,
  kCheckQuorum = 12,
  kTransferLeader = 13,
  kTimeoutNow = 14,
  kReadIndex = 15,
  kReadIndexResp = 16,
  kPreVote = 17,
  kPreVoteResp = 18,
  kStorageAppend = 19,
  kStorageAppendResp = 20,
  kStorageApply = 21,
  kStorageApplyResp = 22,
  kForgetLeader = 23,
};

/// "MsgApp" and so on, as logs and scenario files name them.
std::string_view MessageTypeName(MessageType type);

struct Message {
  MessageType type = MessageType::kHup;
  NodeId to;
  NodeId from;
  Term term;
  Term log_term;
  Index index;
  std::vector<Entry> entries;
  Index commit;
  NodeId vote;
  Boxed<Snapshot> snapshot;
  bool reject = false;
  Index reject_hint;
  Bytes context;
  std::vector<Message> responses;  ///< of kStorageAppend and kStorageApply: to deliver when the work is done

  bool operator==(const Message&) const = default;
};

/// The answer to a read-index request: reads that carry `context` see everything up to `index`.
struct ReadState {
  Index index;
  Bytes context;

  bool operator==(const ReadState&) const = default;
};

enum class Role : uint8_t { kFollower = 0, kCandidate = 1, kLeader = 2, kPreCandidate = 3 };
/// "StateFollower" and so on.
std::string_view RoleName(Role role);

/// What is lost on a crash without harm.
struct SoftState {
  NodeId lead;
  Role role = Role::kFollower;

  bool operator==(const SoftState&) const = default;
};

}  // namespace kvorum::raft
