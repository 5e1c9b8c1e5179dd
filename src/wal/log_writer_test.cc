#include "wal/log_writer.h"

#include <algorithm>
#include <thread>

#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/notification.h"
#include "base/testing/temp_directory.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "wal/testing.h"

namespace kvorum::wal {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;
using Op = FaultEnv::Op;

constexpr absl::Duration kBound = absl::Seconds(60);

class WalLogWriter : public WalFixture {
 protected:
  void Start(size_t purge_keep = 5) {
    Create();
    writer_ = std::make_unique<LogWriter>(std::move(wal_), "wal", purge_keep, options_);
  }
  static LogStorage::Write OneEntry(uint64_t index, absl::AnyInvocable<void(absl::Status)> done,
                                    size_t size = 10) {
    return {.hard_state = State(1, 1, index - 1),
            .entries = {MakeEntry(1, index, std::string(size, 'x'))},
            .done = std::move(done)};
  }
  /// Writes the entry and waits for it.
  absl::Status WriteAndWait(uint64_t index, size_t size = 10) {
    absl::Notification written;
    absl::Status result;
    writer_->Enqueue(OneEntry(
        index,
        [&](absl::Status status) {
          result = std::move(status);
          written.Notify();
        },
        size));
    EXPECT_TRUE(written.WaitForNotificationWithTimeout(kBound));
    return result;
  }
  /// Keeps the writer thread inside `done` of entry 1 until `release` is notified.
  void Hold(absl::Notification* release) {
    absl::Notification held;
    writer_->Enqueue(OneEntry(1, [&held, release](absl::Status) {
      held.Notify();
      release->WaitForNotification();
    }));
    ASSERT_TRUE(held.WaitForNotificationWithTimeout(kBound));
  }
  template <typename Condition>
  static void WaitFor(Condition condition) {
    const absl::Time deadline = absl::Now() + kBound;
    while (!condition()) {
      ASSERT_LT(absl::Now(), deadline);
      std::this_thread::yield();
    }
  }

