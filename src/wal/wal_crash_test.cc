// What a crash, a full disk, a failing disk or a flipped bit may do to the log: what was acknowledged is
// there, what is damaged is refused, and nothing else is possible.

#include <functional>
#include <variant>

#include "base/random.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "wal/testing.h"

namespace kvorum::wal {
namespace {

using Op = FaultEnv::Op;

constexpr uint64_t kSegmentBytes = 4096;

/// What a reader gets.
struct Content {
  std::vector<raft::Entry> entries;
  raft::HardState state;

  bool operator==(const Content&) const = default;
};

using Change = std::variant<raft::Entry, raft::HardState>;

void Apply(const Change& change, Content* content) {
  if (const auto* state = std::get_if<raft::HardState>(&change)) {
    content->state = *state;
    return;
  }
  const auto& entry = std::get<raft::Entry>(change);
  content->entries.resize(entry.index.value() - 1);
  content->entries.push_back(entry);
}

/// A log that is written by a fixed script, and everything that a reader may find of it.
class Script {
 public:
  explicit Script(FaultEnv* env) : options_{.env = env, .segment_size_bytes = kSegmentBytes} {}

  const Options& options() const { return options_; }

  /// Writes until the first error; true where there was none.
  bool Run() {
    if (auto wal = Wal::Create("wal", kMetadata, options_); wal.ok()) {
      wal_ = *std::move(wal);
    } else {
      return false;
    }
    created_ = true;
    return Steps();
  }
  void Close() { wal_.reset(); }

  bool created() const { return created_; }

  /// The states that are allowed: from what was acknowledged to what was tried, change by change.
  bool Allows(const Content& found) const {
    Content content;
    for (size_t i = 0; i <= changes_.size(); ++i) {
      if (i >= acknowledged_ && content == found) return true;
      if (i < changes_.size()) Apply(changes_[i], &content);
    }
    return false;
  }
  Content Final() const {
    Content content;
    for (const Change& change : changes_) Apply(change, &content);
    return content;
  }

 private:
  bool Steps() {
    Random random(1);
    bool good = Save({{State(1, 0, 0), {}}}, true);
    // Small and large, one and many, with and without payload, over several segments.
    for (uint64_t size : {0, 1, 500, 513, 1500, 2100, 3000, 17, 40, 900, 2500, 8}) {
      if (!good) return false;
      good = Save({{State(1, 0, next_ - 1), Entries(1, 1, size)}}, true) &&
             Save({{State(1, 0, next_ - 1), {}}}, false);
      if (good && random.OneIn(1, 3)) wal_->PrepareNextSegment(false);
    }
    good = good && Save({{State(1, 0, next_ - 1), Entries(1, 3, 700)},
                         {State(1, 0, next_ - 1), Entries(1, 2, 5)},
                         {raft::HardState(), Entries(1, 1, 2300)}},
                        true);
    // A new leader replaces the last entries.
    next_ -= 2;
    good = good && Save({{State(2, 3, next_ - 1), Entries(2, 2, 1200)}}, true);
    return good && Save({{State(3, 0, next_ - 1), {}}}, true);
  }

  std::vector<raft::Entry> Entries(uint64_t term, int count, size_t size) {
    std::vector<raft::Entry> entries;
    for (int i = 0; i < count; ++i, ++next_) {
      entries.push_back(MakeEntry(term, next_, std::string(size, static_cast<char>('a' + next_ % 26)) + "."));
    }
    return entries;
  }

  struct Step {
    raft::HardState state;
    std::vector<raft::Entry> entries;
  };
  bool Save(const std::vector<Step>& steps, bool is_synced) {
    std::vector<Batch> batches;
    for (const Step& step : steps) {
      batches.push_back({step.state, step.entries});
      for (const raft::Entry& entry : step.entries) changes_.push_back(entry);
      if (!step.state.empty()) changes_.push_back(step.state);
    }
    const bool good = wal_->Save(batches).ok();
    if (good && is_synced) acknowledged_ = changes_.size();
    return good;
  }

