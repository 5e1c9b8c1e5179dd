#include "wal/wal.h"

#include "base/testing/fault_env.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "wal/testing.h"

namespace kvorum::wal {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Op = FaultEnv::Op;

constexpr char kFirstSegment[] = "wal/0000000000000000-0000000000000000.wal";

class WalLog : public WalFixture {};

TEST_F(WalLog, IsMadeWholeAndReadBack) {
  ASSERT_FALSE(Exists(env_, "wal"));
  Create();
  ASSERT_TRUE(Exists(env_, "wal"));
  EXPECT_FALSE(env_.Exists("wal.tmp"));
  EXPECT_THAT(Files(), ElementsAre("0000000000000000-0000000000000000.wal"));
  const Recovered recovered = Reopen();
  EXPECT_EQ(recovered.metadata, kMetadata);
  EXPECT_TRUE(recovered.hard_state.empty());
  EXPECT_TRUE(recovered.entries.empty());
}

TEST_F(WalLog, IsNotMadeTwice) {
  Create();
  wal_.reset();
  EXPECT_TRUE(absl::IsAlreadyExists(Wal::Create("wal", kMetadata, options_).status()));
}

TEST_F(WalLog, ReplacesWhatAnInterruptedCreateLeft) {
  ASSERT_TRUE(env_.CreateDirectories("wal.tmp", 0700).ok());
  env_.Put("wal.tmp/0000000000000000-0000000000000000.wal", "half");
  ASSERT_TRUE(env_.CreateDirectories("wal", 0700).ok());
  Create();
  EXPECT_EQ(Reopen().metadata, kMetadata);
}

TEST_F(WalLog, GivesBackWhatWasSaved) {
  Create();
  ASSERT_TRUE(Save(State(1, 7, 0), {MakeEntry(1, 1, "a"), MakeEntry(1, 2, std::nullopt)}).ok());
  ASSERT_TRUE(Save(State(2, 8, 2), {MakeEntry(2, 3, std::string(5000, 'b'))}).ok());
  const Recovered recovered = Reopen();
  EXPECT_EQ(recovered.hard_state, State(2, 8, 2));
  EXPECT_THAT(recovered.entries, ElementsAre(MakeEntry(1, 1, "a"), MakeEntry(1, 2, std::nullopt),
                                             MakeEntry(2, 3, std::string(5000, 'b'))));
}

TEST_F(WalLog, GoesOnAfterReopening) {
  Create();
  for (uint64_t i = 1; i <= 5; ++i) {
    ASSERT_TRUE(Save(State(1, 1, i), {MakeEntry(1, i, "x")}).ok());
    EXPECT_EQ(Reopen().entries.size(), i);
  }
}

TEST_F(WalLog, LaterEntriesReplaceEarlierOnes) {
  Create();
  ASSERT_TRUE(Save(State(1, 1, 1), {MakeEntry(1, 1, "a"), MakeEntry(1, 2, "b"), MakeEntry(1, 3, "c")}).ok());
  ASSERT_TRUE(Save(State(2, 1, 1), {MakeEntry(2, 2, "B")}).ok());
  EXPECT_THAT(Reopen().entries, ElementsAre(MakeEntry(1, 1, "a"), MakeEntry(2, 2, "B")));
}

// Larger than what is read at once; the rest of the segment is not read.
TEST_F(WalLog, ReadsLargeSegments) {
  options_.segment_size_bytes = uint64_t{16} << 20;
  Create();
  SaveMany(1, 5, 700'000);
  EXPECT_EQ(Reopen().entries.size(), 5u);
  env_.Flip(kFirstSegment, 10'000'000, 1);  // in the reserved space
  ASSERT_EQ(Reopen().entries.size(), 5u);
  EXPECT_EQ(env_.Get(kFirstSegment)[10'000'000], '\0');
  SaveMany(6, 6, 3'000'000);
  EXPECT_EQ(Reopen().entries.size(), 6u);
  wal_.reset();
  env_.Flip(kFirstSegment, 1'500'000, 1);
  EXPECT_TRUE(absl::IsDataLoss(ReadOnly("wal", SnapshotRecord(), options_).status()));
}

TEST_F(WalLog, RepairsATornLargeRecord) {
  options_.segment_size_bytes = uint64_t{16} << 20;
  Create();
  SaveMany(1, 1, 700'000);
  SaveMany(2, 2, 3'000'000);
  wal_.reset();
  std::string content = env_.Get(kFirstSegment);
  content.replace(512 * 4000, 512, 512, '\0');
  env_.Put(kFirstSegment, content);
  EXPECT_EQ(Reopen().entries.size(), 1u);
  EXPECT_EQ(env_.Get(std::string(kFirstSegment) + ".broken"), content);
}

TEST_F(WalLog, ManyBatchesCostOneWriteAndOneSync) {
  Create();
  const std::vector<raft::Entry> entries = {MakeEntry(1, 1, std::string(9000, 'a')), MakeEntry(1, 2, "b"),
                                            MakeEntry(1, 3, std::string(9000, 'c'))};
  const Batch batches[] = {{State(1, 1, 0), std::span(entries).subspan(0, 1)},
                           {State(1, 1, 1), std::span(entries).subspan(1, 1)},
                           {raft::HardState(), std::span(entries).subspan(2, 1)}};
  const uint64_t writes = env_.count(Op::kWrite), syncs = env_.count(Op::kSync);
  ASSERT_TRUE(wal_->Save(batches).ok());
  EXPECT_EQ(env_.count(Op::kWrite) - writes, 1u);
  EXPECT_EQ(env_.count(Op::kSync) - syncs, 1u);
  EXPECT_EQ(Reopen().entries, entries);
}

TEST_F(WalLog, WritesZerosOverNewBlocksAheadOfTheRecords) {
  Create();
  const std::string path(kFirstSegment);
  const auto byte_at = [&](uint64_t offset) { return env_.Get(path)[offset]; };
  constexpr uint64_t kNear = 100 << 10, kFar = 200 << 10;
  env_.Flip(path, kNear, 0x55);
  env_.Flip(path, kFar, 0x55);
  ASSERT_TRUE(Save(State(1, 1, 0), {MakeEntry(1, 1, "a")}).ok());
  EXPECT_EQ(byte_at(kNear), 0);
  EXPECT_EQ(byte_at(kFar), 0x55);
  env_.Flip(path, kNear, 0x55);
  ASSERT_TRUE(Save({}, {MakeEntry(1, 2, "b")}).ok());
  EXPECT_EQ(byte_at(kNear), 0x55) << "written twice";
  SaveMany(3, 150, 1000);
  EXPECT_EQ(byte_at(kFar), 0);
  EXPECT_EQ(Reopen().entries.size(), 150u);
}

TEST_F(WalLog, WritesNoZerosBehindTheSegmentOrALargeRecord) {
  Create();
  const std::string path(kFirstSegment);
  env_.Flip(path, 300 << 10, 0x55);
  ASSERT_TRUE(Save(State(1, 1, 0), {MakeEntry(1, 1, std::string(200 << 10, 'x'))}).ok());
  EXPECT_EQ(env_.Get(path)[300 << 10], 0x55);
  SaveMany(2, 80, 10'000);
  EXPECT_EQ(env_.FileSize(path).value(), options_.segment_size_bytes);
}

TEST_F(WalLog, ACommitIndexAloneIsWrittenAndNotSynced) {
  Create();
  ASSERT_TRUE(Save(State(1, 1, 0), {MakeEntry(1, 1, "a")}).ok());
  const uint64_t writes = env_.count(Op::kWrite), operations = env_.total_count();
  ASSERT_TRUE(Save(State(1, 1, 1), {}).ok());
  ASSERT_TRUE(Save({}, {}).ok());
  EXPECT_EQ(env_.count(Op::kWrite), writes + 1);
  EXPECT_EQ(env_.total_count(), operations + 1);
  EXPECT_EQ(Reopen().hard_state, State(1, 1, 1));
}

TEST_F(WalLog, ATermOrAVoteIsSynced) {
  Create();
  for (const raft::HardState& state : {State(1, 0, 0), State(1, 9, 0), State(2, 0, 0)}) {
    const uint64_t syncs = env_.count(Op::kSync);
    ASSERT_TRUE(Save(state, {}).ok());
    EXPECT_EQ(env_.count(Op::kSync), syncs + 1);
  }
}

TEST_F(WalLog, DoesNotSyncWhereToldNotTo) {
  options_.unsafe_no_fsync = true;
  Create();
  const uint64_t syncs = env_.count(Op::kSync);
  ASSERT_TRUE(Save(State(1, 1, 0), {MakeEntry(1, 1, "a")}).ok());
  ASSERT_TRUE(wal_->Sync().ok());
  EXPECT_EQ(env_.count(Op::kSync), syncs);
  EXPECT_EQ(Reopen().entries.size(), 1u);
}

TEST_F(WalLog, CutsWhereASegmentIsFull) {
  options_.segment_size_bytes = 4096;
  Create();
  SaveMany(1, 20, 1000);
  EXPECT_THAT(Files(),
              ElementsAre("0000000000000000-0000000000000000.wal", "0000000000000001-0000000000000005.wal",
                          "0000000000000002-0000000000000009.wal", "0000000000000003-000000000000000d.wal",
                          "0000000000000004-0000000000000011.wal"));
  // A full segment ends with its last record.
  EXPECT_EQ(env_.Get("wal/0000000000000000-0000000000000000.wal").size() % 8, 0u);
  EXPECT_LT(env_.Get("wal/0000000000000000-0000000000000000.wal").size(), 4096u + 1100);
  EXPECT_EQ(Reopen().entries.size(), 20u);
  SaveMany(21, 40, 1000);
  EXPECT_EQ(Reopen().entries.size(), 40u);
  EXPECT_EQ(Reopen().hard_state, State(1, 1, 40));
}

TEST_F(WalLog, ALaterSegmentBeginsAsEtcds) {
  options_.segment_size_bytes = 4096;
  Create();
  SaveMany(1, 5, 1000);
  const std::string content = env_.Get("wal/0000000000000001-0000000000000005.wal");
  RecordReader reader(content, "f", RecordReader::Place::kLast, 0);
  Record record;
  for (const int64_t type : {4, 1, 3, 2, 3}) {
    ASSERT_EQ(reader.Next(&record).value(), RecordReader::Outcome::kRecord);
    EXPECT_EQ(record.type, type);
  }
}

TEST_F(WalLog, UsesTheSegmentMadeAheadOfNeed) {
  options_.segment_size_bytes = 8192;
  Create();
  EXPECT_FALSE(wal_->WantsNextSegment());
  SaveMany(1, 5, 1000);
  EXPECT_TRUE(wal_->WantsNextSegment());
  const std::atomic<bool> stop{false};
  wal_->PrepareNextSegment(stop);
  EXPECT_FALSE(wal_->WantsNextSegment());
  EXPECT_EQ(env_.Get("wal/0.tmp"), std::string(8192, '\0'));
  const uint64_t allocations = env_.count(Op::kAllocate);
  SaveMany(6, 10, 1000);
  EXPECT_EQ(env_.count(Op::kAllocate), allocations);
  EXPECT_EQ(Files().size(), 2u);
  wal_->PrepareNextSegment(stop);
  EXPECT_TRUE(env_.Exists("wal/1.tmp"));
  EXPECT_EQ(Reopen().entries.size(), 10u);
  EXPECT_FALSE(env_.Exists("wal/1.tmp"));
}

TEST_F(WalLog, CutsThoughNoSegmentCouldBeMadeAhead) {
  options_.segment_size_bytes = 4096;
  Create();
  SaveMany(1, 4, 1000);
  env_.FailNth(Op::kAllocate, 0, absl::ResourceExhaustedError("full"));
  wal_->PrepareNextSegment(false);
  SaveMany(5, 5, 1000);
  EXPECT_EQ(Files().size(), 2u);
  EXPECT_EQ(Reopen().entries.size(), 5u);
}

TEST_F(WalLog, TruncatesAnOldPipelineFile) {
  options_.segment_size_bytes = 4096;
  Create();
  env_.Put("wal/0.tmp", std::string(9000, 'g'));
  SaveMany(1, 5, 1000);
  EXPECT_EQ(Reopen().entries.size(), 5u);
}

TEST_F(WalLog, VouchesForSnapshotsUpToItsCommitIndex) {
  Create();
  SaveMany(1, 10, 10);
  ASSERT_TRUE(wal_->SaveSnapshot(Snap(5, 1)).ok());
  ASSERT_TRUE(wal_->SaveSnapshot(Snap(12, 1)).ok());
  wal_.reset();
  EXPECT_THAT(ValidSnapshots("wal", options_).value(), ElementsAre(SnapshotRecord(), Snap(5, 1)));
}

TEST_F(WalLog, OpensAfterASnapshot) {
  Create();
  SaveMany(1, 10, 10);
  ASSERT_TRUE(wal_->SaveSnapshot(Snap(7, 1)).ok());
  SaveMany(11, 12, 10);
  const Recovered recovered = Reopen(Snap(7, 1));
  ASSERT_EQ(recovered.entries.size(), 5u);
  EXPECT_EQ(recovered.entries.front().index, raft::Index(8));
}

TEST_F(WalLog, RefusesASnapshotThatItHasNot) {
  Create();
  SaveMany(1, 10, 10);
  ASSERT_TRUE(wal_->SaveSnapshot(Snap(7, 1)).ok());
  wal_.reset();
  EXPECT_TRUE(absl::IsNotFound(Wal::Open("wal", Snap(8, 1), options_).status()));
  EXPECT_TRUE(absl::IsNotFound(ReadOnly("wal", Snap(8, 1), options_).status()));
  const auto mismatch = Wal::Open("wal", Snap(7, 2), options_);
  EXPECT_THAT(std::string(mismatch.status().message()), HasSubstr("snapshot mismatch"));
  EXPECT_TRUE(absl::IsNotFound(Wal::Open("none", SnapshotRecord(), options_).status()));
}

// A snapshot from the leader, the entries after it and the state come in one batch.
TEST_F(WalLog, TakesASnapshotThatJumpsOverEntries) {
  Create();
  SaveMany(1, 3, 10);
  const SnapshotRecord snapshot = Snap(100, 2);
  const std::vector<raft::Entry> entries = {MakeEntry(2, 101, "x")};
  const Batch batch = {State(2, 1, 101), entries, &snapshot};
  ASSERT_TRUE(wal_->Save(std::span(&batch, 1)).ok());
  const Recovered recovered = Reopen(snapshot);
  EXPECT_EQ(recovered.entries, entries);
  EXPECT_EQ(recovered.hard_state, State(2, 1, 101));
  wal_.reset();
  EXPECT_THAT(ValidSnapshots("wal", options_).value(), ElementsAre(SnapshotRecord(), snapshot));
}

// What is behind a snapshot of the leader counts only where the log agreed with it.
TEST_F(WalLog, ASnapshotEndsALogThatDiffersFromIt) {
  Create();
  SaveMany(1, 5, 10);
  const SnapshotRecord snapshot = Snap(3, 2);
  const Batch batch = {State(2, 1, 3), {}, &snapshot};
  ASSERT_TRUE(wal_->Save(std::span(&batch, 1)).ok());
  EXPECT_TRUE(Reopen(snapshot).entries.empty());
  ASSERT_TRUE(Save(State(2, 1, 3), {MakeEntry(2, 4, "x")}).ok());
  EXPECT_THAT(Reopen(snapshot).entries, ElementsAre(MakeEntry(2, 4, "x")));
}

// Entries 4 and 5 were replaced when 2 was, though the log is read from 3 on.
TEST_F(WalLog, WhatWasReplacedBeforeTheStartStaysAway) {
  Create();
  SaveMany(1, 5, 10);
  ASSERT_TRUE(Save(State(2, 1, 1), {MakeEntry(2, 2, "B"), MakeEntry(2, 3, "C")}).ok());
  ASSERT_TRUE(Save(State(2, 1, 3), {}).ok());
  ASSERT_TRUE(wal_->SaveSnapshot(Snap(3, 2)).ok());
  EXPECT_TRUE(Reopen(Snap(3, 2)).entries.empty());
}

TEST_F(WalLog, ReadsWithoutLockingOrChanging) {
  Create();
  SaveMany(1, 3, 10);
  const uint64_t operations = env_.total_count();
  EXPECT_EQ(ReadOnly("wal", SnapshotRecord(), options_).value().entries.size(), 3u);
  EXPECT_EQ(env_.total_count(), operations);
}

TEST_F(WalLog, IsHeldByOne) {
  Create();
  EXPECT_TRUE(absl::IsUnavailable(Wal::Open("wal", SnapshotRecord(), options_).status()));
}

TEST_F(WalLog, PurgesWhatIsReleased) {
  options_.segment_size_bytes = 4096;
  Create();
  SaveMany(1, 20, 1000);
  ASSERT_EQ(Files().size(), 5u);
  EXPECT_TRUE(Purge(env_, "wal", 1).value().empty());  // all are in use
  // Segments begin at 0, 5, 9, 13 and 17: the newest that begins before 13 stays.
  ASSERT_TRUE(wal_->ReleaseTo(raft::Index(13)).ok());
  EXPECT_TRUE(Purge(env_, "wal", 0).value().empty());
  EXPECT_THAT(Purge(env_, "wal", 4).value(), ElementsAre("0000000000000000-0000000000000000.wal"));
  EXPECT_THAT(Purge(env_, "wal", 1).value(), ElementsAre("0000000000000001-0000000000000005.wal"));
  EXPECT_EQ(Files().size(), 3u);
  ASSERT_TRUE(wal_->ReleaseTo(raft::Index(1000)).ok());
  EXPECT_EQ(Purge(env_, "wal", 1).value().size(), 2u);
  SaveMany(21, 22, 10);
}

TEST_F(WalLog, RefusesAMissingSegment) {
  options_.segment_size_bytes = 4096;
  Create();
  SaveMany(1, 12, 1000);
  wal_.reset();
  ASSERT_TRUE(env_.RemoveFile("wal/0000000000000001-0000000000000005.wal").ok());
  const auto opened = Wal::Open("wal", SnapshotRecord(), options_);
  EXPECT_TRUE(absl::IsDataLoss(opened.status())) << opened.status();
}

// Type bytes are outside the checksum: entry and state records that swap places do not pass for one another.
TEST_F(WalLog, RefusesARecordOfAnotherType) {
  Create();
  ASSERT_TRUE(Save(State(3, 7, 1), {MakeEntry(3, 1, "a")}).ok());
  wal_.reset();
  const std::string path = "wal/0000000000000000-0000000000000000.wal";
  const std::string good = env_.Get(path);
  size_t changed = 0;
  for (size_t i = 8; i + 1 < good.size(); ++i) {
    // Type fields of records: 08 <type> 10 after a length.
    if (i % 8 != 0 || good[i] != 0x08 || good[i + 2] != 0x10) continue;
    for (uint8_t type = 0; type < 8; ++type) {
      if (type == good[i + 1]) continue;
      std::string bad = good;
      bad[i + 1] = static_cast<char>(type);
      env_.Put(path, bad);
      const auto opened = ReadOnly("wal", SnapshotRecord(), options_);
      const bool same = opened.ok() && opened->metadata == kMetadata &&
                        opened->hard_state == State(3, 7, 1) && opened->entries.size() == 1;
      EXPECT_TRUE(same || !opened.ok()) << i << " as type " << int{type};
      ++changed;
    }
  }
  EXPECT_GE(changed, 5u * 7);
}

TEST_F(WalLog, CountsWhatItWrites) {
  metrics::Registry registry;
  options_.metrics = &registry;
  Create();
  ASSERT_TRUE(Save({}, {MakeEntry(1, 1, "abc")}).ok());
  const std::string text = registry.Text();
  EXPECT_THAT(
      text, HasSubstr("# TYPE etcd_disk_wal_write_bytes_total gauge\netcd_disk_wal_write_bytes_total 32\n"));
  EXPECT_THAT(text, HasSubstr("etcd_disk_wal_fsync_duration_seconds_count 1\n"));
  EXPECT_THAT(text, HasSubstr("etcd_disk_wal_write_duration_seconds_count 1\n"));
  EXPECT_THAT(text, HasSubstr("etcd_disk_wal_write_duration_seconds_bucket{le=\"8.192\"} 1\n"));
}

struct FailureCase {
  const char* name;
  Op op;
  absl::Status error;
};

class WalFailure : public WalFixture, public ::testing::WithParamInterface<FailureCase> {};

// The error comes back for ever, and the file is not touched again.
TEST_P(WalFailure, IsFinal) {
  Create();
  SaveMany(1, 3, 100);
  env_.FailNth(GetParam().op, 0, GetParam().error);
  EXPECT_EQ(Save(State(1, 1, 4), {MakeEntry(1, 4, "x")}), GetParam().error);
  const uint64_t operations = env_.total_count();
  EXPECT_EQ(Save(State(1, 1, 5), {MakeEntry(1, 5, "x")}), GetParam().error);
  EXPECT_EQ(wal_->SaveSnapshot(Snap(1, 1)), GetParam().error);
  EXPECT_EQ(wal_->Sync(), GetParam().error);
  wal_.reset();
  EXPECT_EQ(env_.total_count(), operations);
  env_.Crash(FaultEnv::KeepNothing());
  EXPECT_EQ(Reopen().entries.size(), 3u);
}

INSTANTIATE_TEST_SUITE_P(
    Cases, WalFailure,
    ::testing::Values(FailureCase{"WriteENOSPC", Op::kWrite, absl::ResourceExhaustedError("ENOSPC")},
                      FailureCase{"WriteEIO", Op::kWrite, absl::InternalError("EIO")},
                      FailureCase{"SyncEIO", Op::kSync, absl::InternalError("EIO")},
                      FailureCase{"SyncENOSPC", Op::kSync, absl::ResourceExhaustedError("ENOSPC")}),
    [](const auto& info) { return std::string(info.param.name); });

// Every operation of Create may fail: it says so, and a second attempt works.
TEST_F(WalLog, CreateFailsCleanly) {
  Create();
  wal_.reset();
  const uint64_t operations = env_.total_count();
  for (uint64_t i = 0; i < operations; ++i) {
    FaultEnv env;
    Options options = options_;
    options.env = &env;
    env.StopAfter(i);
    EXPECT_FALSE(Wal::Create("wal", kMetadata, options).ok()) << i;
    env.Crash(FaultEnv::KeepEverything());
    if (Exists(env, "wal")) {
      EXPECT_TRUE(Wal::Open("wal", SnapshotRecord(), options).ok()) << i;
    } else {
      EXPECT_TRUE(Wal::Create("wal", kMetadata, options).ok()) << i;
    }
  }
}

}  // namespace
}  // namespace kvorum::wal
