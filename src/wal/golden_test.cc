// Files written by etcd 3.4.23, cut off behind their last record; see testdata/README.md.

#include <fstream>
#include <iterator>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "raft/codec.h"
#include "wal/testing.h"

namespace kvorum::wal {
namespace {

using raft::Index;
using raft::NodeId;
using raft::Term;
using ::testing::HasSubstr;

constexpr char kName[] = "0000000000000000-0000000000000000.wal";

class WalGolden : public WalFixture {
 protected:
  WalGolden() {
    std::ifstream file(std::string(KVORUM_TESTDATA) + "/etcd-3.4/" + kName, std::ios::binary);
    EXPECT_TRUE(file.is_open());
    content_ = std::string(std::istreambuf_iterator<char>(file), {});
    EXPECT_TRUE(env_.CreateDirectories("wal", 0700).ok());
    env_.Put(std::string("wal/") + kName, content_);
  }
  std::string content_;
};

TEST_F(WalGolden, IsRead) {
  const auto read = ReadOnly("wal", SnapshotRecord(), options_);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->metadata, (Metadata{0x26254f5a29e61145, 0xea4da8f0e95ffc35}));
  EXPECT_EQ(read->hard_state, State(2, 0x26254f5a29e61145, 19));
  ASSERT_EQ(read->entries.size(), 19u);
  EXPECT_EQ(read->entries[0].type, raft::EntryType::kConfChange);
  EXPECT_THAT(std::string(raft::DecodeConfChange(read->entries[0].data.view()).value().context.view()),
              HasSubstr(R"({"id":2748690396248150341,"peerURLs":["http://127.0.0.1:)"));
  EXPECT_TRUE(read->entries[1].data.is_null());
  EXPECT_THAT(std::string(read->entries[18].data.view()), HasSubstr("value15"));
}

TEST_F(WalGolden, VouchesForTheSnapshotOfItsTime) {
  const SnapshotRecord snapshot = {Index(11), Term(2)};  // etcd 3.4 wrote no conf state here
  EXPECT_THAT(ValidSnapshots("wal", options_).value(), ::testing::ElementsAre(SnapshotRecord(), snapshot));
  EXPECT_EQ(ReadOnly("wal", snapshot, options_).value().entries.size(), 8u);
}

// Written again by us, record by record, it is the same file.
TEST_F(WalGolden, IsWrittenByteForByte) {
  FrameEncoder encoder(0);
  std::vector<raft::Entry> entries;
  entries.reserve(100);
  RecordReader reader(content_, kName, RecordReader::Place::kLast, 0);
  for (Record record; *reader.Next(&record) == RecordReader::Outcome::kRecord;) {
    switch (static_cast<RecordType>(record.type)) {
      case RecordType::kCrc:
        encoder.AddCrc();
        break;
      case RecordType::kMetadata:
        encoder.AddMetadata(EncodeMetadata({0x26254f5a29e61145, 0xea4da8f0e95ffc35}));
        break;
      case RecordType::kEntry:
        encoder.AddEntry(entries.emplace_back(raft::DecodeEntry(record.data).value()));
        break;
      case RecordType::kState:
        encoder.AddState(raft::DecodeHardState(record.data).value());
        break;
      case RecordType::kSnapshot:
        encoder.AddSnapshot(entries.empty() ? SnapshotRecord() : SnapshotRecord{Index(11), Term(2)});
        break;
    }
  }
  const std::string written = fmt::format("{}", fmt::join(encoder.Pieces(), ""));
  EXPECT_EQ(written, content_.substr(0, written.size()));
  EXPECT_EQ(content_.find_first_not_of('\0', written.size()), std::string::npos);
}

TEST_F(WalGolden, IsContinued) {
  Reopen();
  ASSERT_TRUE(Save(State(3, 1, 20), {MakeEntry(3, 20, "ours")}).ok());
  const Recovered recovered = Reopen(SnapshotRecord{Index(11), Term(2)});
  EXPECT_EQ(recovered.entries.size(), 9u);
  EXPECT_EQ(recovered.hard_state, State(3, 1, 20));
}

}  // namespace
}  // namespace kvorum::wal
