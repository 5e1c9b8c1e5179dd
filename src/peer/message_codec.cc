#include "peer/message_codec.h"

#include "base/status.h"
#include "raft/codec.h"

namespace kvorum::peer {

namespace {

bool IsLinkHeartbeat(const raft::Message& message) {
  return message.type == raft::MessageType::kHeartbeat && message.from == raft::kNoNode &&
         message.to == raft::kNoNode;
}

}  // namespace

void MessageEncoder::Encode(const raft::Message& message, FrameOutput& out) {
  std::string& text = out.text();
  const size_t start = text.size();
  AppendBigEndian(text, 0);
  raft::AppendEncoded(text, message, raft::WireVersion::kV3_6);
  std::string length;
  AppendBigEndian(length, text.size() - start - sizeof(uint64_t));
  text.replace(start, length.size(), length);
}

void MessageEncoder::EncodeHeartbeat(FrameOutput& out) {
  Encode(raft::Message{.type = raft::MessageType::kHeartbeat}, out);
}

absl::Status MessageDecoder::Feed(std::string_view data, OnMessage on_message) {
  while (!data.empty()) {
    KVORUM_ASSIGN_OR_RETURN(const std::optional<std::string_view> bytes, frames_.Take(&data));
    if (!bytes) continue;
    KVORUM_ASSIGN_OR_RETURN(raft::Message message, raft::DecodeMessage(*bytes));
    if (!IsLinkHeartbeat(message)) on_message(std::move(message));
  }
  return absl::OkStatus();
}

}  // namespace kvorum::peer
