#include "http/loop.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <map>
#include <thread>

#include "absl/synchronization/notification.h"
#include "http/session_driver.h"
#include "http/timer_heap.h"

namespace kvorum::http {
namespace {

using std::chrono::milliseconds;

TEST(HttpLoop, RunsPostedTasksInOrder) {
  Loop loop("test");
  std::vector<int> order;
  for (int i = 0; i < 1000; ++i) loop.Post([&order, i] { order.push_back(i); });
  RunOn(loop, [] {});
  ASSERT_EQ(order.size(), 1000u);
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
}

TEST(HttpLoop, NeverRunsATaskInsidePost) {
  Loop loop("test");
  RunOn(loop, [&] {
    bool ran = false;
    loop.Post([&ran] { ran = true; });
    EXPECT_FALSE(ran);
  });
}

TEST(HttpLoop, TakesPostsFromManyThreads) {
  Loop loop("test");
  int count = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 10000; ++i) loop.Post([&count] { ++count; });
    });
  }
  for (std::thread& thread : threads) thread.join();
  RunOn(loop, [] {});
  EXPECT_EQ(count, 40000);
}

TEST(HttpLoop, RunsWhatWasPostedBeforeStop) {
  bool ran = false;
  Loop loop("test");
  loop.Post([&] { ran = true; });
  loop.Stop();
  EXPECT_TRUE(ran);
}

TEST(HttpLoop, RunsWhatIsPutOffByTheLastTasks) {
  int ran = 0;
  Loop loop("test");
  loop.Post([&] {
    loop.PutOff([&] {
      ++ran;
      loop.PutOff([&] { ++ran; });
    });
  });
  loop.Stop();
  EXPECT_EQ(ran, 2);
}

/// Puts itself off again and again.
void GoOnForEver(Loop& loop) {
  loop.PutOff([&loop] { GoOnForEver(loop); });
}

TEST(HttpLoop, StopsThoughSomethingIsPutOffAgainAndAgain) {
  Loop loop("test");
  RunOn(loop, [&] { GoOnForEver(loop); });
  loop.Stop();
}

TEST(HttpLoop, DestroysATaskThatIsPostedAfterStop) {
  Loop loop("test");
  loop.Stop();
  auto held = std::make_shared<int>(1);
  loop.Post([held] { FAIL(); });
  EXPECT_EQ(held.use_count(), 1);
}

TEST(HttpLoop, TimersRunByDeadlineAndCancelledOnesDoNot) {
  Loop loop("test");
  std::vector<int> order;
  absl::Notification last;
  const MonotonicTime now = loop.clock().Now();
  loop.PostAt(now + milliseconds(20), [&] {
    order.push_back(2);
    last.Notify();
  });
  loop.PostAt(now + milliseconds(10), [&] { order.push_back(1); });
  loop.CancelTimer(loop.PostAt(now + milliseconds(5), [&] { order.push_back(0); }));
  last.WaitForNotification();
  RunOn(loop, [&] { EXPECT_EQ(order, (std::vector<int>{1, 2})); });
}

TEST(HttpLoop, ATimerMayCancelAnotherThatIsDue) {
  Loop loop("test");
  bool ran = false;
  RunOn(loop, [&] {
    const MonotonicTime past = loop.clock().Now() - milliseconds(1);
    auto victim = std::make_shared<Executor::TimerId>();
    loop.PostAt(past - milliseconds(1), [&loop, victim] { loop.CancelTimer(*victim); });
    *victim = loop.PostAt(past, [&] { ran = true; });
  });
  absl::Notification later;
  loop.PostAfter(milliseconds(1), [&] { later.Notify(); });
  later.WaitForNotification();
  RunOn(loop, [&] { EXPECT_FALSE(ran); });
}

struct CountTurnEnds final : TurnEnd {
  void OnTurnEnd() override { ++count; }
  int count = 0;
};

TEST(HttpLoop, TurnEndComesAfterTheWholeBurst) {
  Loop loop("test");
  auto work = std::make_shared<CountTurnEnds>();
  absl::Notification go;
  loop.Post([&] { go.WaitForNotification(); });  // so that the next two are one burst
  int seen = -1;
  loop.Post([&] { loop.AtTurnEnd(work); });
  loop.Post([&] { seen = work->count; });
  go.Notify();
  RunOn(loop, [] {});
  EXPECT_EQ(seen, 0);
  RunOn(loop, [&] { EXPECT_EQ(work->count, 1); });
}

