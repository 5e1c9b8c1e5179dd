#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>

#include "base/env.h"
#include "base/testing/temp_directory.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace kvorum {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class BasePosixEnv : public ::testing::Test {
 protected:
  std::string Path(const std::string& name) const { return directory_.path() + "/" + name; }
  std::unique_ptr<WritableFile> OpenNew(const std::string& name) {
    auto file = env_.OpenForWriting(Path(name), Env::Create::kMustBeNew);
    EXPECT_TRUE(file.ok()) << file.status();
    return *std::move(file);
  }
  std::string Content(const std::string& name) { return env_.ReadFile(Path(name)).value(); }

  testing::TempDirectory directory_;
  Env& env_ = PosixEnv();
};

TEST_F(BasePosixEnv, AppendsPiecesInOrder) {
  auto file = OpenNew("f");
  const std::string_view pieces[] = {"", "ab", "", "cde", "f", ""};
  ASSERT_TRUE(file->Append(pieces).ok());
  EXPECT_EQ(file->position(), 6u);
  ASSERT_TRUE(file->Append("gh").ok());
  EXPECT_EQ(Content("f"), "abcdefgh");
}

TEST_F(BasePosixEnv, AppendsMorePiecesThanOneSystemCallTakes) {
  std::string expected;
  for (int i = 0; i < 5000; ++i) expected += static_cast<char>('a' + i % 26);
  std::vector<std::string_view> pieces;
  for (size_t i = 0; i < expected.size(); ++i) pieces.push_back(std::string_view(expected).substr(i, 1));
  auto file = OpenNew("f");
  ASSERT_TRUE(file->Append(pieces).ok());
  EXPECT_EQ(Content("f"), expected);
}

// The limit on the file's size makes the system take only a part of the vector.
TEST_F(BasePosixEnv, GoesOnAfterAPartialWriteAndReportsTheRest) {
  auto file = OpenNew("f");
  rlimit old_limit;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old_limit), 0);
  std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small = {1000, old_limit.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::string a(600, 'a'), b(600, 'b'), c(600, 'c');
  const std::string_view pieces[] = {a, b, c};
  const absl::Status status = file->Append(pieces);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &old_limit), 0);
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal) << status;
  EXPECT_EQ(file->position(), 1000u);
  EXPECT_EQ(Content("f"), a + b.substr(0, 400));
}

TEST_F(BasePosixEnv, ReadsARange) {
  ASSERT_TRUE(OpenNew("f")->Append("abcdef").ok());
  std::string out = "x";
  ASSERT_TRUE(env_.ReadRange(Path("f"), 2, 3, &out).ok());
  EXPECT_EQ(out, "xcde");
  ASSERT_TRUE(env_.ReadRange(Path("f"), 5, 100, &out).ok());
  ASSERT_TRUE(env_.ReadRange(Path("f"), 6, 100, &out).ok());
  EXPECT_EQ(out, "xcdef");
  EXPECT_TRUE(absl::IsNotFound(env_.ReadRange(Path("g"), 0, 1, &out)));
}

TEST_F(BasePosixEnv, ReadsFilesThatDoNotSayTheirSize) {
  EXPECT_GT(env_.ReadFile("/proc/self/maps").value().size(), 100u);
}

TEST_F(BasePosixEnv, SeeksAndOverwrites) {
  auto file = OpenNew("f");
  ASSERT_TRUE(file->Append("abcdef").ok());
  ASSERT_TRUE(file->Seek(2).ok());
  ASSERT_TRUE(file->Append("XY").ok());
  EXPECT_EQ(Content("f"), "abXYef");
}

TEST_F(BasePosixEnv, AllocatesZerosAndTruncatesThem) {
  auto file = OpenNew("f");
  ASSERT_TRUE(file->Append("abc").ok());
  ASSERT_TRUE(file->Allocate(5000).ok());
  EXPECT_EQ(file->Size().value(), 5000u);
  EXPECT_EQ(Content("f"), "abc" + std::string(4997, '\0'));
  ASSERT_TRUE(file->Allocate(100).ok());
  EXPECT_EQ(file->Size().value(), 5000u);
  ASSERT_TRUE(file->Truncate(2).ok());
  ASSERT_TRUE(file->Sync().ok());
  EXPECT_EQ(Content("f"), "ab");
  EXPECT_EQ(file->position(), 3u);
  EXPECT_TRUE(file->Close().ok());
}

TEST_F(BasePosixEnv, ReservesDiskSpace) {
  auto file = OpenNew("f");
  ASSERT_TRUE(file->Allocate(1 << 20).ok());
  struct stat info;
  ASSERT_EQ(stat(Path("f").c_str(), &info), 0);
  EXPECT_GE(info.st_blocks * 512, 1 << 20);
}

