#include <gtest/gtest.h>

#include <thread>

#include "v2store/store.h"
#include "v2store/testing.h"

namespace kvorum::v2store {
namespace {

/// A watch and what it was told: "action path@index", one after another.
class Seen final : public WatchSink {
 public:
  Seen(Store& store, WatchRequest request) {
    std::variant<Store::WatchStart, Error> result = store.Watch(request, this);
    if (const Error* error = std::get_if<Error>(&result)) {
      error_ = Shown(*error);
      return;
    }
    start_ = std::move(std::get<Store::WatchStart>(result));
    if (start_.event != nullptr) OnEvent(start_.event, start_.body);
  }

  void OnEvent(const EventPtr& event, const std::shared_ptr<const std::string>& body) override {
    EXPECT_EQ(*body, Shown(event) + "\n");
    if (!events_.empty()) events_ += ' ';
    events_ += fmt::format("{} {}@{}", Name(event->action), event->node.path, event->index());
    body_ = body;
  }
  void OnLost() override { events_ += " lost"; }

  std::string events() const { return events_; }
  std::string error() const { return error_; }
  bool from_history() const { return start_.event != nullptr; }
  uint64_t index() const { return start_.index; }
  const std::shared_ptr<const std::string>& body() const { return body_; }
  void End() { start_.watcher.reset(); }

