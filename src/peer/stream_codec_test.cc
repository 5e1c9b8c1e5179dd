#include "peer/stream_codec.h"

#include <gtest/gtest.h>

#include "peer/message_codec.h"
#include "peer/msgapp_codec.h"
#include "raft/codec.h"
#include "rapidcheck/gtest.h"

namespace kvorum::peer {
namespace {

using raft::Entry;
using raft::Index;
using raft::Message;
using raft::MessageType;
using raft::NodeId;
using raft::Term;

constexpr NodeId kLocal{2};
constexpr NodeId kRemote{1};

std::string Text(FrameOutput& out) {
  std::string text;
  for (const Bytes& piece : out.Take()) text += piece.view();
  return text;
}

std::string Hex(std::string_view text) {
  std::string hex;
  for (const char c : text) hex += fmt::format("{:02x}", static_cast<uint8_t>(c));
  return hex;
}

Message App(uint64_t term, uint64_t log_term, uint64_t index, std::vector<std::string> data,
            uint64_t commit = 0) {
  Message message{.type = MessageType::kApp,
                  .to = kLocal,
                  .from = kRemote,
                  .term = Term(term),
                  .log_term = Term(log_term),
                  .index = Index(index),
                  .commit = Index(commit)};
  for (const std::string& text : data) {
    message.entries.push_back({.term = Term(term), .index = Index(++index), .data = Bytes::Copy(text)});
  }
  return message;
}

std::vector<Message> Decode(StreamDecoder& decoder, std::string_view bytes, size_t step = 1) {
  std::vector<Message> messages;
  while (!bytes.empty()) {
    const std::string_view piece = bytes.substr(0, step);
    bytes.remove_prefix(piece.size());
    const absl::Status status =
        decoder.Feed(piece, [&](Message message) { messages.push_back(std::move(message)); });
    EXPECT_TRUE(status.ok()) << status;
  }
  return messages;
}

absl::Status Fault(StreamType type, std::string_view bytes) {
  return NewStreamDecoder(type, kLocal, kRemote)->Feed(bytes, [](Message) {});
}

TEST(MessageCodecTest, WritesTheHeartbeatAsEtcdDoes) {
  FrameOutput out;
  MessageEncoder().EncodeHeartbeat(out);
  EXPECT_EQ(Hex(Text(out)),
            "0000000000000014"
            "0808"
            "1000"
            "1800"
            "2000"
            "2800"
            "3000"
            "4000"
            "5000"
            "5800"
            "6800");
}

TEST(MessageCodecTest, DoesNotTellHeartbeatsOfTheLink) {
  FrameOutput out;
  MessageEncoder encoder;
  const Message vote{.type = MessageType::kVote, .to = kLocal, .from = kRemote, .term = Term(3)};
  encoder.EncodeHeartbeat(out);
  encoder.Encode(vote, out);
  encoder.EncodeHeartbeat(out);
  MessageDecoder decoder;
  EXPECT_EQ(Decode(decoder, Text(out)), std::vector<Message>{vote});
}

TEST(MessageCodecTest, RefusesALengthOverTheLimit) {
  EXPECT_EQ(Fault(StreamType::kMessage, std::string("\0\0\0\0\x20\0\0\x01", 8)).message(),
            "rafthttp: error limit exceeded");
  EXPECT_FALSE(Fault(StreamType::kMessage, std::string("\0\0\0\0\0\0\0\x02\xff\xff", 10)).ok());
}

TEST(MsgAppCodecTest, WritesAWholeMessageAndThenWhatFollows) {
  FrameOutput out;
  MsgAppEncoder encoder;
  encoder.Encode(App(1, 0, 0, {"a"}), out);
  EXPECT_EQ(Hex(Text(out)),
            "02"
            "000000000000001f"
            "0803"
            "1002"
            "1801"
            "2001"
            "2800"
            "3000"
            "3a09"
            "080010011801220161"
            "4000"
            "5000"
            "5800"
            "6800");
  encoder.Encode(App(1, 1, 1, {"b", ""}, 7), out);
  EXPECT_EQ(Hex(Text(out)),
            "01"
            "0000000000000002"
            "0000000000000009"
            "080010011802220162"
            "0000000000000008"
            "0800100118032200"
            "0000000000000007");
  encoder.Encode(App(1, 1, 3, {}, 8), out);
  EXPECT_EQ(Hex(Text(out)),
            "01"
            "0000000000000000"
            "0000000000000008");
  encoder.EncodeHeartbeat(out);
  EXPECT_EQ(Hex(Text(out)), "00");
}

TEST(MsgAppCodecTest, WritesAWholeMessageWhereItDoesNotFollow) {
  FrameOutput out;
  MsgAppEncoder encoder;
  encoder.Encode(App(1, 0, 0, {"a"}), out);
  Text(out);
  encoder.Encode(App(1, 1, 2, {"c"}), out);  // a gap
  EXPECT_EQ(Text(out)[0], 2);
  encoder.Encode(App(2, 1, 3, {"d"}), out);  // a new term
  EXPECT_EQ(Text(out)[0], 2);
  encoder.Encode(App(2, 2, 4, {"e"}), out);
  EXPECT_EQ(Text(out)[0], 1);
}

TEST(MsgAppCodecTest, RefusesWhatIsNoType) {
  EXPECT_EQ(Fault(StreamType::kMsgApp, "\x07").message(), "failed to parse type 7 in msgappv2 stream");
}

TEST(MsgAppCodecTest, BoundsEntries) {
  std::string endless("\x01\xff\xff\xff\xff\xff\xff\xff\xff", 9);
  EXPECT_TRUE(Fault(StreamType::kMsgApp, endless).ok());
  EXPECT_FALSE(Fault(StreamType::kMsgApp, endless + std::string("\0\0\0\0\x20\0\0\x01", 8)).ok());
  auto decoder = NewStreamDecoder(StreamType::kMsgApp, kLocal, kRemote);
  ASSERT_TRUE(decoder->Feed(endless, [](Message) {}).ok());
  const std::string empty_entries(1 << 20, '\0');
  absl::Status status;
  int fed = 0;
  while (status.ok() && ++fed < 200) status = decoder->Feed(empty_entries, [](Message) {});
  EXPECT_EQ(status.message(), "rafthttp: error limit exceeded");
}

TEST(FrameOutputTest, RefersToLargeBytes) {
  FrameOutput out;
  MsgAppEncoder encoder;
  encoder.Encode(App(1, 0, 0, {}), out);
  out.Take();
  const Message large = App(1, 1, 0, {std::string(100000, 'x'), "y"});
  encoder.Encode(large, out);
  const std::vector<Bytes> pieces = out.Take();
  ASSERT_EQ(pieces.size(), 3u);
  EXPECT_EQ(pieces[1].data(), large.entries[0].data.data());
}

TEST(EncodeFrameTest, IsWhatTheFrameReaderReads) {
  const Message message = App(3, 2, 9, {"x", "y"});
  FrameReader reader(kMaxSnapshotMessageBytes);
  const std::string frame = EncodeFrame(message) + "rest";
  std::string_view input = frame;
  EXPECT_EQ(raft::DecodeMessage(**reader.Take(&input)).value(), message);
  EXPECT_EQ(input, "rest");
}

RC_GTEST_PROP(MsgAppCodecTest, ReadsBackWhatItWrote, ()) {
  MsgAppEncoder encoder;
  MsgAppDecoder decoder(kLocal, kRemote);
  FrameOutput out;
  std::vector<Message> sent;
  uint64_t term = 1;
  uint64_t index = 0;
  const int count = *rc::gen::inRange(1, 20);
  for (int i = 0; i < count; ++i) {
    if (*rc::gen::inRange(0, 4) == 0) encoder.EncodeHeartbeat(out);
    const uint64_t log_term = term;
    if (*rc::gen::inRange(0, 5) == 0) term += 1;
    if (*rc::gen::inRange(0, 5) == 0) index += 3;
    sent.push_back(App(term, log_term, index, *rc::gen::arbitrary<std::vector<std::string>>(), index));
    index += sent.back().entries.size();
    encoder.Encode(sent.back(), out);
  }
  RC_ASSERT(Decode(decoder, Text(out), static_cast<size_t>(*rc::gen::inRange(1, 100))) == sent);
}

}  // namespace
}  // namespace kvorum::peer
