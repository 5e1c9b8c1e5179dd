#include "snap/snapshotter.h"

#include <fstream>
#include <iterator>

#include "absl/strings/escaping.h"
#include "base/testing/fault_env.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "raft/codec.h"

namespace kvorum::snap {
namespace {

using raft::Index;
using raft::NodeId;
using raft::Term;
using ::testing::ElementsAre;
using testing::FaultEnv;
using ::testing::HasSubstr;

raft::Snapshot MakeSnapshot(uint64_t term, uint64_t index, std::string_view data = "{}") {
  raft::Snapshot snapshot;
  snapshot.data = Bytes::Copy(data);
  snapshot.metadata.term = Term(term);
  snapshot.metadata.index = Index(index);
  snapshot.metadata.conf_state.voters = {NodeId(2), NodeId(3)};
  return snapshot;
}

class SnapSnapshotter : public ::testing::Test {
 protected:
  SnapSnapshotter() {
    EXPECT_TRUE(env_.CreateDirectories("snap", 0700).ok());
    EXPECT_TRUE(env_.SyncDirectory("").ok());
  }
  std::vector<std::string> Names() { return env_.ListDirectory("snap").value(); }
  void Save(uint64_t term, uint64_t index) { ASSERT_TRUE(snapshotter_.Save(MakeSnapshot(term, index)).ok()); }
  uint64_t NewestIndex() {
    const auto snapshot = snapshotter_.LoadNewest();
    return snapshot.ok() ? snapshot->metadata.index.value() : 0;
  }

