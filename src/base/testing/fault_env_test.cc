#include "base/testing/fault_env.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace kvorum::testing {
namespace {

using ::testing::ElementsAre;
using Op = FaultEnv::Op;

class BaseFaultEnv : public ::testing::Test {
 protected:
  std::unique_ptr<WritableFile> Open(const std::string& path) {
    return env_.OpenForWriting(path, Env::Create::kIfMissing, 0600).value();
  }
  FaultEnv env_;
};

TEST_F(BaseFaultEnv, CrashLosesWhatWasNotSynced) {
  auto file = Open("f");
  ASSERT_TRUE(env_.SyncDirectory("").ok());
  ASSERT_TRUE(file->Append("safe").ok());
  ASSERT_TRUE(file->Sync().ok());
  ASSERT_TRUE(file->Append("lost").ok());
  EXPECT_EQ(env_.Get("f"), "safelost");
  env_.Crash(FaultEnv::KeepNothing());
  EXPECT_EQ(env_.Get("f"), "safe");
  EXPECT_FALSE(file->Append("late").ok());
}

TEST_F(BaseFaultEnv, CrashLosesNamesThatWereNotSynced) {
  Open("old");
  ASSERT_TRUE(env_.SyncDirectory("").ok());
  ASSERT_TRUE(env_.Rename("old", "new").ok());
  Open("other");
  env_.Crash(FaultEnv::KeepNothing());
  EXPECT_THAT(env_.ListDirectory("").value(), ElementsAre("old"));
}

TEST_F(BaseFaultEnv, CrashKeepsTheFirstBytes) {
  auto file = Open("f");
  ASSERT_TRUE(file->Append("abc").ok());
  ASSERT_TRUE(file->Append("def").ok());
  env_.Crash({.first_bytes = 4, .directories = true});
  EXPECT_EQ(env_.Get("f"), "abcd");
}

TEST_F(BaseFaultEnv, CrashKeepsChosenSectors) {
  auto file = Open("f");
  ASSERT_TRUE(file->Allocate(2048).ok());
  ASSERT_TRUE(file->Sync().ok());
  ASSERT_TRUE(file->Append(std::string(2048, 'x')).ok());
  env_.Crash(
      {.first_bytes = 4096, .sector = [](uint64_t sector) { return sector == 1; }, .directories = true});
  EXPECT_EQ(env_.Get("f"), std::string(512, '\0') + std::string(512, 'x') + std::string(1024, '\0'));
}

TEST_F(BaseFaultEnv, FailsTheNthOperationOnce) {
  env_.FailNth(Op::kWrite, 1, absl::ResourceExhaustedError("full"));
  auto file = Open("f");
  EXPECT_TRUE(file->Append("ab").ok());
  EXPECT_TRUE(absl::IsResourceExhausted(file->Append(std::string(1500, 'c'))));
  EXPECT_EQ(env_.Get("f"), "ab" + std::string(510, 'c'));
  EXPECT_EQ(env_.count(Op::kWrite), 2u);
}

TEST_F(BaseFaultEnv, StopsTheMachine) {
  env_.StopAfter(2);
  auto file = Open("f");
  EXPECT_TRUE(file->Append("a").ok());
  EXPECT_FALSE(file->Sync().ok());
  EXPECT_FALSE(env_.Rename("f", "g").ok());
  env_.Crash(FaultEnv::KeepEverything());
  EXPECT_EQ(env_.Get("f"), "a");
  EXPECT_TRUE(Open("f")->Sync().ok());
}

TEST_F(BaseFaultEnv, LocksBelongToTheFileAndEndWithACrash) {
  auto lock = env_.LockFile("f").value();
  ASSERT_TRUE(env_.Rename("f", "g").ok());
  EXPECT_TRUE(absl::IsUnavailable(env_.LockFile("g").status()));
  env_.Crash(FaultEnv::KeepEverything());
  auto second = env_.LockFile("g");
  EXPECT_TRUE(second.ok());
  lock.reset();
  EXPECT_TRUE(absl::IsUnavailable(env_.LockFile("g").status()));
}

TEST_F(BaseFaultEnv, DirectoriesThatWereMadeStay) {
  ASSERT_TRUE(env_.CreateDirectories("a/b", 0700).ok());
  auto file = env_.OpenForWriting("a/b/f", Env::Create::kMustBeNew, 0600).value();
  ASSERT_TRUE(file->Sync().ok());
  ASSERT_TRUE(env_.SyncDirectory("a/b").ok());
  env_.Crash(FaultEnv::KeepNothing());
  EXPECT_TRUE(env_.Exists("a/b/f"));
}

TEST_F(BaseFaultEnv, KnowsWhetherADirectorysFilesAreDurable) {
  ASSERT_TRUE(env_.CreateDirectories("d", 0700).ok());
  auto file = env_.OpenForWriting("d/a.wal", Env::Create::kMustBeNew, 0600).value();
  auto other = env_.OpenForWriting("d/other", Env::Create::kMustBeNew, 0600).value();
  EXPECT_FALSE(env_.AreDurable("d", ".wal"));  // its name is not
  ASSERT_TRUE(env_.SyncDirectory("d").ok());
  EXPECT_TRUE(env_.AreDurable("d", ".wal"));
  ASSERT_TRUE(file->Append("1").ok());
  EXPECT_FALSE(env_.AreDurable("d", ".wal"));
  ASSERT_TRUE(file->Sync().ok());
  ASSERT_TRUE(other->Append("1").ok());
  EXPECT_TRUE(env_.AreDurable("d", ".wal"));
  ASSERT_TRUE(env_.Rename("d/a.wal", "d/b.wal").ok());
  EXPECT_FALSE(env_.AreDurable("d", ".wal"));
  EXPECT_FALSE(env_.AreDurable("no such", ".wal"));
}

TEST_F(BaseFaultEnv, FlipsBits) {
  env_.Put("f", "abc");
  env_.Flip("f", 1, 0x03);
  EXPECT_EQ(env_.Get("f"), "aac");
}

}  // namespace
}  // namespace kvorum::testing