 private:
  std::string events_;
  std::string error_;
  std::shared_ptr<const std::string> body_;
  Store::WatchStart start_;
};

class V2WatchTest : public testing::Test {
 protected:
  StandingClock clock_;
  Store store_{&clock_};
};

// Which event comes first at a watcher, told live, and found in the history: one row for each case of
// v2-keys.md §8.3. Every row's store has /a/b/c (index 1), /a/_h/x (2), /ab (3) and /t (4), before the
// change.

struct Case {
  const char* name;
  WatchRequest watch;
  Request change;
  const char* live;
  const char* past;
};

class V2WatchMatches : public V2WatchTest, public testing::WithParamInterface<Case> {
 protected:
  V2WatchMatches() {
    for (const char* path : {"/1/a/b/c", "/1/a/_h/x", "/1/ab", "/1/t"}) store_.Set(path, false, "v", {});
  }
};

TEST_P(V2WatchMatches, Live) {
  Seen seen(store_, GetParam().watch);
  store_.Apply(GetParam().change);
  EXPECT_EQ(seen.events(), GetParam().live);
}

TEST_P(V2WatchMatches, FromTheHistory) {
  store_.Apply(GetParam().change);
  WatchRequest request = GetParam().watch;
  request.since = 5;
  EXPECT_EQ(Seen(store_, request).events(), GetParam().past);
}

constexpr const char* kSetC = "set /1/a/b/c@5";
constexpr const char* kDeleteA = "delete /1/a@5";
const Request kDeletesA = {.method = "DELETE", .path = "/1/a", .recursive = true};

const Case kCases[] = {
    {"Itself", {.path = "/1/a/b/c"}, {.method = "PUT", .path = "/1/a/b/c"}, kSetC, kSetC},
    {"ItselfRecursive",
     {.path = "/1/a/b/c", .recursive = true},
     {.method = "PUT", .path = "/1/a/b/c"},
     kSetC,
     kSetC},
    {"Below", {.path = "/1/a"}, {.method = "PUT", .path = "/1/a/b/c"}, "", ""},
    {"BelowRecursive",
     {.path = "/1/a", .recursive = true},
     {.method = "PUT", .path = "/1/a/b/c"},
     kSetC,
     kSetC},
    {"BelowTheRoot", {.path = "/", .recursive = true}, {.method = "PUT", .path = "/1/a/b/c"}, kSetC, kSetC},
    {"BesideWithTheSameBeginning",
     {.path = "/1/a", .recursive = true},
     {.method = "PUT", .path = "/1/ab"},
     "",
     ""},
    {"AncestorRemoved", {.path = "/1/a/b/c"}, kDeletesA, kDeleteA, kDeleteA},
    {"DirectoryRemovedByAncestor", {.path = "/1/a/b", .recursive = true}, kDeletesA, kDeleteA, kDeleteA},
    {"HiddenRemovedByAncestor", {.path = "/1/a/_h/x"}, kDeletesA, kDeleteA, kDeleteA},
    // The history does not know that there never was such a path.
    {"NothingThereAncestorRemoved", {.path = "/1/a/b/d"}, kDeletesA, "", kDeleteA},
    {"SameBeginningAsRemoved", {.path = "/1/ab"}, kDeletesA, "", ""},
    {"AncestorSet", {.path = "/1/t/x"}, {.method = "PUT", .path = "/1/t"}, "", ""},
    {"AncestorFileRemoved", {.path = "/1/t/x"}, {.method = "DELETE", .path = "/1/t"}, "", ""},
    {"AncestorComparedAndDeleted",
     {.path = "/1/t/x"},
     {.method = "DELETE", .path = "/1/t", .prev_value = "v"},
     "",
     ""},
    {"HiddenBelow", {.path = "/1/a", .recursive = true}, {.method = "PUT", .path = "/1/a/_h/x"}, "", ""},
    {"HiddenItself",
     {.path = "/1/a/_h", .recursive = true},
     {.method = "PUT", .path = "/1/a/_h/x"},
     "set /1/a/_h/x@5",
     "set /1/a/_h/x@5"},
    {"Refresh", {.path = "/1/t"}, {.method = "PUT", .path = "/1/t", .refresh = true}, "", ""},
    {"RefreshBySwap",
     {.path = "/1/t"},
     {.method = "PUT", .path = "/1/t", .prev_value = "v", .refresh = true},
     "",
     ""},
    {"RefreshByUpdate",
     {.path = "/1/t"},
     {.method = "PUT", .path = "/1/t", .prev_exist = true, .refresh = true},
     "",
     ""},
    {"Get", {.path = "/1/t"}, {.method = "QGET", .path = "/1/t"}, "", ""},
    {"Failed", {.path = "/1/t"}, {.method = "PUT", .path = "/1/t", .prev_exist = false}, "", ""},
};
INSTANTIATE_TEST_SUITE_P(Cases, V2WatchMatches, testing::ValuesIn(kCases),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_F(V2WatchTest, AnExpiryIsToldAsARemoval) {
  store_.Create("/1/d", true, "", false, clock_.After(1));
  store_.Set("/1/d/x", false, "v", {});
  Seen below(store_, {.path = "/1/d/x"});
  Seen above(store_, {.path = "/1", .recursive = true});
  store_.Expire(clock_.After(1));
  EXPECT_EQ(below.events(), "expire /1/d@3");
  EXPECT_EQ(above.events(), "expire /1/d@3");
  EXPECT_EQ(
      Shown(Result(std::get<Store::WatchStart>(store_.Watch({.path = "/1/d", .since = 3}, nullptr)).event)),
      R"({"action":"expire","node":{"key":"/d","dir":true,"modifiedIndex":3,"createdIndex":1},)"
      R"("prevNode":{"key":"/d","dir":true,"expiration":"2023-11-14T22:13:21Z","ttl":1,)"
      R"("modifiedIndex":1,"createdIndex":1}})");
}

TEST_F(V2WatchTest, AStreamIsToldOfEachEventOnce) {
  Seen file(store_, {.path = "/1/d/f", .stream = true});
  Seen directory(store_, {.path = "/1/d", .recursive = true, .stream = true});
  store_.Set("/1/d/f", false, "v", {});
  store_.CompareAndDelete("/1/d/f", "v", 0);
  store_.Set("/1/d/f", false, "v", {});
  store_.Delete("/1/d", true, true);
  EXPECT_EQ(file.events(), "set /1/d/f@1 compareAndDelete /1/d/f@2 set /1/d/f@3 delete /1/d@4");
  EXPECT_EQ(directory.events(), file.events());
}

TEST_F(V2WatchTest, WhatIsBelowIsToldFirst) {
  // One sink for all, to see the order.
  class Order final : public WatchSink {
   public:
    explicit Order(std::string name, std::string* all) : name_(std::move(name)), all_(all) {}
    void OnEvent(const EventPtr&, const std::shared_ptr<const std::string>&) override {
      *all_ += name_ + ' ';
    }
    void OnLost() override { *all_ += "lost "; }

   private:
    std::string name_;
    std::string* all_;
  };
  store_.Set("/1/d/e/f", false, "v", {});
  std::string all;
  std::deque<Order> sinks;
  std::vector<Store::WatchStart> starts;
  for (const char* path : {"/", "/1", "/1/d", "/1/d/e", "/1/d/e/f", "/1/d/e/g", "/1/d"}) {
    sinks.emplace_back(path, &all);
    starts.push_back(
        std::get<Store::WatchStart>(store_.Watch({.path = path, .recursive = true}, &sinks.back())));
  }
  store_.Delete("/1/d", true, true);
  EXPECT_EQ(all, "/1/d/e/f /1/d/e / /1 /1/d /1/d ");
}

TEST_F(V2WatchTest, OneThatIsNoStreamIsToldOnce) {
  Seen once(store_, {.path = "/1/f"});
  EXPECT_EQ(store_.stats().watchers, 1u);
  store_.Set("/1/f", false, "v", {});
  EXPECT_EQ(store_.stats().watchers, 0u);
  store_.Set("/1/f", false, "w", {});
  EXPECT_EQ(once.events(), "set /1/f@1");
}

TEST_F(V2WatchTest, AllWhoGetAnEventShareItsBody) {
  Seen first(store_, {.path = "/1/f"});
  Seen second(store_, {.path = "/1", .recursive = true});
  store_.Set("/1/f", false, "v", {});
  Seen third(store_, {.path = "/1/f", .since = 1});
  EXPECT_EQ(first.body(), second.body());
  EXPECT_EQ(first.body(), third.body());
}

TEST_F(V2WatchTest, WaitsForTheIndexAskedFor) {
  store_.Set("/1/f", false, "v", {});
  Seen later(store_, {.path = "/1/f", .stream = true, .since = 3});
  EXPECT_EQ(later.index(), 1u);
  store_.Set("/1/f", false, "v", {});
  EXPECT_EQ(later.events(), "");
  store_.Set("/1/f", false, "v", {});
  store_.Set("/1/f", false, "v", {});
  EXPECT_EQ(later.events(), "set /1/f@3 set /1/f@4");
}

TEST_F(V2WatchTest, TheHistoryGivesTheFirstThatMatches) {
  store_.Set("/1/f", false, "v", {});
  store_.Set("/1/g", false, "v", {});
  store_.Set("/1/f", false, "w", {});
  store_.Set("/1/f", false, "x", {});
  Seen seen(store_, {.path = "/1/f", .stream = true, .since = 2});
  EXPECT_TRUE(seen.from_history());
  EXPECT_EQ(seen.index(), 4u);
  store_.Set("/1/f", false, "y", {});
  EXPECT_EQ(seen.events(), "set /1/f@3");  // and nothing more, though a stream
  EXPECT_EQ(store_.stats().watchers, 0u);
}

TEST_F(V2WatchTest, WhatIsNotInTheHistoryIsWaitedFor) {
  store_.Set("/1/f", false, "v", {});
  Seen seen(store_, {.path = "/1/g", .since = 1});
  EXPECT_FALSE(seen.from_history());
  store_.Set("/1/g", false, "v", {});
  EXPECT_EQ(seen.events(), "set /1/g@2");
}

TEST_F(V2WatchTest, TheHistoryHasTheLastThousandEvents) {
  for (int i = 0; i < 1000; ++i) store_.Set("/1/f", false, "v", {});
  EXPECT_EQ(Seen(store_, {.path = "/1/f", .since = 1}).events(), "set /1/f@1");
  store_.Set("/1/f", false, "v", clock_.After(9), true);  // a refresh takes a place too
  EXPECT_EQ(Seen(store_, {.path = "/1/f", .since = 1}).error(),
            "401 the requested history has been cleared [2/1] @1001");
  EXPECT_EQ(Seen(store_, {.path = "/1/f", .since = 2}).events(), "set /1/f@2");
}

TEST_F(V2WatchTest, EndedOnesAreToldNothing) {
  Seen first(store_, {.path = "/1/f"});
  Seen second(store_, {.path = "/1/f"});
  Seen third(store_, {.path = "/1/f"});
  second.End();
  store_.Set("/1/f", false, "v", {});
  EXPECT_EQ(first.events() + third.events(), "set /1/f@1set /1/f@1");
  EXPECT_EQ(second.events(), "");
}

TEST_F(V2WatchTest, KeepsWaitersThroughARecovery) {
  const std::string empty = store_.SaveView()->ToJson();
  store_.Set("/1/f", false, "v", {});
  Seen waiting(store_, {.path = "/1/f"});
  ASSERT_TRUE(store_.Recover(empty).ok());
  EXPECT_EQ(waiting.events(), "");
  store_.Set("/1/f", false, "v", {});
  EXPECT_EQ(waiting.events(), "");  // it waits for what comes after index 1
  store_.Set("/1/f", false, "v", {});
  EXPECT_EQ(waiting.events(), "set /1/f@2");
}

/// A member that lagged behind takes the leader's snapshot over.
class V2WatchReplaced : public V2WatchTest {
 protected:
  void Recover() { ASSERT_TRUE(store_.Recover(ahead_.SaveView()->ToJson()).ok()); }

  Store ahead_{&clock_};
};

TEST_F(V2WatchReplaced, WhoWaitsIsToldWhatTheHistoryHas) {
  for (Store* store : {&store_, &ahead_}) store->Set("/1/a", false, "v", {});
  Seen poll(store_, {.path = "/1/d", .recursive = true});
  Seen stream(store_, {.path = "/1/d", .recursive = true, .stream = true});
  Seen later(store_, {.path = "/1/d", .recursive = true, .since = 3});
  Seen other(store_, {.path = "/1/x"});
  Seen future(store_, {.path = "/1/d", .recursive = true, .since = 5});
  ahead_.Set("/1/d/f", false, "v", {});
  ahead_.Set("/1/d/_h", false, "v", {});
  ahead_.Set("/1/d/f", false, "w", {});
  Recover();
  EXPECT_EQ(poll.events(), "set /1/d/f@2");
  EXPECT_EQ(stream.events(), "set /1/d/f@2 set /1/d/f@4");
  EXPECT_EQ(later.events(), "set /1/d/f@4");
  EXPECT_EQ(other.events() + future.events(), "");
  EXPECT_EQ(store_.stats().watchers, 3u);
  store_.Set("/1/d/f", false, "x", {});
  EXPECT_EQ(poll.events(), "set /1/d/f@2");
  EXPECT_EQ(stream.events(), "set /1/d/f@2 set /1/d/f@4 set /1/d/f@5");
  EXPECT_EQ(future.events(), "set /1/d/f@5");
}

TEST_F(V2WatchReplaced, WhoWaitsIsLostWhereTheHistoryDoesNotReach) {
  for (Store* store : {&store_, &ahead_}) store->Set("/1/a", false, "v", {});
  Seen poll(store_, {.path = "/1/d", .recursive = true});
  Seen stream(store_, {.path = "/1/d", .recursive = true, .stream = true});
  Seen future(store_, {.path = "/1/d", .recursive = true, .since = 3});
  for (int i = 0; i < 1001; ++i) ahead_.Set("/1/d/f", false, "v", {});
  Recover();
  EXPECT_EQ(poll.events() + stream.events(), " lost lost");
  EXPECT_EQ(future.events(), "set /1/d/f@3");
  EXPECT_EQ(store_.stats().watchers, 0u);
  store_.Set("/1/d/f", false, "x", {});
  EXPECT_EQ(stream.events(), " lost");
}

TEST_F(V2WatchReplaced, NobodyIsToldTwiceByTheStoreOfNow) {
  for (Store* store : {&store_, &ahead_}) store->Set("/1/a", false, "v", {});
  Seen stream(store_, {.path = "/", .recursive = true, .stream = true});
  Recover();
  EXPECT_EQ(stream.events(), "");
}

TEST_F(V2WatchTest, TheHistoryOfLateHasAlsoWhatNobodyIsTold) {
  store_.Set("/1/a", false, "v", {});
  store_.Set("/1/_h", false, "v", {});
  store_.Set("/1/a", false, "", {}, /*refresh=*/true);
  std::string all;
  for (const EventPtr& event : store_.EventsSince(2)) all += event->node.path + (event->refresh ? "! " : " ");
  EXPECT_EQ(all, "/1/_h /1/a! ");
}

/// Fails when it is told after its end.
class EndingSink final : public WatchSink {
 public:
  void OnEvent(const EventPtr&, const std::shared_ptr<const std::string>&) override {
    EXPECT_FALSE(ended.load());
    told.store(true);
  }
  void OnLost() override { ADD_FAILURE(); }
  std::atomic<bool> ended{false};
  std::atomic<bool> told{false};
};

TEST_F(V2WatchTest, EndsWhileOthersAreTold) {
  std::atomic<int> running{3};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([this, t, &running] {
      for (int i = 0; i < 300; ++i) {
        EndingSink sink;
        auto start = std::get<Store::WatchStart>(store_.Watch(
            {.path = t == 0 ? "/1/d" : "/1/d/f", .recursive = true, .stream = i % 3 == 0}, &sink));
        while (i % 2 == 0 && !sink.told.load()) std::this_thread::yield();
        start.watcher.reset();
        sink.ended.store(true);
      }
      --running;
    });
  }
  while (running.load() > 0) {
    store_.Set("/1/d/f", false, "v", {});
    store_.Delete("/1/d", true, true);
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(store_.stats().watchers, 0u);
}

}  // namespace
}  // namespace kvorum::v2store