TEST_F(BasePosixEnv, HonoursHowToCreate) {
  EXPECT_TRUE(absl::IsNotFound(env_.OpenForWriting(Path("f"), Env::Create::kNever).status()));
  ASSERT_TRUE(OpenNew("f")->Append("abc").ok());
  EXPECT_TRUE(absl::IsAlreadyExists(env_.OpenForWriting(Path("f"), Env::Create::kMustBeNew).status()));
  ASSERT_TRUE(env_.OpenForWriting(Path("f"), Env::Create::kIfMissing).ok());
  EXPECT_EQ(Content("f"), "abc");
  ASSERT_TRUE(env_.OpenForWriting(Path("f"), Env::Create::kTruncate).ok());
  EXPECT_EQ(Content("f"), "");
}

TEST_F(BasePosixEnv, SetsTheModeOfNewFiles) {
  ASSERT_TRUE(env_.OpenForWriting(Path("f"), Env::Create::kMustBeNew, 0640).ok());
  struct stat info;
  ASSERT_EQ(stat(Path("f").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0640u & ~umask(umask(0)) & 0777);
}

TEST_F(BasePosixEnv, NamesCallPathAndCause) {
  const absl::Status status = env_.ReadFile(Path("missing")).status();
  EXPECT_TRUE(absl::IsNotFound(status));
  EXPECT_THAT(status.message(), HasSubstr("open " + Path("missing") + ": No such file"));
}

TEST_F(BasePosixEnv, MapsAFullDisk) {
  auto file = env_.OpenForWriting("/dev/full", Env::Create::kNever);
  ASSERT_TRUE(file.ok());
  const absl::Status status = (*file)->Append("x");
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_THAT(status.message(), HasSubstr("/dev/full"));
}

TEST_F(BasePosixEnv, MakesListsRenamesAndRemoves) {
  ASSERT_TRUE(env_.CreateDirectories(Path("a/b/c")).ok());
  ASSERT_TRUE(env_.CreateDirectories(Path("a/b/c")).ok());
  OpenNew("a/b/z");
  OpenNew("a/b/k");
  EXPECT_THAT(env_.ListDirectory(Path("a/b")).value(), ElementsAre("c", "k", "z"));
  ASSERT_TRUE(env_.Rename(Path("a/b"), Path("a/d")).ok());
  EXPECT_FALSE(env_.Exists(Path("a/b")));
  ASSERT_TRUE(env_.RemoveFile(Path("a/d/z")).ok());
  EXPECT_TRUE(absl::IsNotFound(env_.RemoveFile(Path("a/d/z"))));
  ASSERT_TRUE(env_.SyncDirectory(Path("a/d")).ok());
  ASSERT_TRUE(env_.RemoveTree(Path("a")).ok());
  ASSERT_TRUE(env_.RemoveTree(Path("a")).ok());
  EXPECT_FALSE(env_.Exists(Path("a")));
  EXPECT_TRUE(absl::IsNotFound(env_.ListDirectory(Path("a")).status()));
}

TEST_F(BasePosixEnv, DoesNotMakeADirectoryInAFile) {
  OpenNew("f");
  EXPECT_FALSE(env_.CreateDirectories(Path("f")).ok());
  EXPECT_FALSE(env_.CreateDirectories(Path("f/g")).ok());
}

TEST_F(BasePosixEnv, LockExcludesTheSameProcessAndEndsWithItsHolder) {
  auto lock = env_.LockFile(Path("lock"));
  ASSERT_TRUE(lock.ok());
  EXPECT_TRUE(absl::IsUnavailable(env_.LockFile(Path("lock")).status()));
  lock->reset();
  EXPECT_TRUE(env_.LockFile(Path("lock")).ok());
}

TEST_F(BasePosixEnv, LockFollowsTheFileThroughARename) {
  auto lock = env_.LockFile(Path("old"));
  ASSERT_TRUE(lock.ok());
  ASSERT_TRUE(env_.Rename(Path("old"), Path("new")).ok());
  EXPECT_TRUE(env_.LockFile(Path("old")).ok());
  EXPECT_TRUE(absl::IsUnavailable(env_.LockFile(Path("new")).status()));
}

// The kind of lock is part of the contract: etcd takes F_OFD_SETLK, which flock would not see.
TEST_F(BasePosixEnv, LockIsAnOpenFileDescriptionLock) {
  auto lock = env_.LockFile(Path("lock"));
  ASSERT_TRUE(lock.ok());
  const int fd = open(Path("lock").c_str(), O_WRONLY | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  struct flock request = {};
  request.l_type = F_WRLCK;
  request.l_whence = SEEK_SET;
  EXPECT_NE(fcntl(fd, F_OFD_SETLK, &request), 0);
  close(fd);
}

}  // namespace
}  // namespace kvorum
