// The bytes of the log: FrameEncoder and RecordReader.

#include "absl/strings/escaping.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "rapidcheck.h"
#include "rapidcheck/gtest.h"
#include "wal/frame_encoder.h"
#include "wal/record_reader.h"
#include "wal/segments.h"

namespace kvorum::wal {
namespace {

using raft::Index;
using raft::NodeId;
using raft::Term;
using ::testing::HasSubstr;
using Outcome = RecordReader::Outcome;
using Place = RecordReader::Place;

std::string BytesOf(FrameEncoder& encoder) { return fmt::format("{}", fmt::join(encoder.Pieces(), "")); }

raft::Entry MakeEntry(uint64_t term, uint64_t index, std::optional<std::string_view> data) {
  return {.term = Term(term), .index = Index(index), .data = data ? Bytes::Copy(*data) : Bytes()};
}

/// The frames of the golden table (reference: wal-and-snap.md §2.6), in hex, in the order of Golden().
constexpr std::string_view kGolden[] = {
    "04000000000000840804100000000000",
    "1000000000000000080110edf1f6be021a0608a22210c466",
    "0e000000000000820805109ce2b1910d1a04080010000000",
    "1500000000000083080210ccff9ef3021a0b0800100118012203616263000000",
    "0f00000000000081080210a08488101a0608001001180200",
    "0f00000000000081080310e9c4e5711a0608011002180000",
    "1000000000000000080310bce084f3041a06080110021802",
    "15000000000000830805108bf7ec661a0c080210011a06080208032800000000",
};

/// The same as records; returns the hex of each frame.
std::vector<std::string> Golden() {
  FrameEncoder encoder(0);
  std::vector<std::string> frames;
  const auto done = [&] {
    frames.push_back(absl::BytesToHexString(BytesOf(encoder)));
    encoder.Clear();
  };
  encoder.AddCrc();
  done();
  encoder.AddMetadata(EncodeMetadata({.node_id = 0x1122, .cluster_id = 0x3344}));
  done();
  encoder.AddSnapshot(SnapshotRecord());
  done();
  encoder.AddEntry(MakeEntry(1, 1, "abc"));
  done();
  encoder.AddEntry(MakeEntry(1, 2, std::nullopt));
  done();
  encoder.AddState({Term(1), NodeId(2), Index(0)});
  done();
  encoder.AddState({Term(1), NodeId(2), Index(2)});
  done();
  encoder.AddSnapshot({Index(2), Term(1), raft::ConfState{.voters = {NodeId(2), NodeId(3)}}});
  done();
  return frames;
}

TEST(WalFrame, HasTheBytesOfEtcd) {
  const std::vector<std::string> frames = Golden();
  ASSERT_EQ(frames.size(), std::size(kGolden));
  for (size_t i = 0; i < frames.size(); ++i) EXPECT_EQ(frames[i], kGolden[i]) << i;
}

std::string GoldenBytes() { return absl::HexStringToBytes(fmt::format("{}", fmt::join(kGolden, ""))); }

TEST(WalFrame, IsReadBack) {
  const std::string content = GoldenBytes() + std::string(100, '\0');
  RecordReader reader(content, "f", Place::kLast, 0);
  Record record;
  for (const int64_t type : {4, 1, 5, 2, 2, 3, 3, 5}) {
    ASSERT_EQ(reader.Next(&record).value(), Outcome::kRecord);
    EXPECT_EQ(record.type, type);
  }
  EXPECT_EQ(absl::BytesToHexString(std::string(record.data)), "080210011a06080208032800");
  EXPECT_EQ(reader.Next(&record).value(), Outcome::kEnd);
  EXPECT_EQ(reader.offset(), GoldenBytes().size());
  EXPECT_EQ(reader.crc(), 0x66 << 21 | 0x6c << 14 | 0x77 << 7 | 0x0b);
}

// Large payloads are written from where they are, small ones are copied: the same bytes.
RC_GTEST_PROP(WalFrame, ReadsWhatItWrites, (const std::vector<uint16_t>& sizes, uint32_t crc)) {
  FrameEncoder encoder(crc);
  encoder.AddCrc();
  std::vector<raft::Entry> entries;
  entries.reserve(sizes.size());
  for (uint16_t size : sizes) {
    const std::string payload(size % 5000, static_cast<char>('a' + size % 26));
    entries.push_back(MakeEntry(size, entries.size(), payload));
    encoder.AddEntry(entries.back());
  }
  const std::string content = BytesOf(encoder);
  RC_ASSERT(content.size() == encoder.size_bytes());
  RC_ASSERT(content.size() % kFrameAlignment == 0u);
  RecordReader reader(content, "f", Place::kEarlier, 0);
  Record record;
  RC_ASSERT(reader.Next(&record).value() == Outcome::kRecord);
  for (const raft::Entry& entry : entries) {
    RC_ASSERT(reader.Next(&record).value() == Outcome::kRecord);
    RC_ASSERT(std::string(record.data).ends_with(entry.data.view()));
  }
  RC_ASSERT(reader.Next(&record).value() == Outcome::kEnd);
  RC_ASSERT(reader.crc() == encoder.crc());
}

TEST(WalFrame, DoesNotCopyLargePayloads) {
  const raft::Entry entry = MakeEntry(1, 1, std::string(FrameEncoder::kBorrowBytes, 'x'));
  FrameEncoder encoder(0);
  encoder.AddEntry(entry);
  ASSERT_EQ(encoder.Pieces().size(), 3u);
  EXPECT_EQ(encoder.Pieces()[1].data(), entry.data.data());
}

/// Reads to the first thing that is no record.
absl::StatusOr<Outcome> ReadToEnd(std::string_view content, Place place, uint64_t* offset = nullptr) {
  RecordReader reader(content, "dir/f.wal", place, 0);
  for (Record record;;) {
    auto outcome = reader.Next(&record);
    if (outcome.ok() && *outcome == Outcome::kRecord) continue;
    if (offset != nullptr) *offset = reader.offset();
    return outcome;
  }
}

TEST(WalFrame, AFlippedBitIsNeverOverlooked) {
  const std::string good = GoldenBytes();
  for (size_t i = 0; i < good.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string bad = good;
      bad[i] = static_cast<char>(bad[i] ^ (1 << bit));
      RecordReader reader(bad, "f", Place::kEarlier, 0);
      std::string types;
      Record record;
      absl::StatusOr<Outcome> outcome;
      while ((outcome = reader.Next(&record)).ok() && *outcome == Outcome::kRecord) {
        types += static_cast<char>('0' + record.type);
      }
      // Types and padding are outside the checksum: types are checked against what they hold, one floor up.
      // A first record without a checksum is as good as with the checksum of nothing.
      const bool harmless = good[i] == 0 || i == 10;
      EXPECT_TRUE(!outcome.ok() || types != "41522335" || harmless) << i << "." << bit;
    }
  }
}

TEST(WalFrame, DamageIsNamedByFileAndOffset) {
  std::string bad = GoldenBytes();
  bad[16 + 20] ^= 1;  // in the metadata
  const auto outcome = ReadToEnd(bad, Place::kLast);
  EXPECT_TRUE(absl::IsDataLoss(outcome.status()));
  EXPECT_THAT(std::string(outcome.status().message()), HasSubstr("walpb: crc mismatch: expected: 27ddb8ed"));
  EXPECT_THAT(std::string(outcome.status().message()), HasSubstr("in file 'dir/f.wal' at position: 16"));
}

/// One long record after a short one, in a segment with zeros behind.
std::string LongRecord(uint64_t* offset, char fill = 'x') {
  FrameEncoder encoder(0);
  encoder.AddCrc();
  *offset = encoder.size_bytes();
  const raft::Entry entry = MakeEntry(1, 1, std::string(3000, fill));
  encoder.AddEntry(entry);
  return BytesOf(encoder) + std::string(2000, '\0');
}

struct TornCase {
  const char* name;
  std::function<void(std::string*)> damage;  // to LongRecord
  std::optional<Outcome> outcome;            // damage where not set
};

void ZeroSector(std::string* content, size_t sector) { content->replace(sector * 512, 512, 512, '\0'); }

class WalTorn : public ::testing::TestWithParam<TornCase> {};

// What an unfinished write leaves is told from damage.
TEST_P(WalTorn, IsTornOrDamaged) {
  uint64_t begin = 0, offset = 0;
  std::string content = LongRecord(&begin);
  GetParam().damage(&content);
  const auto last = ReadToEnd(content, Place::kLast, &offset);
  if (GetParam().outcome) {
    ASSERT_TRUE(last.ok()) << last.status();
    EXPECT_EQ(*last, *GetParam().outcome);
    if (*last == Outcome::kTorn) {
      EXPECT_EQ(offset, begin);
      EXPECT_TRUE(absl::IsDataLoss(ReadToEnd(content, Place::kEarlier).status()));
    }
  } else {
    EXPECT_TRUE(absl::IsDataLoss(last.status()));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Cases, WalTorn,
    ::testing::Values(
        TornCase{"Whole", [](std::string*) {}, Outcome::kEnd},
        TornCase{"FirstSectorOfTheBodyMissing", [](std::string* s) { ZeroSector(s, 1); }, Outcome::kTorn},
        TornCase{"LastSectorMissing", [](std::string* s) { ZeroSector(s, 5); }, Outcome::kTorn},
        TornCase{"AllButOneMissing",
                 [](std::string* s) {
                   for (size_t i : {1, 2, 4, 5}) ZeroSector(s, i);
                 },
                 Outcome::kTorn},
        TornCase{"FileEndsInTheLength", [](std::string* s) { s->resize(19); }, Outcome::kTorn},
        TornCase{"FileEndsAfterTheLength", [](std::string* s) { s->resize(24); }, Outcome::kTorn},
        TornCase{"FileEndsInTheHead", [](std::string* s) { s->resize(27); }, Outcome::kTorn},
        TornCase{"FileEndsInTheBody", [](std::string* s) { s->resize(1000); }, Outcome::kTorn},
        TornCase{"NothingButALength", [](std::string* s) { s->replace(24, s->size(), s->size() - 24, '\0'); },
                 Outcome::kTorn},
        TornCase{"NothingButAWrongLength",
                 [](std::string* s) {
                   s->replace(24, s->size(), s->size() - 24, '\0');
                   (*s)[22] = 5;
                 },
                 Outcome::kTorn},
        TornCase{"LengthLost", [](std::string* s) { s->replace(16, 8, 8, '\0'); }, std::nullopt},
        TornCase{"ByteFlipped", [](std::string* s) { (*s)[700] ^= 1; }, std::nullopt},
        TornCase{"ByteFlippedAndFileEnds",
                 [](std::string* s) {
                   (*s)[40] ^= 1;
                   s->resize(2500);
                 },
                 Outcome::kTorn},
        TornCase{"LengthGrewIntoTheZeros", [](std::string* s) { (*s)[17] ^= 0x04; }, std::nullopt},
        TornCase{"LengthGrewBeyondTheFile", [](std::string* s) { (*s)[19] ^= 0x40; }, std::nullopt},
        TornCase{"LengthShrank", [](std::string* s) { (*s)[17] ^= 0x01; }, std::nullopt},
        TornCase{"MarkOfPaddingFlipped", [](std::string* s) { (*s)[23] ^= 0x01; }, std::nullopt},
        TornCase{"SizeInTheHeadFlippedAndASectorMissing",
                 [](std::string* s) {
                   ZeroSector(s, 5);
                   (*s)[33] ^= 0x01;
                 },
                 std::nullopt}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(WalSegmentName, IsSequenceAndIndexInHex) {
  EXPECT_EQ(SegmentName(1, Index(0xabc)), "0000000000000001-0000000000000abc.wal");
  const auto segment = ParseSegmentName("000000000000000a-00000000000000ff.wal");
  ASSERT_TRUE(segment.has_value());
  EXPECT_EQ(segment->sequence, 10u);
  EXPECT_EQ(segment->index, Index(255));
  for (const char* bad : {"", ".wal", "0.tmp", "000000000000000a-00000000000000ff.wal.broken",
                          "000000000000000a_00000000000000ff.wal", "000000000000000g-00000000000000ff.wal",
                          "-00000000000000a-00000000000000ff.wal", "a-b.wal"}) {
    EXPECT_FALSE(ParseSegmentName(bad).has_value()) << bad;
  }
}

TEST(WalSegments, AreSelectedByIndexAndMustFollowOneAnother) {
  const auto segment = [](uint64_t sequence, uint64_t index) {
    return *ParseSegmentName(SegmentName(sequence, Index(index)));
  };
  const std::vector<Segment> all = {segment(3, 10), segment(4, 20), segment(5, 30)};
  EXPECT_EQ(SelectSegments(all, Index(10)).value().size(), 3u);
  EXPECT_EQ(SelectSegments(all, Index(20)).value().front().sequence, 4u);
  EXPECT_EQ(SelectSegments(all, Index(29)).value().size(), 2u);
  EXPECT_EQ(SelectSegments(all, Index(99)).value().size(), 1u);
  EXPECT_TRUE(absl::IsNotFound(SelectSegments(all, Index(9)).status()));
  const std::vector<Segment> gap = {segment(3, 10), segment(5, 30)};
  EXPECT_TRUE(absl::IsDataLoss(SelectSegments(gap, Index(10)).status()));
  EXPECT_TRUE(SelectSegments(gap, Index(30)).ok());
}

}  // namespace
}  // namespace kvorum::wal
