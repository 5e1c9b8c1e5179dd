#include "peer/stream_codec.h"

#include "base/check.h"
#include "base/status.h"
#include "peer/message_codec.h"
#include "peer/msgapp_codec.h"
#include "raft/codec.h"

namespace kvorum::peer {

namespace {
/// Shared bytes smaller than this are cheaper to copy than to refer to.
constexpr size_t kReferFrom = 4 << 10;
/// A buffer that was needed once for something large is not kept.
constexpr size_t kKeepBelow = 1 << 20;
}  // namespace

std::string_view StreamName(StreamType type) {
  return type == StreamType::kMsgApp ? "stream MsgApp v2" : "stream Message";
}

std::string_view StreamPath(StreamType type) { return type == StreamType::kMsgApp ? "msgapp" : "message"; }

void AppendBigEndian(std::string& out, uint64_t value) {
  char bytes[sizeof value];
  for (size_t i = 0; i < sizeof value; ++i) bytes[i] = static_cast<char>(value >> (56 - 8 * i));
  out.append(bytes, sizeof bytes);
}

void FrameOutput::AppendUint64(uint64_t value) { AppendBigEndian(text_, value); }

void FrameOutput::Append(const Bytes& data) {
  if (data.size() < kReferFrom) {
    text_.append(data.view());
    return;
  }
  Cut();
  pieces_.push_back(data);
}

void FrameOutput::Cut() {
  if (text_.empty()) return;
  pieces_.push_back(Bytes::Copy(text_));
  text_.clear();
}

std::vector<Bytes> FrameOutput::Take() {
  Cut();
  return std::exchange(pieces_, {});
}

std::unique_ptr<StreamEncoder> NewStreamEncoder(StreamType type) {
  if (type == StreamType::kMsgApp) return std::make_unique<MsgAppEncoder>();
  return std::make_unique<MessageEncoder>();
}

std::unique_ptr<StreamDecoder> NewStreamDecoder(StreamType type, raft::NodeId local, raft::NodeId remote) {
  if (type == StreamType::kMsgApp) return std::make_unique<MsgAppDecoder>(local, remote);
  return std::make_unique<MessageDecoder>();
}

std::string EncodeFrame(const raft::Message& message) {
  std::string encoded;
  raft::AppendEncoded(encoded, message, raft::WireVersion::kV3_6);
  std::string frame;
  frame.reserve(sizeof(uint64_t) + encoded.size());
  AppendBigEndian(frame, encoded.size());
  frame += encoded;
  return frame;
}

std::optional<std::string_view> ByteCollector::Take(std::string_view* input, size_t size) {
  if (std::exchange(complete_, false)) {
    if (kept_.capacity() > kKeepBelow) kept_ = std::string();
    kept_.clear();
  }
  if (kept_.empty() && input->size() >= size) {
    const std::string_view taken = input->substr(0, size);
    input->remove_prefix(size);
    return taken;
  }
  const size_t n = std::min(size - kept_.size(), input->size());
  kept_.append(input->substr(0, n));
  input->remove_prefix(n);
  if (kept_.size() < size) return std::nullopt;
  complete_ = true;
  return kept_;
}

std::optional<uint64_t> ByteCollector::TakeUint64(std::string_view* input) {
  const std::optional<std::string_view> bytes = Take(input, sizeof(uint64_t));
  if (!bytes) return std::nullopt;
  uint64_t value = 0;
  for (const char byte : *bytes) value = value << 8 | static_cast<uint8_t>(byte);
  return value;
}

absl::StatusOr<std::optional<std::string_view>> FrameReader::Take(std::string_view* input) {
  if (!length_) {
    const std::optional<uint64_t> length = bytes_.TakeUint64(input);
    if (!length) return std::optional<std::string_view>();
    if (*length > limit_) return absl::InvalidArgumentError("rafthttp: error limit exceeded");
    length_ = length;
  }
  const std::optional<std::string_view> bytes = bytes_.Take(input, *length_);
  if (bytes) length_.reset();
  return bytes;
}

}  // namespace kvorum::peer
