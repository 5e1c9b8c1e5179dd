#pragma once

#include "peer/stream_codec.h"

namespace kvorum::peer {

// The codec of the message stream (reference: peer-protocol.md §3.4): each message as a frame of its length,
// 8 bytes big-endian, and its bytes. The link's heartbeat is a MsgHeartbeat from nobody to nobody.

class MessageEncoder final : public StreamEncoder {
 public:
  void Encode(const raft::Message& message, FrameOutput& out) override;
  void EncodeHeartbeat(FrameOutput& out) override;
};

class MessageDecoder final : public StreamDecoder {
 public:
  absl::Status Feed(std::string_view data, OnMessage on_message) override;

 private:
  FrameReader frames_{kMaxStreamMessageBytes};
};

}  // namespace kvorum::peer
