#include "base/json_logger.h"

#include <dirent.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <zlib.h>

#include <filesystem>
#include <fstream>

#include "absl/strings/str_split.h"
#include "absl/synchronization/notification.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace kvorum {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

/// A folder of the test's own, removed with it.
class Folder {
 public:
  Folder() {
    std::string name = testing::TempDir() + "kvorum-log-XXXXXX";
    path_ = mkdtemp(name.data());
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  std::string operator/(std::string_view name) const { return path_ + "/" + std::string(name); }
  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(path_)) {
      names.push_back(entry.path().filename());
    }
    std::sort(names.begin(), names.end());
    return names;
  }

 private:
  std::string path_;
};

std::string Content(const std::string& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// A clock that stands still until it is moved.
class StillClock final : public Clock {
 public:
  MonotonicTime Now() const override { return MonotonicTime(now.load()); }
  WallTime WallNow() const override { return WallTime(std::chrono::seconds(1)); }
  std::atomic<std::chrono::nanoseconds> now{std::chrono::seconds(100)};
};

/// What went through a sink, and a gate to hold the writer thread with.
struct Tape {
  absl::Mutex mutex;
  std::vector<std::string> lines ABSL_GUARDED_BY(mutex);
  bool open ABSL_GUARDED_BY(mutex) = true;
  bool held ABSL_GUARDED_BY(mutex) = false;

  void SetOpen(bool value) {
    absl::MutexLock lock(&mutex);
    open = value;
  }
  void AwaitHeld() {
    absl::MutexLock lock(&mutex);
    mutex.Await(absl::Condition(&held));
  }
  std::vector<std::string> Lines() {
    absl::MutexLock lock(&mutex);
    return lines;
  }
};

class TapeSink final : public LogSink {
 public:
  explicit TapeSink(std::shared_ptr<Tape> tape) : tape_(std::move(tape)) {}
  absl::Status Write(LogLevel, std::string_view line) override {
    absl::MutexLock lock(&tape_->mutex);
    tape_->held = true;
    tape_->mutex.Await(absl::Condition(&tape_->open));
    tape_->lines.emplace_back(line);
    return absl::OkStatus();
  }

 private:
  std::shared_ptr<Tape> tape_;  // shared with the test
};

class BaseJsonLogger : public testing::Test {
 protected:
  std::unique_ptr<JsonLogger> Make() {
    std::vector<std::unique_ptr<LogSink>> sinks;
    sinks.push_back(std::make_unique<TapeSink>(tape_));
    options_.clock = &clock_;
    return std::make_unique<JsonLogger>(options_, std::move(sinks));
  }

  JsonLoggerOptions options_;
  StillClock clock_;
  std::shared_ptr<Tape> tape_ = std::make_shared<Tape>();
};

TEST_F(BaseJsonLogger, WritesLinesInOrder) {
  auto logger = Make();
  KVORUM_LOG(*logger, kInfo, "one", {"n", 1});
  KVORUM_LOG(*logger, kWarn, "two");
  ASSERT_TRUE(logger->Flush());
  const std::vector<std::string> lines = tape_->Lines();
  ASSERT_THAT(lines, SizeIs(2));
  EXPECT_THAT(lines[0], HasSubstr(R"("caller":"base/json_logger_test.cc:)"));
  EXPECT_THAT(lines[0], HasSubstr(R"("msg":"one","n":1})"));
  EXPECT_THAT(lines[1], HasSubstr(R"({"level":"warn")"));
}

TEST_F(BaseJsonLogger, LevelChangesAtRunTime) {
  auto logger = Make();
  KVORUM_LOG(*logger, kDebug, "unheard");
  logger->SetLevel(LogLevel::kDebug);
  KVORUM_LOG(*logger, kDebug, "heard");
  ASSERT_TRUE(logger->Flush());
  const std::vector<std::string> lines = tape_->Lines();
  ASSERT_THAT(lines, SizeIs(1));
  EXPECT_THAT(lines[0], HasSubstr("\"heard\""));
}

TEST_F(BaseJsonLogger, DropsAndReportsWhereTheSinkStalls) {
  options_.queue_bytes = 1'000;
  auto logger = Make();
  tape_->SetOpen(false);
  KVORUM_LOG(*logger, kInfo, "first");
  tape_->AwaitHeld();
  for (int i = 0; i < 50; ++i) KVORUM_LOG(*logger, kInfo, "more");
  const uint64_t dropped = logger->dropped_lines();
  EXPECT_GT(dropped, 30u);
  EXPECT_FALSE(logger->Flush(std::chrono::milliseconds(1)));
  tape_->SetOpen(true);
  ASSERT_TRUE(logger->Flush(std::chrono::seconds(60)));
  logger.reset();
  const std::vector<std::string> lines = tape_->Lines();
  EXPECT_EQ(lines.size(), 1 + (50 - dropped) + 1);
  EXPECT_THAT(lines.back(), HasSubstr(fmt::format("\"dropped-lines\":{}}}", dropped)));
}

TEST_F(BaseJsonLogger, SamplesRepeatsWithinASecond) {
  auto logger = Make();
  for (int i = 0; i < 350; ++i) KVORUM_LOG(*logger, kInfo, "again");
  KVORUM_LOG(*logger, kWarn, "again");
  ASSERT_TRUE(logger->Flush());
  EXPECT_THAT(tape_->Lines(), SizeIs(100 + 2 + 1));
  clock_.now = std::chrono::seconds(101);
  KVORUM_LOG(*logger, kInfo, "again");
  ASSERT_TRUE(logger->Flush());
  EXPECT_THAT(tape_->Lines(), SizeIs(104));
}

TEST_F(BaseJsonLogger, AFatalLineIsOutWhenWriteReturns) {
  auto logger = Make();
  KVORUM_LOG(*logger, kFatal, "the end");
  EXPECT_THAT(tape_->Lines(), SizeIs(1));
}

TEST_F(BaseJsonLogger, EndsThoughASinkHangs) {
  auto logger = Make();
  tape_->SetOpen(false);
  KVORUM_LOG(*logger, kInfo, "stuck");
  tape_->AwaitHeld();
  logger.reset();  // returns after its bound
  EXPECT_THAT(tape_->Lines(), SizeIs(0));
  tape_->SetOpen(true);
  absl::MutexLock lock(&tape_->mutex);
  tape_->mutex.Await(absl::Condition(
      +[](std::vector<std::string>* lines) { return lines->size() == 1; }, &tape_->lines));
}

TEST_F(BaseJsonLogger, ManyThreadsLoseNothing) {
  auto logger = Make();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 500; ++i) {
        logger->Write(LogLevel::kInfo, __FILE__, __LINE__, fmt::format("line {} {}", t, i), {});
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  logger.reset();
  std::vector<std::string> lines = tape_->Lines();
  std::sort(lines.begin(), lines.end());
  EXPECT_EQ(std::unique(lines.begin(), lines.end()) - lines.begin(), 2000);
}

TEST(BaseLogOutput, AppendsToAFile) {
  Folder folder;
  for (std::string_view line : {"one\n", "two\n"}) {
    auto sink = OpenLogOutput(folder / "log", std::nullopt);
    ASSERT_TRUE(sink.ok()) << sink.status();
    ASSERT_TRUE((*sink)->Write(LogLevel::kInfo, line).ok());
    ASSERT_TRUE((*sink)->Flush().ok());
  }
  EXPECT_EQ(Content(folder / "log"), "one\ntwo\n");
}

TEST(BaseLogOutput, NamesTheFileThatCannotBeOpened) {
  Folder folder;
  const auto sink = OpenLogOutput(folder / "no/such/log", std::nullopt);
  EXPECT_THAT(sink.status().message(), HasSubstr("no/such/log: No such file or directory"));
}

TEST(BaseRotatingSink, MovesAFullFileAwayAndKeepsTheNewestBackups) {
  Folder folder;
  LogRotation rotation{.max_size_bytes = 10, .max_backups = 2};
  auto sink = OpenRotatingSink(folder / "k.log", rotation);
  ASSERT_TRUE(sink.ok()) << sink.status();
  for (const char* line : {"line one\n", "line two\n", "line three\n", "line four\n"}) {
    ASSERT_TRUE((*sink)->Write(LogLevel::kInfo, line).ok());
    ASSERT_TRUE((*sink)->Flush().ok());
  }
  const std::vector<std::string> names = folder.Names();
  ASSERT_THAT(names, SizeIs(3));
  EXPECT_EQ(Content(folder / names[0]), "line two\n");
  EXPECT_EQ(Content(folder / names[1]), "line three\n");
  EXPECT_EQ(Content(folder / "k.log"), "line four\n");
  EXPECT_THAT(names[0], testing::MatchesRegex("k-....-..-..T..-..-..\\....\\.log"));
}

TEST(BaseRotatingSink, CompressesBackupsAndLeavesOtherFilesAlone) {
  Folder folder;
  std::ofstream(folder / "k-notes.log") << "mine";
  auto sink = OpenRotatingSink(folder / "k.log", {.max_size_bytes = 10, .max_backups = 1, .compress = true});
  ASSERT_TRUE(sink.ok()) << sink.status();
  for (const char* line : {"line one\n", "line two\n"})
    ASSERT_TRUE((*sink)->Write(LogLevel::kInfo, line).ok());
  ASSERT_TRUE((*sink)->Flush().ok());
  const std::vector<std::string> names = folder.Names();
  ASSERT_THAT(names, SizeIs(3));
  ASSERT_TRUE(names[0].ends_with(".log.gz")) << names[0];
  EXPECT_EQ(names[1], "k-notes.log");
  gzFile in = gzopen((folder / names[0]).c_str(), "rb");
  char text[32] = {};
  EXPECT_EQ(gzread(in, text, sizeof(text)), 9);
  gzclose(in);
  EXPECT_STREQ(text, "line one\n");
}

class BaseJournalSink : public testing::Test {
 protected:
  void SetUp() override {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string path = folder_ / "socket";
    ASSERT_LT(path.size(), sizeof(address.sun_path));
    std::strcpy(address.sun_path, path.c_str());
    socket_ = socket(AF_UNIX, SOCK_DGRAM, 0);
    ASSERT_EQ(bind(socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    auto sink = OpenJournalSink(path);
    ASSERT_TRUE(sink.ok()) << sink.status();
    sink_ = std::move(*sink);
  }
  void TearDown() override { close(socket_); }

  Folder folder_;
  int socket_ = -1;
  std::unique_ptr<LogSink> sink_;
};

TEST_F(BaseJournalSink, SendsPriorityAndMessage) {
  ASSERT_TRUE(sink_->Write(LogLevel::kWarn, "{\"level\":\"warn\"}\n").ok());
  char datagram[256] = {};
  ASSERT_GT(recv(socket_, datagram, sizeof(datagram) - 1, 0), 0);
  EXPECT_STREQ(datagram, "PRIORITY=4\nSYSLOG_IDENTIFIER=kvorum\nMESSAGE={\"level\":\"warn\"}\n");
}

TEST_F(BaseJournalSink, SendsALargeMessageAsAFile) {
  ASSERT_TRUE(sink_->Write(LogLevel::kInfo, std::string(4 << 20, 'x')).ok());
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  ASSERT_EQ(recvmsg(socket_, &message, 0), 0);
  int file = -1;
  ASSERT_NE(CMSG_FIRSTHDR(&message), nullptr);
  std::memcpy(&file, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(int));
  EXPECT_GT(lseek(file, 0, SEEK_END), 4 << 20);
  close(file);
}

}  // namespace
}  // namespace kvorum