  FaultEnv env_;
  Snapshotter snapshotter_{&env_, "snap", &NullLogger(), nullptr};
};

constexpr std::string_view kName12 = "0000000000000001-0000000000000002.snap";

// Reference: wal-and-snap.md §3.1, bytes of the real code.
TEST(SnapFile, HasTheFormatOfEtcd) {
  const std::string golden = absl::HexStringToBytes("0884e7afb20712120a027b7d120c0a0608020803280010021801");
  EXPECT_EQ(absl::BytesToHexString(EncodeFile(MakeSnapshot(1, 2))), absl::BytesToHexString(golden));
  const auto decoded = DecodeFile(golden);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(*decoded, MakeSnapshot(1, 2));
}

TEST(SnapFile, IsReadAndWrittenAsEtcd34Does) {
  const std::string name = "/etcd-3.4/0000000000000002-000000000000000b.snap";
  std::ifstream file(KVORUM_TESTDATA + name, std::ios::binary);
  ASSERT_TRUE(file.is_open());
  const std::string content(std::istreambuf_iterator<char>(file), {});
  const auto snapshot = DecodeFile(content);
  ASSERT_TRUE(snapshot.ok()) << snapshot.status();
  EXPECT_EQ(snapshot->metadata.index, Index(11));
  EXPECT_EQ(snapshot->metadata.term, Term(2));
  EXPECT_THAT(snapshot->metadata.conf_state.voters, ElementsAre(NodeId(0x26254f5a29e61145)));
  EXPECT_THAT(std::string(snapshot->data.view()), HasSubstr("/0/members/26254f5a29e61145/raftAttributes"));
  EXPECT_EQ(EncodeFile(*snapshot), content);
}

TEST(SnapFile, RefusesEmptyFiles) {
  for (const std::string content : {"", "0800", "08011200", "0800120101", "120101"}) {
    const auto decoded = DecodeFile(absl::HexStringToBytes(content));
    EXPECT_EQ(decoded.status(), absl::DataLossError("snap: empty snapshot")) << content;
  }
}

TEST(SnapFile, RefusesEveryFlippedBitAndEveryCut) {
  const std::string good = EncodeFile(MakeSnapshot(7, 9, "some data"));
  for (size_t i = 0; i < good.size(); ++i) {
    EXPECT_TRUE(absl::IsDataLoss(DecodeFile(good.substr(0, i)).status())) << i;
    for (int bit = 0; bit < 8; ++bit) {
      std::string bad = good;
      bad[i] = static_cast<char>(bad[i] ^ (1 << bit));
      const auto decoded = DecodeFile(bad);
      EXPECT_TRUE(absl::IsDataLoss(decoded.status())) << i << " " << bit;
    }
  }
}

TEST(SnapFile, RefusesAWholeChecksumOfNoSnapshot) {
  // crc32c("\xff") = 0xff000000
  const auto decoded =
      DecodeFile(absl::HexStringToBytes("088080"
                                        "80f80f1201ff"));
  EXPECT_TRUE(absl::IsDataLoss(decoded.status()));
  EXPECT_THAT(std::string(decoded.status().message()), HasSubstr("malformed raftpb.Snapshot"));
}

TEST_F(SnapSnapshotter, SavesUnderTermAndIndex) {
  Save(1, 2);
  EXPECT_THAT(Names(), ElementsAre(kName12));
  EXPECT_EQ(env_.Get("snap/" + std::string(kName12)), EncodeFile(MakeSnapshot(1, 2)));
}

TEST_F(SnapSnapshotter, DoesNotSaveTheEmptySnapshot) {
  EXPECT_TRUE(snapshotter_.Save(raft::Snapshot()).ok());
  EXPECT_TRUE(Names().empty());
}

TEST_F(SnapSnapshotter, WhatWasSavedSurvivesACrash) {
  Save(1, 2);
  env_.Crash(FaultEnv::KeepNothing());
  EXPECT_EQ(NewestIndex(), 2u);
}

// At every operation of a save, with nothing and with everything kept: the old snapshot or the new one.
TEST_F(SnapSnapshotter, ACrashDuringASaveLeavesOneOfTheTwo) {
  Save(1, 2);
  const uint64_t before = env_.total_count();
  Save(1, 3);
  const uint64_t operations = env_.total_count() - before;
  ASSERT_GE(operations, 5u);
  for (uint64_t stop = 0; stop < operations; ++stop) {
    for (const bool keep : {false, true}) {
      FaultEnv env;
      ASSERT_TRUE(env.CreateDirectories("snap", 0700).ok());
      ASSERT_TRUE(env.SyncDirectory("").ok());
      Snapshotter snapshotter(&env, "snap", &NullLogger(), nullptr);
      ASSERT_TRUE(snapshotter.Save(MakeSnapshot(1, 2)).ok());
      env.StopAfter(stop);
      EXPECT_FALSE(snapshotter.Save(MakeSnapshot(1, 3)).ok());
      env.Crash(keep ? FaultEnv::KeepEverything() : FaultEnv::KeepNothing());
      const auto loaded = snapshotter.LoadNewest();
      ASSERT_TRUE(loaded.ok()) << loaded.status() << " at " << stop;
      EXPECT_GE(loaded->metadata.index, Index(2));
      const std::vector<std::string> names = env.ListDirectory("snap").value();
      for (const std::string& name : names) {
        EXPECT_TRUE(name.ends_with(".snap")) << name;
      }
    }
  }
}

TEST_F(SnapSnapshotter, ReportsAFullDiskAndLeavesNothing) {
  env_.FailNth(FaultEnv::Op::kWrite, 0, absl::ResourceExhaustedError("no space"));
  EXPECT_TRUE(absl::IsResourceExhausted(snapshotter_.Save(MakeSnapshot(1, 2))));
  EXPECT_TRUE(Names().empty());
}

TEST_F(SnapSnapshotter, ReportsAFailedSync) {
  env_.FailNth(FaultEnv::Op::kSync, 0, absl::InternalError("EIO"));
  EXPECT_TRUE(absl::IsInternal(snapshotter_.Save(MakeSnapshot(1, 2))));
  EXPECT_TRUE(Names().empty());
}

TEST_F(SnapSnapshotter, LoadsTheNewestByTermThenIndex) {
  Save(1, 500);
  Save(2, 20);
  Save(2, 3);
  EXPECT_EQ(NewestIndex(), 20u);
}

TEST_F(SnapSnapshotter, SetsBrokenFilesAside) {
  Save(1, 2);
  env_.Put("snap/0000000000000001-0000000000000003.snap", "garbage");
  env_.Put("snap/0000000000000001-0000000000000004.snap", "");
  EXPECT_EQ(NewestIndex(), 2u);
  EXPECT_THAT(Names(), ElementsAre(kName12, "0000000000000001-0000000000000003.snap.broken",
                                   "0000000000000001-0000000000000004.snap.broken"));
}

TEST_F(SnapSnapshotter, LoadsOnlyWhatTheLogVouchesFor) {
  Save(1, 2);
  Save(1, 3);
  Save(2, 4);
  const Snapshotter::Position vouched[] = {{Term(0), Index(0)}, {Term(1), Index(3)}, {Term(1), Index(4)}};
  EXPECT_EQ(snapshotter_.LoadNewest(vouched).value().metadata.index, Index(3));
  EXPECT_EQ(snapshotter_.LoadNewest(std::span(vouched, 1)).status(),
            absl::NotFoundError("snap: no available snapshot"));
  EXPECT_EQ(Names().size(), 3u);
}

TEST_F(SnapSnapshotter, LoadingRemovesLeftoversAndNothingElse) {
  Save(1, 2);
  for (const char* name : {"tmp123", "db.tmp.1", "db", "0000000000000002.snap.db", "other"}) {
    env_.Put("snap/" + std::string(name), "x");
  }
  EXPECT_EQ(NewestIndex(), 2u);
  EXPECT_THAT(Names(), ElementsAre(kName12, "0000000000000002.snap.db", "db", "other"));
}

TEST_F(SnapSnapshotter, PurgesTheOldestOfEachKind) {
  for (uint64_t i = 1; i <= 4; ++i) {
    Save(1, i);
    env_.Put("snap/000000000000000" + std::to_string(i) + ".snap.db", "x");
  }
  ASSERT_TRUE(snapshotter_.Purge(0).ok());
  EXPECT_EQ(Names().size(), 8u);
  ASSERT_TRUE(snapshotter_.Purge(2).ok());
  EXPECT_THAT(Names(),
              ElementsAre("0000000000000001-0000000000000003.snap", "0000000000000001-0000000000000004.snap",
                          "0000000000000003.snap.db", "0000000000000004.snap.db"));
}

TEST_F(SnapSnapshotter, ReleasesTheDatabasesOfOlderSnapshots) {
  for (const char* name : {"000000000000000a.snap.db", "000000000000000b.snap.db", "odd.snap.db"}) {
    env_.Put("snap/" + std::string(name), "x");
  }
  ASSERT_TRUE(snapshotter_.ReleaseDatabases(Index(11)).ok());
  EXPECT_THAT(Names(), ElementsAre("000000000000000b.snap.db", "odd.snap.db"));
}

TEST_F(SnapSnapshotter, CountsSaves) {
  metrics::Registry registry;
  Snapshotter snapshotter(&env_, "snap", &NullLogger(), &registry);
  ASSERT_TRUE(snapshotter.Save(MakeSnapshot(1, 2)).ok());
  for (const char* name :
       {"etcd_snap_fsync_duration_seconds", "etcd_debugging_snap_save_total_duration_seconds",
        "etcd_debugging_snap_save_marshalling_duration_seconds"}) {
    EXPECT_THAT(registry.Text(), HasSubstr(std::string(name) + "_count 1\n"));
  }
}

}  // namespace
}  // namespace kvorum::snap
