#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <thread>

#include "backend/crash_entries.h"
#include "base/random.h"
#include "base/testing/temp_directory.h"
#include "gtest/gtest.h"

extern char** environ;

namespace kvorum::backend {
namespace {

using kvorum::testing::TempDirectory;

// A process of its own applies entries, is killed at some moment, and what it leaves must be exactly the
// state after some entry, not before the last one that it said to be durable.

using Records = std::map<std::string, std::string>;

Records KeysAfter(uint64_t n) {
  Records records;
  for (uint64_t i = n > kKept ? n - kKept + 1 : 1; i <= n; ++i) {
    for (uint64_t sub = 0; sub < CrashSubs(i); ++sub)
      records.emplace(CrashRevision(i, sub), CrashValue(i, sub));
  }
  return records;
}
Records LeasesAfter(uint64_t n) {
  Records records;
  for (uint64_t i = n > 20 ? n - 20 : 1; i <= n; ++i) {
    records[CrashRevision(i % 5, 0)] = std::to_string(i);
    if (i % 3 == 0) records.erase(CrashRevision((i + 1) % 5, 0));
  }
  return records;
}

Records Scan(Backend& backend, Bucket bucket) {
  Records records;
  EXPECT_TRUE(backend.NewReadView()
                  ->Scan(bucket, "", "",
                         [&](auto key, auto value) {
                           EXPECT_TRUE(records.emplace(key, value).second) << "told twice";
                           return true;
                         })
                  .ok());
  return records;
}

/// Starts the child, kills it after it reported `reports` commits; the last index that it reported.
uint64_t RunAndKill(const std::string& directory, uint64_t reports) {
  int pipe_fds[2];
  EXPECT_EQ(pipe2(pipe_fds, O_CLOEXEC), 0);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, pipe_fds[1], kReportFd);
  std::string program = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "backend_crash_child";
  std::string argument = directory;
  char* arguments[] = {program.data(), argument.data(), nullptr};
  pid_t child = -1;
  EXPECT_EQ(posix_spawn(&child, program.c_str(), &actions, nullptr, arguments, environ), 0);
  posix_spawn_file_actions_destroy(&actions);
  close(pipe_fds[1]);
  uint64_t last = 0;
  for (uint64_t i = 0; i < reports; ++i) {
    if (read(pipe_fds[0], &last, sizeof(last)) != sizeof(last)) {
      ADD_FAILURE() << "the child ended by itself";
      break;
    }
  }
  kill(child, SIGKILL);
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status));
  for (uint64_t index; read(pipe_fds[0], &index, sizeof(index)) == sizeof(index);) last = index;
  close(pipe_fds[0]);
  return last;
}

TEST(BackendCrash, LeavesTheStateAfterAWholeEntryWhereverItIsKilled) {
  TempDirectory directory;
  Random random(SystemEntropy());
  uint64_t before = 0;
  for (int round = 0; round < 25; ++round) {
    const uint64_t durable = RunAndKill(directory.path(), 1 + random.Below(12));
    auto backend = OpenForCrash(directory.path());
    const AppliedPosition applied = backend->applied();
    ASSERT_GE(applied.index, durable);
    ASSERT_GT(applied.index, before);
    EXPECT_EQ(applied.term, 1 + applied.index / 100);
    ASSERT_EQ(Scan(*backend, Bucket::kKey), KeysAfter(applied.index));
    ASSERT_EQ(Scan(*backend, Bucket::kLease), LeasesAfter(applied.index));
    before = applied.index;
  }
}

TEST(BackendDefragment, ReadersAndTheWriterGoOnMeanwhile) {
  TempDirectory directory;
  auto backend = OpenForCrash(directory.path());
  std::atomic<uint64_t> last{0};
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    while (!stop) {
      ApplyCrashEntry(*backend, last + 1);
      ++last;
    }
  });
  std::vector<std::thread> readers;
  for (int t = 0; t < 2; ++t) {
    readers.emplace_back([&] {
      while (!stop) {
        const uint64_t high = last;
        auto view = backend->NewReadView();
        Records found;
        ASSERT_TRUE(view->Scan(Bucket::kKey, "", "",
                               [&](auto key, auto value) {
                                 EXPECT_TRUE(found.emplace(key, value).second) << "told twice";
                                 return true;
                               })
                        .ok());
        const uint64_t gone = last + 1 > kKept ? last + 1 - kKept : 0;  // may be deleted in the view
        for (const auto& [key, value] : KeysAfter(high)) {
          if (key < CrashRevision(gone + 1, 0)) continue;
          ASSERT_EQ(found[key], value);
          ASSERT_EQ(view->Get(Bucket::kKey, key)->value(), value);
        }
      }
    });
  }
  for (int i = 0; i < 5; ++i) {
    std::atomic<int> result{0};
    backend->Defragment([&](absl::Status status) {
      EXPECT_TRUE(status.ok()) << status;
      result = 1;
      result.notify_all();
    });
    result.wait(0);
  }
  stop = true;
  writer.join();
  for (std::thread& reader : readers) reader.join();
  ASSERT_TRUE(backend->Close().ok());
  backend = OpenForCrash(directory.path());
  EXPECT_EQ(backend->applied().index, last);
  EXPECT_EQ(Scan(*backend, Bucket::kKey), KeysAfter(last));
  EXPECT_EQ(Scan(*backend, Bucket::kLease), LeasesAfter(last));
}

TEST(BackendDefragment, RefusesASecondOneAndEndsWithAClose) {
  TempDirectory directory;
  auto backend = OpenForCrash(directory.path());
  for (uint64_t i = 1; i <= 2000; ++i) ApplyCrashEntry(*backend, i);
  std::atomic<int> ended{0};
  std::atomic<int> refused{0};
  for (int i = 0; i < 20; ++i) {
    backend->Defragment([&](absl::Status status) {
      ++ended;
      if (absl::IsFailedPrecondition(status)) ++refused;
    });
  }
  ASSERT_TRUE(backend->Close().ok());
  EXPECT_EQ(ended, 20);
  EXPECT_GE(refused, 1);
  backend = OpenForCrash(directory.path());
  EXPECT_EQ(Scan(*backend, Bucket::kKey), KeysAfter(2000));
}

}  // namespace
}  // namespace kvorum::backend
