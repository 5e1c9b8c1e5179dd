#include "sim/check/v2_checker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include "base/random.h"
#include "sim/check/testing/v2_story.h"

namespace kvorum::sim {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::V2;
using testing::V2Story;
using v2store::Request;

Request Cas(const std::string& path, const std::string& before, const std::string& after) {
  Request request = V2("PUT", path, after);
  request.prev_value = before;
  return request;
}
Request Ttl(const std::string& path, const std::string& value, int64_t expires) {
  Request request = V2("PUT", path, value);
  request.expiration = expires;
  return request;
}
Request Recursive(Request request) {
  request.recursive = true;
  return request;
}

TEST(V2Checker, FindsNothingInAGoodHistory) {
  V2Story story;
  story.rules.most_late = 2'000'000'000;
  story.Do(V2("PUT", "/1/a", "1"));
  story.Do(Cas("/1/a", "1", "2"));
  story.Do(Cas("/1/a", "1", "3"));
  story.Do(V2("POST", "/1/q", "4"));
  story.Do(V2("QGET", "/1/q"));
  story.Do(V2("GET", "/1/a"), 2);
  story.Do(V2("PUT", "/1/_hidden", "5"));
  story.Do(Ttl("/1/t", "6", story.In(1)));
  story.Wait(1'500'000'000);
  story.Expire();
  story.DoUnknown(V2("PUT", "/1/u", "7"));
  story.DoUnknown(Recursive(V2("DELETE", "/1/q")));
  story.Lose(V2("PUT", "/1/v", "8"));
  story.Do(V2("QGET", "/1/t"));
  story.Finish();
  EXPECT_THAT(story.Check(), IsEmpty());
}

TEST(V2Checker, CatchesASwapThatShouldHaveFailed) {
  V2Story story;
  story.Do(V2("PUT", "/1/a", "1"));
  const size_t i = story.Do(Cas("/1/a", "1", "2"));
  story.Finish();
  story.op(i).request.prev_value = "0";
  EXPECT_THAT(story.Check(),
              ElementsAre(AllOf(HasSubstr("v2 #1"), HasSubstr("took index 2; it should have error 101"))));
}

TEST(V2Checker, CatchesASwapThatShouldHaveSucceeded) {
  V2Story story;
  story.Do(V2("PUT", "/1/a", "1"));
  const size_t i = story.Do(Cas("/1/a", "0", "2"));
  story.Finish();
  story.op(i).request.prev_value = "1";
  EXPECT_THAT(story.Check(), ElementsAre(AllOf(HasSubstr("v2 #1"),
                                               HasSubstr("had error 101 at index 1; it should succeed"))));
}

TEST(V2Checker, CatchesWrongAnswersToWrites) {
  V2Story story;
  story.Do(V2("PUT", "/1/a", "1"));
  const size_t i = story.Do(V2("PUT", "/1/a", "2"));
  story.Finish();
  const V2Operation good = story.op(i);
  const auto expect_caught = [&](auto change) {
    change(story.op(i));
    EXPECT_THAT(story.Check(), Contains(HasSubstr("v2 #1")));
    story.op(i) = good;
  };
  expect_caught([](V2Operation& op) { op.prev_value = "0"; });
  expect_caught([](V2Operation& op) { op.has_prev = false; });
  expect_caught([](V2Operation& op) { op.value = "3"; });
  expect_caught([](V2Operation& op) { op.created_index = 1; });
  expect_caught([](V2Operation& op) { op.expires = 1; });
  expect_caught([](V2Operation& op) { op.action = "update"; });
  expect_caught([](V2Operation& op) { op.status = 201; });
  expect_caught([](V2Operation& op) { op.etcd_index = 1; });
  expect_caught([](V2Operation& op) { op.request.value = "3"; });
  EXPECT_THAT(story.Check(), IsEmpty());
}

TEST(V2Checker, CatchesAKeyMadeOutOfOrder) {
  V2Story story;
  story.Do(V2("PUT", "/1/a", "1"));
  const size_t i = story.Do(V2("POST", "/1/q", "2"));
  story.Finish();
  ASSERT_EQ(story.op(i).key, "/1/q/00000000000000000002");
  story.op(i).key = story.history.v2_events[1].path = "/1/q/00000000000000000001";
  EXPECT_THAT(story.Check(), Contains(AllOf(HasSubstr("v2 #1"),
                                            HasSubstr("it should be create of /1/q/00000000000000000002"))));
}

TEST(V2Checker, CatchesALostWriteAndTwoAtOneIndex) {
  V2Story story;
  story.Do(V2("PUT", "/1/a", "1"));
  story.Do(V2("PUT", "/1/b", "2"));
  story.Finish();
  story.history.v2_events.pop_back();
  EXPECT_THAT(story.Check(), ElementsAre(AllOf(HasSubstr("v2 #1"), HasSubstr("nothing was seen"))));
  story.op(1).modified_index = story.op(1).etcd_index = 1;
  EXPECT_THAT(story.Check(), Contains(AllOf(HasSubstr("index 1 is claimed by v2 #0"), HasSubstr("v2 #1"))));
}

TEST(V2Checker, CatchesWrongReads) {
  V2Story story;
  story.Do(V2("PUT", "/1/d/a", "1"));
  const size_t file = story.Do(V2("QGET", "/1/d/a"));
  const size_t directory = story.Do(V2("QGET", "/1/d"));
  const size_t missing = story.Do(V2("QGET", "/1/x"));
  story.Finish();
  const V2Node child = {.path = "/1/d/a", .value = "1", .modified_index = 1, .created_index = 1};
  ASSERT_EQ(story.op(directory).children->size(), 1U);
  ASSERT_EQ(story.op(directory).children->front().path, child.path);
  EXPECT_THAT(story.Check(), IsEmpty());
  story.op(file).value = "0";
  story.op(directory).children->push_back({.path = "/1/d/b"});
  story.op(missing).request.path = "/1/d/a";
  EXPECT_THAT(story.Check(), ElementsAre(HasSubstr("v2 #1"), HasSubstr("v2 #2"), HasSubstr("v2 #3")));
  story.op(directory).children = {child};
  story.op(directory).children->front().modified_index = 2;
  EXPECT_THAT(story.Check(), Contains(AllOf(HasSubstr("v2 #2"), HasSubstr("/1/d/a"))));
}

TEST(V2Checker, CatchesAWrongListingOfAllBelow) {
  V2Story story;
  for (const char* path : {"/1/d/a/x", "/1/d/a-", "/1/d/_h/y", "/1/d/b/_h"}) story.Do(V2("PUT", path, path));
  const size_t i = story.Do(Recursive(V2("GET", "/1/d")));
  story.Finish();
  EXPECT_THAT(story.Check(), IsEmpty());
  std::vector<V2Node>& children = *story.op(i).children;
  std::vector<std::string> paths;
  for (const V2Node& child : children) paths.push_back(child.path);
  EXPECT_THAT(paths, ElementsAre("/1/d/a", "/1/d/a/x", "/1/d/a-", "/1/d/b"));
  const std::vector<V2Node> good = children;
  children.erase(children.begin() + 1);
  EXPECT_THAT(story.Check(), ElementsAre(HasSubstr("v2 #4")));
  children = good;
  children[1].value = "other";
  EXPECT_THAT(story.Check(), ElementsAre(AllOf(HasSubstr("v2 #4"), HasSubstr("/1/d/a/x"))));
}

TEST(V2Checker, HoldsEveryIndexAgainstTheAccountsOfTheMembers) {
  V2Story story;
  story.Do(V2("PUT", "/1/a", "1"));
  story.Do(V2("PUT", "/1/_h", "2"));
  story.Finish();
  story.rules.every_index_told = true;
  EXPECT_THAT(story.Check(), ElementsAre("index 2 is in no member's account"));
  story.history.v2_events.push_back({.index = 2, .action = "set", .path = "/1/_h", .value = "2"});
  EXPECT_THAT(story.Check(), IsEmpty());
  story.history.v2_events.back().refresh = true;
  EXPECT_THAT(story.Check(), ElementsAre(HasSubstr("v2 #1")));
}

TEST(V2Checker, KnowsThatNothingIsLateBeforeThereIsALeader) {
  V2Story story;
  story.Do(Ttl("/1/a", "1", story.In(1)));
  story.Wait(9'000'000'000);
  story.Expire();
  story.Finish();
  story.rules.most_late = 2'000'000'000;
  EXPECT_THAT(story.Check(), ElementsAre(HasSubstr("after its time")));
  story.rules.healthy = story.now() - 2'000'000'000;
  EXPECT_THAT(story.Check(), IsEmpty());
}

TEST(V2Checker, ReckonsWithTheClocksOfLeaders) {
  V2Story story;
  story.Do(Ttl("/1/early", "1", story.In(60)));
  story.Do(Ttl("/1/past", "2", story.In(-60)));
  story.Do(Ttl("/1/late", "3", story.In(1)));
  story.Wait(5'000'000'000);
  story.Finish();
  story.rules.most_late = 4'000'000'000;
  story.rules.clock_behind = 10'000'000'000;
  EXPECT_THAT(story.Check(), ElementsAre(AllOf(HasSubstr("/1/past is there to the end"))));
  story.rules.most_late = 6'000'000'000;
  EXPECT_THAT(story.Check(), IsEmpty());
  story.rules.most_late = 2'000'000'000;
  story.rules.clock_behind = 0;
  EXPECT_THAT(story.Check(), ElementsAre(HasSubstr("/1/late is there"), HasSubstr("/1/past is there")));
  for (const char* path : {"/1/past", "/1/late", "/1/early"}) {
    const uint64_t index = story.history.v2_events.size() + 1;
    story.history.v2_events.push_back(
        {.index = index, .action = "expire", .path = path, .value = "", .seen = story.now()});
  }
  story.rules.most_late = 6'000'000'000;
  EXPECT_THAT(story.Check(), ElementsAre(AllOf(HasSubstr("/1/early"), HasSubstr("before its time"))));
  story.rules.clock_ahead = 60'000'000'000;
  EXPECT_THAT(story.Check(), IsEmpty());
}

TEST(V2Checker, CatchesAStaleReadWithQuorum) {
  V2Story story;
  story.Do(V2("PUT", "/1/a", "1"));
  const size_t i = story.Do(V2("GET", "/1/a"), 2);
  story.Do(V2("PUT", "/1/a", "2"));
  story.Do(V2("GET", "/1/a"), 3);
  story.Finish();
  story.op(i).invoked = story.now() + 1;
  story.op(i).returned = story.now() + 2;
  EXPECT_THAT(story.Check(), IsEmpty());
  story.op(i).member = MemberId(3);
  EXPECT_THAT(story.Check(),
              ElementsAre(AllOf(HasSubstr("v2 #1"), HasSubstr("v2 #3"), HasSubstr("by the same member"))));
  story.op(i).member = MemberId(2);
  story.op(i).quorum = true;
  EXPECT_THAT(story.Check(),
              ElementsAre(AllOf(HasSubstr("v2 #1"), HasSubstr("although index 2 was answered"))));
}

TEST(V2Checker, CatchesAnIndexThatNobodyTook) {
  V2Story story;
  story.DoUnknown(V2("PUT", "/1/a", "1"));
  story.DoUnknown(V2("PUT", "/1/a", "2"));
  story.DoUnknown(V2("PUT", "/1/_h", "3"));
  story.Finish();
  story.history.v2_events.push_back({.index = 4, .action = "set", .path = "/0/x", .value = "theirs"});
  EXPECT_THAT(story.Check(), IsEmpty());
  story.op(1).request.value = "9";
  EXPECT_THAT(story.Check(), ElementsAre("index 2 was taken by nobody: set of /1/a \"2\""));
  story.op(1).request.value = "2";
  story.op(2).request.path = "/1/seen";
  EXPECT_THAT(story.Check(), ElementsAre("index 3 was taken by nobody"));
}

TEST(V2Checker, CatchesARequestThatHappenedTwiceOrTooEarly) {
  V2Story story;
  story.DoUnknown(V2("PUT", "/1/a", "1"));
  story.DoUnknown(V2("PUT", "/1/a", "1"));
  story.Finish();
  V2Operation repeated = story.op(1);
  story.history.v2_operations.pop_back();
  EXPECT_THAT(story.Check(), ElementsAre(HasSubstr("index 2 was taken by nobody")));
  story.history.v2_operations.push_back(repeated);
  EXPECT_THAT(story.Check(), IsEmpty());
  story.op(1).invoked = story.now() + 1;
  EXPECT_THAT(story.Check(), ElementsAre(HasSubstr("index 2 was taken by nobody")));
}

TEST(V2Checker, CatchesNodesThatExpireWrongly) {
  V2Story story;
  story.Do(Ttl("/1/a", "1", story.In(1)));
  story.Do(Ttl("/1/b", "2", story.In(2)));
  story.Wait(3'000'000'000);
  story.Expire();
  story.Finish();
  story.rules.most_late = 3'000'000'000;
  EXPECT_THAT(story.Check(), IsEmpty());
  const int64_t due = story.op(0).request.expiration;
  const auto set_due = [&story](size_t i, int64_t expires) {
    story.op(i).request.expiration = story.op(i).expires = story.history.v2_events[i].expires = expires;
  };
  set_due(0, 0);
  EXPECT_THAT(story.Check(), ElementsAre("/1/a expired at index 3, and had no end"));
  set_due(0, story.op(1).request.expiration + 1);
  EXPECT_THAT(story.Check(), ElementsAre("/1/a expired at index 3, before /1/b, which was due earlier"));
  set_due(0, due);
  set_due(1, due + 4'000'000'000);
  EXPECT_THAT(story.Check(),
              ElementsAre(AllOf(HasSubstr("/1/b expired at index 4"), HasSubstr("before its time"))));
  set_due(1, due);
  story.rules.most_late = 1'000'000'000;
  EXPECT_THAT(story.Check(),
              Contains(AllOf(HasSubstr("/1/a expired at index 3"), HasSubstr("after its time"))));
  story.rules.most_late = 1'900'000'000;
  story.history.v2_events.resize(2);
  EXPECT_THAT(story.Check(), Contains(AllOf(HasSubstr("/1/a is there to the end"))));
}

TEST(V2Checker, KnowsThatNobodyIsToldOfHiddenNodes) {
  V2Story story;
  story.Do(Ttl("/1/_a", "1", story.In(1)));
  story.Wait(1'000'000'000);
  story.Expire();
  story.Do(V2("QGET", "/1/_a"));
  story.Finish();
  ASSERT_THAT(story.history.v2_events, IsEmpty());
  EXPECT_THAT(story.Check(), IsEmpty());
  story.op(0).request.expiration = story.In(9);
  EXPECT_THAT(story.Check(), Contains("index 2 was taken by nobody"));
}

TEST(V2Checker, KnowsWhatWatchesAreTold) {
  V2Story story;
  story.Do(V2("PUT", "/1/d/a", "1"));
  story.Watch({.path = "/1/d", .recursive = true, .stream = true});
  story.Watch({.path = "/1/d/a"});
  story.Watch({.path = "/1/d", .recursive = true, .wait_index = 1});
  story.Watch({.path = "/1/d/a", .stream = true, .wait_index = 3});
  story.Do(V2("PUT", "/1/d/_h", "2"));
  story.Do(V2("PUT", "/1/d/a", "3"));
  story.Do(V2("PUT", "/1/d/a", "4"));
  story.Do(Recursive(V2("DELETE", "/1/d")));
  story.Finish();
  auto& watches = story.history.v2_watches;
  ASSERT_EQ(watches[0].events.size(), 3U);
  ASSERT_EQ(watches[3].events.size(), 3U);
  EXPECT_THAT(story.Check(), IsEmpty());

  auto good = watches;
  watches[0].events.erase(watches[0].events.begin());
  EXPECT_THAT(story.Check(), ElementsAre(AllOf(HasSubstr("v2 watch #0"),
                                               HasSubstr("what comes next is set of /1/d/a at 3"))));
  watches = good;
  watches[0].events.pop_back();
  EXPECT_THAT(story.Check(), ElementsAre(HasSubstr("was not told of delete of /1/d at 5")));
  watches = good;
  watches[1].events.push_back(watches[0].events[1]);
  EXPECT_THAT(story.Check(), ElementsAre(HasSubstr("v2 watch #1")));
  watches = good;
  watches[2].events[0] = watches[0].events[0];
  EXPECT_THAT(story.Check(), ElementsAre(AllOf(HasSubstr("v2 watch #2"),
                                               HasSubstr("what comes next is set of /1/d/a at 1"))));
  watches = good;
  watches[3].events[0].value = "9";
  EXPECT_THAT(story.Check(), ElementsAre(HasSubstr("v2 watch #3")));
}

TEST(V2Checker, KnowsThatTheHistoryIsUnsureOfWhatWasBelow) {
  V2Story story;
  story.Do(V2("PUT", "/1/d/a", "1"));
  story.Watch({.path = "/1/d/b", .stream = true});
  story.Watch({.path = "/1/d/b"});
  story.Do(Recursive(V2("DELETE", "/1/d")));
  story.Do(V2("PUT", "/1/d/b", "2"));
  story.Finish();
  EXPECT_THAT(story.Check(), IsEmpty());
  auto& watches = story.history.v2_watches;
  ASSERT_EQ(watches[0].events.size(), 1U);
  for (V2WatchHistory& watch : watches) {
    watch.events.insert(watch.events.begin(), story.history.v2_events[1]);
    watch.events.resize(watch.stream ? 2 : 1);
  }
  EXPECT_THAT(story.Check(), ElementsAre(HasSubstr("v2 watch #0"), HasSubstr("v2 watch #1")));
  for (V2WatchHistory& watch : watches) watch.store_replaced = true;
  EXPECT_THAT(story.Check(), IsEmpty());
  watches[0].events.pop_back();
  EXPECT_THAT(story.Check(), ElementsAre(HasSubstr("was not told of set of /1/d/b at 3")));
}

TEST(V2Checker, KnowsWhenTheHistoryIsCleared) {
  V2Story story;
  for (int i = 0; i < 1001; ++i) story.Do(V2("PUT", "/1/a", fmt::format("{}", i)));
  story.Watch({.path = "/1/a", .wait_index = 1});
  story.Watch({.path = "/1/a", .wait_index = 2});
  story.Finish();
  auto& watches = story.history.v2_watches;
  ASSERT_EQ(watches[0].error_code, 401);
  ASSERT_EQ(watches[1].error_code, 0);
  EXPECT_THAT(story.Check(), IsEmpty());
  watches[0].error_code = 0;
  watches[1].error_code = 401;
  EXPECT_THAT(story.Check(), ElementsAre(HasSubstr("had to be told that the history is cleared"),
                                         HasSubstr("had error 401")));
}

/// Anything over few paths, so that requests meet.
class Requests {
 public:
  explicit Requests(uint64_t seed) : random_(seed) {}

  bool Sometimes(uint64_t in) { return random_.Below(in) == 0; }
  std::string Path() {
    constexpr const char* kNames[] = {"/a", "/b", "/b-", "/_c"};
    std::string path = "/1";
    if (Sometimes(20)) return path;
    for (uint64_t depth = random_.Below(3) + 1; depth > 0; --depth) path += kNames[random_.Below(4)];
    return path;
  }
  Request Next(const V2Story& story) {
    constexpr const char* kMethods[] = {"PUT",    "PUT",    "PUT",  "PUT", "POST",
                                        "DELETE", "DELETE", "QGET", "GET"};
    Request request = V2(kMethods[random_.Below(std::size(kMethods))], Path());
    if (request.method == "GET" || request.method == "QGET") {
      request.recursive = Sometimes(2);
      return request;
    }
    request.dir = Sometimes(4);
    request.recursive = Sometimes(3);
    // No two at the same time, whose order would be anything.
    if (Sometimes(3)) {
      request.expiration = story.In(static_cast<int64_t>(random_.Below(5))) + static_cast<int64_t>(++values_);
    }
    if (Sometimes(4)) request.prev_exist = Sometimes(2);
    if (Sometimes(5)) request.prev_value = fmt::format("{}", random_.Below(values_ + 1));
    if (Sometimes(6)) request.prev_index = 1 + random_.Below(values_ + 1);
    if (request.method == "PUT" && Sometimes(8)) {
      request.refresh = true;
    } else {
      request.value = fmt::format("{}", ++values_);
    }
    return request;
  }

 private:
  Random random_;
  uint64_t values_ = 0;
};

RC_GTEST_PROP(V2CheckerProperty, FindsNothingInWhatTheStoreDoes, ()) {
  V2Story story;
  Requests requests(*rc::gen::arbitrary<uint64_t>());
  for (int i = *rc::gen::inRange(0, 300); i > 0; --i) {
    Request request = requests.Next(story);
    const bool hidden = request.refresh.value_or(false) || request.path.find("/_") != std::string::npos;
    if (!hidden && request.method != "GET" && requests.Sometimes(10)) {
      story.DoUnknown(std::move(request));
    } else {
      story.Do(std::move(request));
    }
    if (requests.Sometimes(10)) story.Expire();
    if (requests.Sometimes(15)) {
      story.Watch({.path = requests.Path(),
                   .recursive = requests.Sometimes(2),
                   .stream = requests.Sometimes(2),
                   .wait_index = requests.Sometimes(2) ? static_cast<uint64_t>(i) : 0});
    }
  }
  story.Finish();
  const Violations violations = story.Check();
  RC_ASSERT((violations.empty() ? "" : violations[0]) == std::string());
}

}  // namespace
}  // namespace kvorum::sim
