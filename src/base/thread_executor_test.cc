#include "base/thread_executor.h"

#include <pthread.h>

#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace kvorum {
namespace {

using ::testing::ElementsAre;
constexpr absl::Duration kBound = absl::Seconds(30);

TEST(BaseThreadExecutor, RunsTasksInOrderOnItsThread) {
  ThreadExecutor executor("test-executor");
  std::vector<int> order;
  std::string name(16, '\0');
  for (int i = 0; i < 1000; ++i) executor.Post([&order, i] { order.push_back(i); });
  absl::Notification done;
  executor.Post([&] {
    pthread_getname_np(pthread_self(), name.data(), name.size());
    done.Notify();
  });
  ASSERT_TRUE(done.WaitForNotificationWithTimeout(kBound));
  ASSERT_EQ(order.size(), 1000u);
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
  EXPECT_STREQ(name.c_str(), "test-executor");
}

TEST(BaseThreadExecutor, TakesTasksFromManyThreadsAndFromItsOwnTasks) {
  ThreadExecutor executor("many");
  int ran = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 1000; ++i) executor.Post([&] { executor.Post([&] { ++ran; }); });
    });
  }
  for (std::thread& thread : threads) thread.join();
  absl::Notification done;
  executor.Post([&] { executor.Post([&] { done.Notify(); }); });
  ASSERT_TRUE(done.WaitForNotificationWithTimeout(kBound));
  EXPECT_EQ(ran, 4000);
}

TEST(BaseThreadExecutor, RunsTimersByDeadline) {
  ThreadExecutor executor("timers");
  std::vector<int> order;
  absl::Notification done;
  const MonotonicTime now = executor.clock().Now();
  executor.PostAt(now + std::chrono::milliseconds(3), [&] {
    order.push_back(3);
    done.Notify();
  });
  executor.PostAt(now + std::chrono::milliseconds(1), [&] { order.push_back(1); });
  executor.PostAt(now + std::chrono::milliseconds(2), [&] {
    EXPECT_GE(executor.clock().Now(), now + std::chrono::milliseconds(2));
    order.push_back(2);
  });
  ASSERT_TRUE(done.WaitForNotificationWithTimeout(kBound));
  EXPECT_THAT(order, ElementsAre(1, 2, 3));
}

TEST(BaseThreadExecutor, CancelledTimerDoesNotRun) {
  ThreadExecutor executor("cancel");
  bool cancelled_ran = false;
  absl::Notification done;
  executor.Post([&] {
    const MonotonicTime now = executor.clock().Now();
    // Both are due in the same turn; the first forgets the second.
    auto second = std::make_shared<Executor::TimerId>();
    executor.PostAt(now, [&, second] { executor.CancelTimer(*second); });
    *second = executor.PostAt(now, [&] { cancelled_ran = true; });
    executor.PostAt(now + std::chrono::milliseconds(1), [&] { done.Notify(); });
  });
  ASSERT_TRUE(done.WaitForNotificationWithTimeout(kBound));
  EXPECT_FALSE(cancelled_ran);
}

TEST(BaseThreadExecutor, StopFinishesTheQueueAndDropsTheRest) {
  ThreadExecutor executor("stop");
  int ran = 0;
  for (int i = 0; i < 100; ++i) executor.Post([&] { ++ran; });
  executor.PostAfter(std::chrono::hours(1), [&] { ran = -1; });
  executor.Stop();
  EXPECT_EQ(ran, 100);
  auto late = std::make_shared<int>(0);
  executor.Post([&, late] { ran = -1; });
  EXPECT_EQ(late.use_count(), 1);
  executor.Stop();
  EXPECT_EQ(ran, 100);
}

}  // namespace
}  // namespace kvorum