  const Options options_;
  std::unique_ptr<Wal> wal_;
  bool created_ = false;
  uint64_t next_ = 1;
  std::vector<Change> changes_;
  size_t acknowledged_ = 0;
};

/// Opens what is there and checks it; goes on writing and checks that too.
void CheckRecovers(const Script& script) {
  auto opened = Wal::Open("wal", SnapshotRecord(), script.options());
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_EQ(opened->recovered.metadata, kMetadata);
  const Content found = {opened->recovered.entries, opened->recovered.hard_state};
  ASSERT_TRUE(script.Allows(found)) << found.entries.size() << " entries, commit "
                                    << found.state.commit.value();

  Content expected = found;
  for (int i = 0; i < 4; ++i) {
    const std::vector<raft::Entry> entries = {
        MakeEntry(9, expected.entries.size() + 1, std::string(1500, 'z'))};
    const Batch batch = {State(9, 9, 1), entries};
    ASSERT_TRUE(opened->wal->Save(std::span(&batch, 1)).ok());
    Apply(entries[0], &expected);
    Apply(batch.hard_state, &expected);
  }
  opened->wal.reset();
  const auto again = Wal::Open("wal", SnapshotRecord(), script.options());
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->recovered.entries, expected.entries);
  EXPECT_EQ(again->recovered.hard_state, expected.state);
}

struct CrashCase {
  const char* name;
  std::function<FaultEnv::Keep(uint64_t stop)> keep;
};

FaultEnv::Keep Sectors(std::function<bool(uint64_t)> sector) {
  FaultEnv::Keep keep = FaultEnv::KeepEverything();
  keep.sector = std::move(sector);
  return keep;
}

class WalCrash : public ::testing::TestWithParam<CrashCase> {};

uint64_t OperationsOfTheScript() {
  FaultEnv env;
  Script script(&env);
  EXPECT_TRUE(script.Run());
  script.Close();
  return env.total_count();
}

// The machine stops at every operation in turn; what the disk has kept by then is the row.
TEST_P(WalCrash, LosesNothingThatWasAcknowledged) {
  const uint64_t operations = OperationsOfTheScript();
  ASSERT_GT(operations, 60u);
  for (uint64_t stop = 0; stop <= operations; ++stop) {
    SCOPED_TRACE(stop);
    FaultEnv env;
    Script script(&env);
    env.StopAfter(stop);
    script.Run();
    env.Crash(GetParam().keep(stop));
    script.Close();
    if (!script.created() && !Exists(env, "wal")) continue;
    ASSERT_NO_FATAL_FAILURE(CheckRecovers(script));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Cases, WalCrash,
    ::testing::Values(
        CrashCase{"NothingUnsynced", [](uint64_t) { return FaultEnv::KeepNothing(); }},
        CrashCase{"OnlyNames", [](uint64_t) { return FaultEnv::Keep{.directories = true}; }},
        CrashCase{"Everything", [](uint64_t) { return FaultEnv::KeepEverything(); }},
        CrashCase{"OnlyEvenSectors", [](uint64_t) { return Sectors([](uint64_t s) { return s % 2 == 0; }); }},
        CrashCase{"OnlyOddSectors", [](uint64_t) { return Sectors([](uint64_t s) { return s % 2 == 1; }); }},
        CrashCase{"AllButOneSector",
                  [](uint64_t stop) { return Sectors([stop](uint64_t s) { return s % 7 != stop % 7; }); }},
        CrashCase{"OneSector",
                  [](uint64_t stop) { return Sectors([stop](uint64_t s) { return s % 8 == stop % 8; }); }},
        CrashCase{"RandomSectors",
                  [](uint64_t stop) {
                    return Sectors([stop](uint64_t s) { return Random(stop * 1000 + s).OneIn(1, 2); });
                  }}),
    [](const auto& info) { return std::string(info.param.name); });

/// One large group of records in flight behind some that are acknowledged; then the machine stops.
class WalTornGroup : public WalFixture {
 protected:
  WalTornGroup() { options_.segment_size_bytes = 8192; }

  void WriteAndStop() {
    Create();
    ASSERT_TRUE(Save(State(1, 1, 0), {MakeEntry(1, 1, "acknowledged")}).ok());
    begin_ = env_.Get(kPath).find_last_not_of('\0') / 8 * 8 + 8;
    env_.StopAfter(0);
    for (uint64_t i = 2; i < 8; ++i) group_.push_back(MakeEntry(1, i, std::string(i * 150, 'x')));
    EXPECT_FALSE(Save(State(2, 2, 1), group_).ok());
    end_ = env_.Get(kPath).find_last_not_of('\0') + 1;
  }
  /// Entries found, or nothing where the log is refused.
  std::optional<size_t> Found() {
    wal_.reset();
    auto opened = Wal::Open("wal", SnapshotRecord(), options_);
    if (!opened.ok()) {
      EXPECT_TRUE(absl::IsDataLoss(opened.status())) << opened.status();
      return std::nullopt;
    }
    EXPECT_EQ(opened->recovered.entries.at(0), MakeEntry(1, 1, "acknowledged"));
    EXPECT_GE(opened->recovered.hard_state.term, raft::Term(1));
    // What lay behind the end does not come back.
    const size_t found = opened->recovered.entries.size();
    const std::vector<raft::Entry> more = {MakeEntry(9, found + 1, "more")};
    const Batch batch = {State(9, 9, 1), more};
    EXPECT_TRUE(opened->wal->Save(std::span(&batch, 1)).ok());
    const auto again = ReadOnly("wal", SnapshotRecord(), options_);
    EXPECT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(again.value_or(Recovered()).entries.size(), found + 1);
    return found;
  }

  static constexpr char kPath[] = "wal/0000000000000000-0000000000000000.wal";
  std::vector<raft::Entry> group_;
  uint64_t begin_ = 0;  // of the group in the file
  uint64_t end_ = 0;
};

// The file ends at every byte of the write in turn: it always opens.
TEST_F(WalTornGroup, OpensWhereverTheFileEnds) {
  WriteAndStop();
  const std::string content = env_.Get(kPath);
  env_.Crash(FaultEnv::KeepEverything());
  size_t most = 0;
  for (uint64_t size = begin_; size <= end_; ++size) {
    env_.Put(kPath, content.substr(0, size));
    const auto found = Found();
    ASSERT_TRUE(found.has_value()) << size;
    EXPECT_GE(*found, most) << size;
    most = *found;
  }
  EXPECT_EQ(most, 7u);
}

// The write ends at every byte in turn, with the zeros of the reservation behind it. At a sector's boundary,
// where disks end writes, it always opens; elsewhere it opens or is refused.
TEST_F(WalTornGroup, LosesNothingWhereverTheWriteEnds) {
  WriteAndStop();
  const std::string content = env_.Get(kPath);
  env_.Crash(FaultEnv::KeepEverything());
  for (uint64_t end = begin_; end <= end_; ++end) {
    std::string torn = content;
    torn.replace(end, end_ - end, end_ - end, '\0');
    env_.Put(kPath, torn);
    const auto found = Found();
    EXPECT_TRUE(found.has_value() || end % kSectorSizeBytes != 0) << end;
  }
}

// Every choice of the write's sectors arrives.
TEST_F(WalTornGroup, OpensWhicheverSectorsArrive) {
  WriteAndStop();
  const std::string content = env_.Get(kPath);
  env_.Crash(FaultEnv::KeepEverything());
  const uint64_t first = begin_ / kSectorSizeBytes, last = (end_ - 1) / kSectorSizeBytes;
  ASSERT_LE(last - first, 10u);
  for (uint64_t arrived = 0; arrived < uint64_t{1} << (last - first + 1); ++arrived) {
    std::string torn = content;
    for (uint64_t sector = first; sector <= last; ++sector) {
      if ((arrived >> (sector - first) & 1) != 0) continue;
      const uint64_t from = std::max(begin_, sector * kSectorSizeBytes);
      const uint64_t to = std::min(end_, (sector + 1) * kSectorSizeBytes);
      torn.replace(from, to - from, to - from, '\0');
    }
    env_.Put(kPath, torn);
    EXPECT_TRUE(Found().has_value()) << arrived;
  }
}

TEST_F(WalTornGroup, KeepsACopyOfTheTornSegment) {
  WriteAndStop();
  std::string torn = env_.Get(kPath);
  env_.Crash(FaultEnv::KeepEverything());
  torn.resize(end_ - 1);
  env_.Put(kPath, torn);
  ASSERT_TRUE(Found().has_value());
  EXPECT_EQ(env_.Get(std::string(kPath) + ".broken"), torn);
}

// Recovery itself is interrupted at every operation.
TEST_F(WalTornGroup, SurvivesACrashDuringRepair) {
  WriteAndStop();
  std::string torn = env_.Get(kPath);
  env_.Crash(FaultEnv::KeepEverything());
  torn.resize(end_ - 1);
  env_.Put(kPath, torn);
  wal_.reset();
  const uint64_t before = env_.total_count();
  ASSERT_TRUE(Wal::Open("wal", SnapshotRecord(), options_).ok());
  const uint64_t operations = env_.total_count() - before;
  ASSERT_GE(operations, 5u);
  for (uint64_t stop = 0; stop < operations; ++stop) {
    for (const bool keep : {false, true}) {
      env_.Put(kPath, torn);
      env_.StopAfter(stop);
      EXPECT_FALSE(Wal::Open("wal", SnapshotRecord(), options_).ok());
      env_.Crash(keep ? FaultEnv::KeepEverything() : FaultEnv::KeepNothing());
      EXPECT_TRUE(Found().has_value()) << stop;
    }
  }
}

struct DiskFailureCase {
  const char* name;
  Op op;
  absl::Status error;
};

class WalDiskFailure : public ::testing::TestWithParam<DiskFailureCase> {};

// Each operation of the kind fails in turn: the log ends there, and everything acknowledged before is there.
TEST_P(WalDiskFailure, EndsTheLogAndLosesNothing) {
  FaultEnv counting;
  Script counted(&counting);
  ASSERT_TRUE(counted.Run());
  const uint64_t operations = counting.count(GetParam().op);
  ASSERT_GT(operations, 0u);
  for (uint64_t nth = 0; nth < operations; ++nth) {
    for (const bool keep : {false, true}) {
      SCOPED_TRACE(nth);
      FaultEnv env;
      Script script(&env);
      env.FailNth(GetParam().op, nth, GetParam().error);
      script.Run();
      env.Crash(keep ? FaultEnv::KeepEverything() : FaultEnv::KeepNothing());
      script.Close();
      if (!script.created() && !Exists(env, "wal")) continue;
      ASSERT_NO_FATAL_FAILURE(CheckRecovers(script));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Cases, WalDiskFailure,
    ::testing::Values(DiskFailureCase{"WriteENOSPC", Op::kWrite, absl::ResourceExhaustedError("ENOSPC")},
                      DiskFailureCase{"WriteEIO", Op::kWrite, absl::InternalError("EIO")},
                      DiskFailureCase{"SyncEIO", Op::kSync, absl::InternalError("EIO")},
                      DiskFailureCase{"SyncENOSPC", Op::kSync, absl::ResourceExhaustedError("ENOSPC")},
                      DiskFailureCase{"RenameEIO", Op::kRename, absl::InternalError("EIO")},
                      DiskFailureCase{"TruncateEIO", Op::kTruncate, absl::InternalError("EIO")},
                      DiskFailureCase{"AllocateENOSPC", Op::kAllocate,
                                      absl::ResourceExhaustedError("ENOSPC")},
                      DiskFailureCase{"SyncDirectoryEIO", Op::kSyncDirectory, absl::InternalError("EIO")}),
    [](const auto& info) { return std::string(info.param.name); });

// Any byte of any segment is flipped, in a log that is whole: it reads as it is, or not at all.
TEST(WalDamage, IsRefusedOrHarmless) {
  FaultEnv env;
  Script script(&env);
  ASSERT_TRUE(script.Run());
  script.Close();
  const Content whole = script.Final();
  const std::vector<std::string> names = env.ListDirectory("wal").value();
  ASSERT_GE(names.size(), 3u);
  uint64_t refused = 0, harmless = 0;
  for (const std::string& name : names) {
    const std::string path = "wal/" + name;
    const std::string good = env.Get(path);
    for (uint64_t offset = 0; offset < good.size(); ++offset) {
      for (const int mask : {1 << (offset % 8), 0xff, 0x80}) {
        env.Flip(path, offset, static_cast<uint8_t>(mask));
        const auto read = ReadOnly("wal", SnapshotRecord(), script.options());
        env.Flip(path, offset, static_cast<uint8_t>(mask));
        if (read.ok()) {
          ++harmless;
          ASSERT_EQ((Content{read->entries, read->hard_state}), whole) << path << " at " << offset;
          ASSERT_EQ(read->metadata, kMetadata) << path << " at " << offset;
        } else {
          ++refused;
          ASSERT_TRUE(absl::IsDataLoss(read.status())) << read.status();
        }
      }
    }
  }
  // Only padding and the unused end of the last segment bear a flip.
  EXPECT_GT(refused, 10 * harmless / 4);
}

}  // namespace
}  // namespace kvorum::wal