TEST(HttpLoop, WhatIsPutOffComesBehindTheTasksThatArePosted) {
  Loop loop("test");
  std::vector<int> order;
  absl::Notification done;
  RunOn(loop, [&] {
    loop.PutOff([&] {
      order.push_back(2);
      loop.PutOff([&] {
        order.push_back(4);
        done.Notify();
      });
      loop.Post([&] { order.push_back(3); });
    });
    loop.Post([&] { order.push_back(1); });
  });
  done.WaitForNotification();
  RunOn(loop, [&] { EXPECT_EQ(order, (std::vector<int>{1, 2, 3, 4})); });
}

TEST(HttpLoop, WhatIsPutOffHasATurnOfItsOwn) {
  Loop loop("test");
  auto work = std::make_shared<CountTurnEnds>();
  std::vector<int> seen;
  absl::Notification done;
  RunOn(loop, [&] {
    for (int i = 0; i < 2; ++i) {
      loop.PutOff([&] {
        seen.push_back(work->count);
        loop.AtTurnEnd(work);
        if (seen.size() == 2) done.Notify();
      });
    }
  });
  done.WaitForNotification();
  RunOn(loop, [&] { EXPECT_EQ(seen, (std::vector<int>{0, 1})); });
}

TEST(HttpLoop, AnEarlierTimerWakesALoopThatWaitsForALaterOne) {
  Loop loop("test");
  const MonotonicTime now = loop.clock().Now();
  loop.PostAt(now + std::chrono::hours(1), [] { FAIL(); });
  RunOn(loop, [] {});
  absl::Notification earlier;
  loop.PostAt(now + milliseconds(1), [&] { earlier.Notify(); });
  EXPECT_TRUE(earlier.WaitForNotificationWithTimeout(absl::Minutes(1)));
}

/// What it leaves on the loop when it goes.
struct LastWish {
  explicit LastWish(Loop* l) : loop(*l) {}
  ~LastWish() {
    loop.PutOff([held = held] { FAIL(); });
    loop.PostAt(loop.clock().Now(), [held = held] { FAIL(); });
    loop.AtTurnEnd(std::make_shared<CountTurnEnds>());
  }
  Loop& loop;
  std::shared_ptr<int> held = std::make_shared<int>(1);
};

TEST(HttpLoop, LetsGoOfAllThatWaits) {
  std::weak_ptr<int> put_off;
  std::weak_ptr<int> timed;
  {
    Loop loop("test");
    loop.Stop();
    auto one = std::make_shared<LastWish>(&loop);
    auto two = std::make_shared<LastWish>(&loop);
    put_off = one->held;
    timed = two->held;
    loop.PutOff([one = std::move(one)] { FAIL(); });
    loop.PostAt(loop.clock().Now(), [two = std::move(two)] { FAIL(); });
  }
  EXPECT_TRUE(put_off.expired());
  EXPECT_TRUE(timed.expired());
}

TEST(HttpLoop, GroupGivesLoopsInTurn) {
  LoopGroup group(2);
  Loop& first = group.Next();
  EXPECT_NE(&first, &group.Next());
  EXPECT_EQ(&first, &group.Next());
}

RC_GTEST_PROP(HttpTimerHeap, BehavesAsASortedMap, ()) {
  TimerHeap heap;
  std::multimap<int64_t, TimerHeap::Id> model;
  const int64_t steps = *rc::gen::inRange<int64_t>(1, 200);
  for (int64_t i = 0; i < steps; ++i) {
    const int action = *rc::gen::inRange(0, 3);
    if (action == 0 || model.empty()) {
      const int64_t at = *rc::gen::inRange<int64_t>(0, 50);
      model.emplace(at, heap.Add(MonotonicTime(std::chrono::nanoseconds(at)), [] {}));
    } else if (action == 1) {
      auto victim =
          std::next(model.begin(), *rc::gen::inRange<int64_t>(0, static_cast<int64_t>(model.size())));
      RC_ASSERT(static_cast<bool>(heap.Take(victim->second)));
      RC_ASSERT(!heap.Take(victim->second));
      model.erase(victim);
    } else {
      const auto earliest = model.begin()->first;
      RC_ASSERT(heap.Earliest() == MonotonicTime(std::chrono::nanoseconds(earliest)));
      RC_ASSERT(!heap.TakeDue(MonotonicTime(std::chrono::nanoseconds(earliest - 1))));
    }
    heap.CheckInvariants();
    RC_ASSERT(heap.size() == model.size());
  }
}

}  // namespace
}  // namespace kvorum::http
