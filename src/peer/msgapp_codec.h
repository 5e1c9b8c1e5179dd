#pragma once

#include "peer/stream_codec.h"

namespace kvorum::peer {

// The codec of the msgapp stream, version 2 (reference: peer-protocol.md §3.5): a type byte, and then
//   0  the link's heartbeat: nothing more
//   1  entries that follow what was sent last: their number, each one's length and bytes, the commit index
//   2  a whole message: its length and bytes
// with every number 8 bytes big-endian.

class MsgAppEncoder final : public StreamEncoder {
 public:
  void Encode(const raft::Message& message, FrameOutput& out) override;
  void EncodeHeartbeat(FrameOutput& out) override;

 private:
  void EncodeEntries(const raft::Message& message, FrameOutput& out);

  // The last entry that the other side has been told of.
  raft::Term term_;
  raft::Index index_;
};

class MsgAppDecoder final : public StreamDecoder {
 public:
  MsgAppDecoder(raft::NodeId local, raft::NodeId remote) : local_(local), remote_(remote) {}

  absl::Status Feed(std::string_view data, OnMessage on_message) override;

 private:
  enum class Next : uint8_t { kType, kCount, kEntryLength, kEntry, kCommit, kMessage };

  /// Does one step. False: it needs more input.
  absl::StatusOr<bool> Step(std::string_view* data, OnMessage on_message);
  absl::StatusOr<bool> TakeType(std::string_view* data);
  absl::StatusOr<bool> TakeEntry(std::string_view* data);
  absl::Status StartEntry(uint64_t length);
  void Emit(uint64_t commit, OnMessage on_message);
  absl::Status EmitWhole(std::string_view bytes, OnMessage on_message);

  const raft::NodeId local_;
  const raft::NodeId remote_;
  raft::Term term_;
  raft::Index index_;

  Next next_ = Next::kType;
  ByteCollector bytes_;
  FrameReader frames_{kMaxStreamMessageBytes};
  uint64_t entries_left_ = 0;
  uint64_t entry_length_ = 0;
  uint64_t message_bytes_ = 0;  // memory of the entries read so far
  std::vector<raft::Entry> entries_;
};

}  // namespace kvorum::peer