  std::unique_ptr<LogWriter> writer_;
};

TEST_F(WalLogWriter, ReportsWhatIsDurable) {
  Start();
  EXPECT_TRUE(WriteAndWait(1).ok());
  env_.Crash(FaultEnv::KeepNothing());
  EXPECT_EQ(ReadOnly("wal", SnapshotRecord(), options_).value().entries.size(), 1u);
}

TEST_F(WalLogWriter, WritesEverythingThatWaitsAtOnceAndInOrder) {
  Start();
  absl::Notification release;
  Hold(&release);
  const uint64_t writes = env_.count(Op::kWrite), syncs = env_.count(Op::kSync);
  std::vector<uint64_t> order;
  absl::BlockingCounter waiting(100);
  for (uint64_t i = 2; i <= 101; ++i) {
    writer_->Enqueue(OneEntry(i, [&order, &waiting, i](absl::Status status) {
      EXPECT_TRUE(status.ok()) << status;
      order.push_back(i);
      waiting.DecrementCount();
    }));
  }
  release.Notify();
  waiting.Wait();
  EXPECT_THAT(order, SizeIs(100));
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
  EXPECT_EQ(env_.count(Op::kWrite) - writes, 1u);
  EXPECT_EQ(env_.count(Op::kSync) - syncs, 1u);
}

TEST_F(WalLogWriter, AFailureIsReportedToAllThatComeAfter) {
  Start();
  EXPECT_TRUE(WriteAndWait(1).ok());
  env_.FailNth(Op::kSync, 0, absl::InternalError("EIO"));
  EXPECT_EQ(WriteAndWait(2), absl::InternalError("EIO"));
  const uint64_t operations = env_.total_count();
  EXPECT_EQ(WriteAndWait(3), absl::InternalError("EIO"));
  EXPECT_EQ(env_.total_count(), operations);
}

TEST_F(WalLogWriter, StopFinishesTheQueueAndRefusesTheRest) {
  Start();
  absl::Notification release;
  Hold(&release);
  int done = 0;
  for (uint64_t i = 2; i <= 10; ++i) {
    writer_->Enqueue(OneEntry(i, [&](absl::Status status) { done += status.ok() ? 1 : 0; }));
  }
  writer_->Enqueue({.hard_state = State(1, 1, 10)});
  release.Notify();
  writer_->Stop();
  EXPECT_EQ(done, 9);
  absl::Status late;
  writer_->Enqueue(OneEntry(11, [&](absl::Status status) { late = status; }));
  EXPECT_TRUE(absl::IsCancelled(late));
  writer_.reset();
  env_.Crash(FaultEnv::KeepNothing());
  const Recovered recovered = ReadOnly("wal", SnapshotRecord(), options_).value();
  EXPECT_EQ(recovered.entries.size(), 10u);
  EXPECT_EQ(recovered.hard_state, State(1, 1, 10));
}

std::vector<LogStorage::Write> ListOf(LogStorage::Write write) {
  std::vector<LogStorage::Write> writes;
  writes.push_back(std::move(write));
  return writes;
}

TEST_F(WalLogWriter, WritesOnTheCallersThreadWhereNothingWaits) {
  Start();
  const uint64_t written = env_.count(Op::kWrite), synced = env_.count(Op::kSync);
  std::vector<uint64_t> order;
  const auto note = [&order, caller = std::this_thread::get_id()](uint64_t index) {
    return [&order, caller, index](const absl::Status& status) {
      EXPECT_TRUE(status.ok()) << status;
      EXPECT_EQ(std::this_thread::get_id(), caller);
      order.push_back(index);
    };
  };
  std::vector<LogStorage::Write> writes = ListOf(OneEntry(1, note(1)));
  writes.push_back(OneEntry(2, note(2)));
  writer_->SaveNow(std::move(writes));
  EXPECT_THAT(order, ElementsAre(1, 2));
  EXPECT_EQ(env_.count(Op::kWrite) - written, 1u);
  EXPECT_EQ(env_.count(Op::kSync) - synced, 1u);
  env_.Crash(FaultEnv::KeepNothing());
  EXPECT_EQ(ReadOnly("wal", SnapshotRecord(), options_).value().entries.size(), 2u);
}

TEST_F(WalLogWriter, WaitsItsTurnBehindWhatIsBeingWritten) {
  Start();
  absl::Notification release, written;
  Hold(&release);
  writer_->SaveNow(ListOf(OneEntry(2, [&](const absl::Status& status) {
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_TRUE(release.HasBeenNotified());
    written.Notify();
  })));
  EXPECT_FALSE(written.HasBeenNotified());
  release.Notify();
  EXPECT_TRUE(written.WaitForNotificationWithTimeout(kBound));
  EXPECT_TRUE(WriteAndWait(3).ok());
}

TEST_F(WalLogWriter, WhatComesWhileACallerWritesIsWrittenNext) {
  Start();
  absl::Notification written;
  writer_->SaveNow(ListOf(OneEntry(1, [&](const absl::Status&) {
    std::thread([&] {
      writer_->Enqueue(OneEntry(2, [&written](const absl::Status& status) {
        EXPECT_TRUE(status.ok()) << status;
        written.Notify();
      }));
    }).join();
    EXPECT_FALSE(written.HasBeenNotified());
  })));
  EXPECT_TRUE(written.WaitForNotificationWithTimeout(kBound));
}

TEST_F(WalLogWriter, AFailureOnTheCallersThreadIsFinal) {
  Start();
  env_.FailNth(Op::kSync, 0, absl::InternalError("EIO"));
  absl::Status result;
  writer_->SaveNow(ListOf(OneEntry(1, [&result](absl::Status status) { result = std::move(status); })));
  EXPECT_EQ(result, absl::InternalError("EIO"));
  EXPECT_EQ(WriteAndWait(2), absl::InternalError("EIO"));
}

TEST_F(WalLogWriter, ACallerIsRefusedAfterStop) {
  Start();
  writer_->Stop();
  absl::Status result;
  writer_->SaveNow(ListOf(OneEntry(1, [&result](absl::Status status) { result = std::move(status); })));
  EXPECT_TRUE(absl::IsCancelled(result)) << result;
}

TEST_F(WalLogWriter, WritesSnapshotRecords) {
  Start();
  EXPECT_TRUE(WriteAndWait(1).ok());
  absl::Notification written;
  writer_->Enqueue({.hard_state = State(1, 1, 1), .snapshot = Snap(1, 1), .done = [&](absl::Status status) {
                      EXPECT_TRUE(status.ok()) << status;
                      written.Notify();
                    }});
  ASSERT_TRUE(written.WaitForNotificationWithTimeout(kBound));
  env_.Crash(FaultEnv::KeepNothing());
  EXPECT_THAT(ValidSnapshots("wal", options_).value(), ElementsAre(SnapshotRecord(), Snap(1, 1)));
}

TEST_F(WalLogWriter, MakesTheNextSegmentAheadOfNeed) {
  options_.segment_size_bytes = 8192;
  Start();
  EXPECT_TRUE(WriteAndWait(1, 5000).ok());
  WaitFor([&] { return env_.Exists("wal/0.tmp"); });
  EXPECT_TRUE(WriteAndWait(2, 5000).ok());
  EXPECT_TRUE(WriteAndWait(3, 10).ok());
  WaitFor([&] { return env_.Exists("wal/0000000000000001-0000000000000003.wal"); });
}

TEST_F(WalLogWriter, PurgesWhatIsReleased) {
  options_.segment_size_bytes = 4096;
  Start(2);
  for (uint64_t i = 1; i <= 5; ++i) ASSERT_TRUE(WriteAndWait(i, 5000).ok());
  writer_->ReleaseTo(raft::Index(5));
  const auto segments = [&] {
    const std::vector<std::string> names = Files();
    return std::ranges::count_if(names, [](const std::string& name) { return name.ends_with(".wal"); });
  };
  WaitFor([&] { return segments() == 2; });
}

// Many producers, real files, many segments, the helper busy: everything arrives once and in order.
TEST(WalLogWriterOnDisk, TakesFromManyThreads) {
  testing::TempDirectory directory;
  const std::string path = directory.path() + "/wal";
  const Options options = {.env = &PosixEnv(), .segment_size_bytes = 32'768};
  LogWriter writer(Wal::Create(path, kMetadata, options).value(), path, 0, options);
  constexpr uint64_t kThreads = 4, kEach = 500;
  absl::Mutex mutex;
  uint64_t next = 1, reported = 0;
  absl::BlockingCounter waiting(kThreads * kEach);
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (uint64_t i = 0; i < kEach; ++i) {
        absl::MutexLock lock(&mutex);
        const uint64_t index = next++;
        writer.Enqueue({.hard_state = State(1, 1, index - 1),
                        .entries = {MakeEntry(1, index, std::string(index % 3000, 'x'))},
                        .done = [&, index](absl::Status status) {
                          EXPECT_TRUE(status.ok()) << status;
                          EXPECT_EQ(++reported, index);
                          waiting.DecrementCount();
                        }});
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  waiting.Wait();
  writer.Stop();
  const auto recovered = ReadOnly(path, SnapshotRecord(), options);
  ASSERT_TRUE(recovered.ok()) << recovered.status();
  ASSERT_EQ(recovered->entries.size(), kThreads * kEach);
  EXPECT_EQ(recovered->entries.back(),
            MakeEntry(1, kThreads * kEach, std::string(kThreads * kEach % 3000, 'x')));
}

}  // namespace
}  // namespace kvorum::wal
