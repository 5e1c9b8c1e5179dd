#include "raft/codec.h"

#include <gtest/gtest.h>

#include "absl/strings/escaping.h"
#include "base/random.h"
#include "base/wire.h"
#include "proto/raft.pb.h"

namespace kvorum::raft {
namespace {

std::string FromHex(std::string hex) {
  std::erase(hex, ' ');
  return absl::HexStringToBytes(hex);
}
std::string Encode36(const Message& message) {
  std::string out;
  AppendEncoded(out, message, WireVersion::kV3_6);
  return out;
}

Message Append() {
  return {.type = MessageType::kApp,
          .to = NodeId(2),
          .from = NodeId(1),
          .term = Term(3),
          .log_term = Term(3),
          .index = Index(9),
          .entries = {{.term = Term(3), .index = Index(10), .data = Bytes::Copy("hi")}},
          .commit = Index(8)};
}

// The golden bytes of reference raft.md §1.4.

TEST(CodecTest, WritesEveryScalarOfAMessage) {
  EXPECT_EQ(Encode36({.type = MessageType::kHeartbeat}),
            FromHex("0808 1000 1800 2000 2800 3000 4000 5000 5800 6800"));
  EXPECT_EQ(Encode36({.type = MessageType::kHeartbeat,
                      .to = NodeId(2),
                      .from = NodeId(1),
                      .term = Term(3),
                      .commit = Index(4)}),
            FromHex("0808 1002 1801 2003 2800 3000 4004 5000 5800 6800"));
}

TEST(CodecTest, WritesAnAppendMessage) {
  EXPECT_EQ(Encode36(Append()),
            FromHex("0803 1002 1801 2003 2803 3009 3a0a 0800 1003 180a 2202 6869 4008 5000 "
                    "5800 6800"));
}

TEST(CodecTest, TellsEmptyDataFromNone) {
  Entry entry{.term = Term(1), .index = Index(1), .data = Bytes::Copy("")};
  EXPECT_EQ(Encode(entry), FromHex("0800 1001 1801 2200"));
  EXPECT_FALSE(DecodeEntry(Encode(entry))->data.is_null());
  entry.data = Bytes();
  EXPECT_EQ(Encode(entry), FromHex("0800 1001 1801"));
  EXPECT_TRUE(DecodeEntry(Encode(entry))->data.is_null());
}

TEST(CodecTest, WritesConfigurationChanges) {
  EXPECT_EQ(Encode(ConfChange{.id = 9, .node_id = NodeId(5), .context = Bytes::Copy("c")}),
            FromHex("0809 1000 1805 2201 63"));
  EXPECT_EQ(Encode(ConfChangeV2{.changes = {{ConfChangeType::kAddLearnerNode, NodeId(4)}}}),
            FromHex("0800 1204 0803 1004"));
}

TEST(CodecTest, TheOlderFormAlwaysHasASnapshotAndNeverAVote) {
  std::string out;
  AppendEncoded(out, {.type = MessageType::kPreVote, .vote = NodeId(7)}, WireVersion::kV3_5);
  EXPECT_EQ(out, FromHex("0811 1000 1800 2000 2800 3000 4000 4a0a12080a02280010001800 5000 5800"));
}

TEST(CodecTest, ReadsPackedAndUnpackedListsAndSkipsUnknownFields) {
  const ConfState expected{.voters = {NodeId(1), NodeId(300)}, .auto_leave = true};
  EXPECT_EQ(DecodeConfState(FromHex("0801 08ac02 2801")).value(), expected);
  EXPECT_EQ(DecodeConfState(FromHex("0a03 01ac02 2801 7a01ff f80105")).value(), expected);
}

TEST(CodecTest, RefusesMalformedInput) {
  EXPECT_FALSE(DecodeEntry(FromHex("0803")).ok()) << "no such entry type";
  EXPECT_FALSE(DecodeEntry(FromHex("2205 6869")).ok()) << "data is cut off";
  EXPECT_FALSE(DecodeEntry(FromHex("1a01 00")).ok()) << "an index must be a varint";
  EXPECT_FALSE(DecodeMessage(FromHex("0818")).ok()) << "no such message type";
  EXPECT_FALSE(DecodeMessage(FromHex("3a02 0807")).ok()) << "a malformed entry inside";
  EXPECT_FALSE(DecodeMessage(FromHex("2080")).ok()) << "a varint without an end";
  EXPECT_FALSE(DecodeConfChangeV2(FromHex("0803")).ok()) << "no such transition";
  EXPECT_FALSE(DecodeConfState(FromHex("0a01 80")).ok()) << "a packed list that is cut off";
}

TEST(CodecTest, BoundsTheNestingOfResponses) {
  std::string nested;
  for (int i = 0; i < 1000; ++i) {
    std::string outer;
    wire::AppendBytes(outer, 14, nested);
    nested = outer;
  }
  EXPECT_FALSE(DecodeMessage(nested).ok());
}

// Against the classes that protoc makes of proto/raft.proto.

Bytes RandomBytes(Random& random) {
  if (random.Below(3) == 0) return Bytes();
  std::string data(random.Below(5), 'x');
  for (char& c : data) c = static_cast<char>(random.Next());
  return Bytes::Copy(data);
}
/// Every length of varint alike.
uint64_t RandomInt(Random& random) { return random.Next() >> random.Below(64); }
template <typename Id>
std::vector<Id> RandomIds(Random& random) {
  std::vector<Id> ids;
  for (uint64_t n = random.Below(4); n > 0; --n) ids.push_back(Id(RandomInt(random)));
  return ids;
}

Message RandomMessage(Random& random, int depth) {
  Message m{.type = static_cast<MessageType>(random.Below(24)),
            .to = NodeId(RandomInt(random)),
            .from = NodeId(RandomInt(random)),
            .term = Term(RandomInt(random)),
            .log_term = Term(RandomInt(random)),
            .index = Index(RandomInt(random)),
            .commit = Index(RandomInt(random)),
            .vote = NodeId(RandomInt(random)),
            .reject = random.Below(2) == 0,
            .reject_hint = Index(RandomInt(random)),
            .context = RandomBytes(random)};
  for (uint64_t n = random.Below(4); n > 0; --n) {
    m.entries.push_back({.type = static_cast<EntryType>(random.Below(3)),
                         .term = Term(RandomInt(random)),
                         .index = Index(RandomInt(random)),
                         .data = RandomBytes(random)});
  }
  if (random.Below(2) == 0) {
    m.snapshot = Snapshot{.data = RandomBytes(random),
                          .metadata = {.conf_state = {.voters = RandomIds<NodeId>(random),
                                                      .learners = RandomIds<NodeId>(random),
                                                      .voters_outgoing = RandomIds<NodeId>(random),
                                                      .learners_next = RandomIds<NodeId>(random),
                                                      .auto_leave = random.Below(2) == 0},
                                       .index = Index(RandomInt(random)),
                                       .term = Term(RandomInt(random))}};
  }
  while (depth < 2 && random.Below(3) == 0) m.responses.push_back(RandomMessage(random, depth + 1));
  return m;
}

TEST(CodecTest, WritesWhatProtobufWritesWithEveryFieldSet) {
  Random random(1);
  for (int i = 0; i < 2000; ++i) {
    const Message message = RandomMessage(random, 0);
    const std::string encoded = Encode36(message);
    raftpb::Message parsed;
    ASSERT_TRUE(parsed.ParseFromString(encoded));
    ASSERT_EQ(parsed.SerializeAsString(), encoded);
    ASSERT_EQ(parsed.index(), message.index.value());
    ASSERT_EQ(parsed.rejecthint(), message.reject_hint.value());
    ASSERT_EQ(
        parsed.snapshot().metadata().conf_state().learners_next_size(),
        message.snapshot ? static_cast<int>(message.snapshot->metadata.conf_state.learners_next.size()) : 0);
    ASSERT_EQ(DecodeMessage(encoded).value(), message);
  }
}

TEST(CodecTest, ReadsWhatProtobufWritesWithZerosLeftOut) {
  raftpb::Message message;
  message.set_type(raftpb::MsgAppResp);
  message.set_to(3);
  message.mutable_snapshot()->mutable_metadata()->set_index(7);
  const Message decoded = DecodeMessage(message.SerializeAsString()).value();
  EXPECT_EQ(decoded, (Message{.type = MessageType::kAppResp,
                              .to = NodeId(3),
                              .snapshot = Snapshot{.metadata = {.index = Index(7)}}}));
}

TEST(CodecTest, ACutMessageIsNeverReadAsAWholeOne) {
  Random random(2);
  for (int i = 0; i < 200; ++i) {
    const Message message = RandomMessage(random, 0);
    const std::string encoded = Encode36(message);
    const auto cut = DecodeMessage(std::string_view(encoded).substr(0, random.Below(encoded.size())));
    if (message.vote != NodeId(0)) {
      EXPECT_FALSE(cut.ok() && *cut == message);
    }
  }
}

TEST(CodecTest, TheSizeOfAnEntryIsThatOfItsEncoding) {
  Random random(3);
  for (int i = 0; i < 500; ++i) {
    const Entry entry{
        .term = Term(RandomInt(random)), .index = Index(RandomInt(random)), .data = RandomBytes(random)};
    ASSERT_EQ(EncodedSize(entry), Encode(entry).size());
  }
}

}  // namespace
}  // namespace kvorum::raft
