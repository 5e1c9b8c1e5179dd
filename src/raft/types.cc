#include "raft/types.h"

#include "base/wire.h"

namespace kvorum::raft {

using wire::VarintSize;

size_t EncodedSize(const Entry& entry) {
  size_t size = 3 + VarintSize(static_cast<uint64_t>(entry.type)) + VarintSize(entry.term.value()) +
                VarintSize(entry.index.value());
  if (!entry.data.is_null()) size += 1 + VarintSize(entry.data.size()) + entry.data.size();
  return size;
}

size_t EncodedSize(std::span<const Entry> entries) {
  size_t size = 0;
  for (const Entry& entry : entries) size += EncodedSize(entry);
  return size;
}

size_t PayloadSize(std::span<const Entry> entries) {
  size_t size = 0;
  for (const Entry& entry : entries) size += entry.data.size();
  return size;
}

std::string_view MessageTypeName(MessageType type) {
  switch (type) {
    case MessageType::kHup:
      return "MsgHup";
    case MessageType::kBeat:
      return "MsgBeat";
    case MessageType::kProp:
      return "MsgProp";
    case MessageType::kApp:
      return "MsgApp";
    case MessageType::kAppResp:
      return "MsgAppResp";
    case MessageType::kVote:
      return "MsgVote";
    case MessageType::kVoteResp:
      return "MsgVoteResp";
    case MessageType::kSnap:
      return "MsgSnap";
    case MessageType::kHeartbeat:
      return "MsgHeartbeat";
    case MessageType::kHeartbeatResp:
      return "MsgHeartbeatResp";
    case MessageType::kUnreachable:
      return "MsgUnreachable";
    case MessageType::kSnapStatus:
      return "MsgSnapStatus";
    case MessageType::kCheckQuorum:
      return "MsgCheckQuorum";
    case MessageType::kTransferLeader:
      return "MsgTransferLeader";
    case MessageType::kTimeoutNow:
      return "MsgTimeoutNow";
    case MessageType::kReadIndex:
      return "MsgReadIndex";
    case MessageType::kReadIndexResp:
      return "MsgReadIndexResp";
    case MessageType::kPreVote:
      return "MsgPreVote";
    case MessageType::kPreVoteResp:
      return "MsgPreVoteResp";
    case MessageType::kStorageAppend:
      return "MsgStorageAppend";
    case MessageType::kStorageAppendResp:
      return "MsgStorageAppendResp";
    case MessageType::kStorageApply:
      return "MsgStorageApply";
    case MessageType::kStorageApplyResp:
      return "MsgStorageApplyResp";
    case MessageType::kForgetLeader:
      return "MsgForgetLeader";
  }
  return "MsgUnknown";
}

std::string_view RoleName(Role role) {
  switch (role) {
    case Role::kFollower:
      return "StateFollower";
    case Role::kCandidate:
      return "StateCandidate";
    case Role::kLeader:
      return "StateLeader";
    case Role::kPreCandidate:
      return "StatePreCandidate";
  }
  return "StateUnknown";
}

}  // namespace kvorum::raft
