#include "v2store/snapshot.h"

#include <gtest/gtest.h>

#include <fstream>
#include <thread>

#include "v2store/store.h"
#include "v2store/testing.h"

namespace kvorum::v2store {
namespace {

class V2SnapshotTest : public testing::Test {
 protected:
  std::string Json() { return store_.SaveView()->ToJson(); }
  std::string Get(std::string_view path, bool recursive = false) {
    return Shown(store_.Get(path, recursive, true));
  }
  std::string Past(std::string_view path, uint64_t since) {
    auto start = store_.Watch({.path = std::string(path), .recursive = true, .since = since}, nullptr);
    if (const Error* error = std::get_if<Error>(&start)) return Shown(*error);
    return Shown(std::get<Store::WatchStart>(start).event);
  }

  StandingClock clock_;
  Store store_{&clock_};
};

std::string Nulls(int count) {
  std::string nulls;
  for (int i = 0; i < count; ++i) nulls += i == 0 ? "null" : ",null";
  return nulls;
}

constexpr std::string_view kNoStats =
    R"({"getsSuccess":0,"getsFail":0,"setsSuccess":0,"setsFail":0,"deleteSuccess":0,"deleteFail":0,)"
    R"("updateSuccess":0,"updateFail":0,"createSuccess":0,"createFail":0,"compareAndSwapSuccess":0,)"
    R"("compareAndSwapFail":0,"compareAndDeleteSuccess":0,"compareAndDeleteFail":0,"expireCount":0,"watchers":0})";

TEST_F(V2SnapshotTest, AnEmptyStoreAsEtcdWritesIt) {
  const auto node = [](std::string_view path, std::string_view children) {
    return fmt::format(
        R"({{"Path":"{}","CreatedIndex":0,"ModifiedIndex":0,"ExpireTime":"0001-01-01T00:00:00Z",)"
        R"("Value":"","Children":{}}})",
        path, children);
  };
  const std::string tops = fmt::format(R"({{"0":{},"1":{}}})", node("/0", "{}"), node("/1", "{}"));
  EXPECT_EQ(Json(),
            fmt::format(R"({{"Root":{},"WatcherHub":{{"EventHistory":{{"Queue":{{"Events":[{}],"Size":0,)"
                        R"("Front":0,"Back":0,"Capacity":1000}},"StartIndex":0,"LastIndex":0}}}},)"
                        R"("CurrentIndex":0,"Stats":{},"CurrentVersion":2}})",
                        node("/", tops), Nulls(1000), kNoStats));
}

TEST_F(V2SnapshotTest, WritesNodesAndEventsWithFullPaths) {
  store_.Set("/1/d/<", false, "v", clock_.After(1));
  store_.Set("/1/d/<", false, "", clock_.After(2), true);
  const std::string json = Json();
  EXPECT_NE(
      json.find(R"("1":{"Path":"/1","CreatedIndex":0,"ModifiedIndex":0,"ExpireTime":"0001-01-01T00:00:00Z",)"
                R"("Value":"","Children":{"d":{"Path":"/1/d","CreatedIndex":1,"ModifiedIndex":1,)"
                R"("ExpireTime":"0001-01-01T00:00:00Z","Value":"","Children":{"\u003c":)"
                R"({"Path":"/1/d/\u003c","CreatedIndex":2,"ModifiedIndex":2,)"
                R"("ExpireTime":"2023-11-14T22:13:22Z","Value":"v","Children":null}}}}})"),
      std::string::npos);
  EXPECT_NE(json.find(R"({"action":"set","node":{"key":"/1/d/\u003c","value":"v",)"
                      R"("expiration":"2023-11-14T22:13:22Z","ttl":2,"modifiedIndex":2,"createdIndex":2},)"
                      R"("prevNode":{"key":"/1/d/\u003c","value":"v","expiration":"2023-11-14T22:13:21Z",)"
                      R"("ttl":1,"modifiedIndex":1,"createdIndex":1},"refresh":true},null)"),
            std::string::npos);
  EXPECT_NE(json.find(R"("Size":2,"Front":0,"Back":2,"Capacity":1000},"StartIndex":1,"LastIndex":2}})"),
            std::string::npos);
}

// A snapshot that etcd 3.4 wrote (testdata/README.md).

class V2EtcdSnapshotTest : public V2SnapshotTest {
 protected:
  V2EtcdSnapshotTest() {
    std::ifstream file(KVORUM_TESTDATA "/etcd-3.4.json", std::ios::binary);
    json_.assign(std::istreambuf_iterator<char>(file), {});
    EXPECT_TRUE(store_.Recover(json_).ok());
  }

  std::string json_;
};

TEST_F(V2EtcdSnapshotTest, HasItsNodes) {
  EXPECT_EQ(store_.index(), 1029u);
  EXPECT_EQ(Get("/1/file"),
            "{\"action\":\"get\",\"node\":{\"key\":\"/file\",\"value\":\"a \\\"quoted\\\" \\u003cb\\u003e "
            "\\u0026 \\u2028 \xc3\xbc \xf0\x9f\x98\x80 \\t\\u0001\\\\\",\"modifiedIndex\":1005,"
            "\"createdIndex\":1005}}");
  EXPECT_EQ(
      Get("/1/empty"),
      R"({"action":"get","node":{"key":"/empty","dir":true,"modifiedIndex":1007,"createdIndex":1007}})");
  EXPECT_EQ(
      Get("/1/_hidden/key"),
      R"({"action":"get","node":{"key":"/_hidden/key","value":"h","modifiedIndex":1012,"createdIndex":1012}})");
  EXPECT_EQ(Get("/1/\xc3\xbcml\xc3\xa4ut/\xe6\x97\xa5\xe6\x9c\xac"),
            "{\"action\":\"get\",\"node\":{\"key\":\"/\xc3\xbcml\xc3\xa4ut/\xe6\x97\xa5\xe6\x9c\xac\","
            "\"value\":\"\xe8\xaa\x9e\",\"modifiedIndex\":1023,\"createdIndex\":1023}}");
  EXPECT_EQ(
      Get("/0/version"),
      R"({"action":"get","node":{"key":"/0/version","value":"3.4.0","modifiedIndex":3,"createdIndex":3}})");
  EXPECT_TRUE(store_.HasUserKeys());
}

TEST_F(V2EtcdSnapshotTest, HasItsTimesWithTheirOffset) {
  EXPECT_TRUE(store_.HasTtls());
  const Result dir = store_.Get("/1/dir", false, false);
  EXPECT_EQ(std::get<EventPtr>(dir)->node.expires,
            WallTime(std::chrono::nanoseconds(2'110'782'379'818'494'137)));
  // /ttl, /ttldir with what is in it, and /dir.
  store_.Expire(clock_.After(500'000'000));
  EXPECT_EQ(store_.index(), 1032u);
  EXPECT_FALSE(store_.HasTtls());
}

TEST_F(V2EtcdSnapshotTest, HasItsHistory) {
  EXPECT_EQ(Past("/1", 29), "401 the requested history has been cleared [30/29] @1029");
  EXPECT_EQ(Past("/1", 30),
            R"({"action":"set","node":{"key":"/n","value":"","modifiedIndex":30,"createdIndex":30},)"
            R"("prevNode":{"key":"/n","value":"","modifiedIndex":29,"createdIndex":29}})");
  EXPECT_EQ(Past("/1/gone", 1021).substr(0, 40), R"({"action":"delete","node":{"key":"/gone")");
  EXPECT_EQ(Past("/1/ttldir/in", 1011), "null");  // a refresh
}

TEST_F(V2EtcdSnapshotTest, HasItsCounters) {
  EXPECT_EQ(store_.stats().sets_success, 1020u);
  EXPECT_EQ(store_.stats().expire_count, 1u);
}

TEST_F(V2EtcdSnapshotTest, SaysTheSameAgain) {
  const std::string again = Json();
  Store other(&clock_);
  ASSERT_TRUE(other.Recover(again).ok());
  EXPECT_EQ(other.SaveView()->ToJson(), again);
  // The tree is the same text but for the times' zone.
  EXPECT_NE(json_.find("2036-11-20T13:56:19.818494137+05:30"), std::string::npos);
  EXPECT_NE(again.find("2036-11-20T08:26:19.818494137Z"), std::string::npos);
  EXPECT_EQ(again.substr(0, 1000), json_.substr(0, 1000));
}

TEST_F(V2SnapshotTest, AViewStaysAsItWas) {
  for (int i = 0; i < 500; ++i) store_.Set(fmt::format("/1/d/{}", i), false, "v", {});
  const auto view = store_.SaveView();
  const std::string json = view->ToJson();
  for (int i = 0; i < 500; i += 2) store_.Set(fmt::format("/1/d/{}", i), false, "w", {});
  const auto later = store_.SaveView();
  store_.Update("/1/d", "", clock_.After(1));
  store_.Delete("/1/d", true, true);
  EXPECT_EQ(view->ToJson(), json);
  EXPECT_NE(later->ToJson(), json);
}

TEST_F(V2SnapshotTest, AViewIsReadWhileTheStoreChanges) {
  for (int i = 0; i < 1000; ++i) store_.Set(fmt::format("/1/d{}/{}", i % 7, i), false, "v", {});
  std::vector<std::thread> readers;
  std::atomic<int> running{20};
  for (int i = 0; i < 20; ++i) {
    readers.emplace_back([view = store_.SaveView(), &running] {
      const std::string json = view->ToJson();
      EXPECT_EQ(view->ToJson(), json);
      --running;
    });
    store_.Set(fmt::format("/1/d{}/new{}", i % 7, i), false, "w", {});
    store_.Delete(fmt::format("/1/d{}/{}", i % 7, i), false, false);
  }
  for (int i = 0; running.load() > 0; ++i)
    store_.Set(fmt::format("/1/d{}/{}", i % 7, i % 1000), false, "x", {});
  for (std::thread& reader : readers) reader.join();
}

TEST_F(V2SnapshotTest, WhatIsMissingStays) {
  store_.Set("/1/f", false, "v", {});
  ASSERT_TRUE(store_
                  .Recover(R"({"Root":{"Children":{"1":{"Children":{"g":{"Value":"w"}}}}},)"
                           R"("Stats":{"setsFail":7},"Unknown":{"a":[1,{"b":null}]}})")
                  .ok());
  EXPECT_EQ(store_.index(), 1u);
  EXPECT_EQ(store_.stats().sets_success, 1u);
  EXPECT_EQ(store_.stats().sets_fail, 7u);
  EXPECT_EQ(Get("/1", true), R"({"action":"get","node":{"dir":true,"nodes":[{"key":"/g","value":"w"}]}})");
  EXPECT_EQ(Past("/1/f", 1),
            R"({"action":"set","node":{"key":"/f","value":"v","modifiedIndex":1,"createdIndex":1}})");
}

TEST_F(V2SnapshotTest, GarbageChangesNothing) {
  store_.Set("/1/f", false, "v", clock_.After(5));
  const std::string before = Json();
  std::string deep;
  for (int i = 0; i < 1'000'000; ++i) deep += R"({"Children":)";
  for (const std::string& garbage :
       {std::string(),
        std::string("null"),
        std::string("[]"),
        std::string("{}"),
        std::string(R"({"Root":null})"),
        std::string(R"({"Root":{"Children":null}})"),
        std::string(R"({"Root":{"Children":[]}})"),
        std::string(R"({"Root":{"Children":{"a":1}}})"),
        std::string(R"({"Root":{"Children":{"a/b":{}}}})"),
        std::string(R"({"Root":{"Children":{"..":{}}}})"),
        std::string(R"({"Root":{"Children":{}}} x)"),
        std::string(R"({"Root":{"Children":{}})"),
        std::string(R"({"Root":{"Children":{}},"CurrentIndex":-1})"),
        std::string(R"({"Root":{"Children":{}},"CurrentIndex":1.5})"),
        std::string(R"({"Root":{"Children":{}},"CurrentIndex":18446744073709551616})"),
        std::string(R"({"Root":{"Children":{},"Value":1}})"),
        std::string(R"({"Root":{"Children":{},"ExpireTime":"now"}})"),
        std::string(R"({"Root":{"Children":{}},"WatcherHub":{"EventHistory":{"Queue":{"Size":1}}}})"),
        std::string(R"({"Root":{"Children":{}},"WatcherHub":{"EventHistory":{"Queue":)"
                    R"({"Events":[null],"Size":1,"Capacity":1}}}})"),
        std::string(R"({"Root":{"Children":{}},"WatcherHub":{"EventHistory":{"LastIndex":1,"Queue":)"
                    R"({"Events":[{"action":"put","node":{"modifiedIndex":1}}],"Size":1,"Capacity":1}}}})"),
        before.substr(0, before.size() / 2),
        R"({"Root":)" + deep}) {
    EXPECT_EQ(store_.Recover(garbage).code(), absl::StatusCode::kDataLoss) << garbage.substr(0, 200);
    EXPECT_EQ(Json(), before);
  }
}

TEST_F(V2SnapshotTest, WhatMayNotBeWrittenDoesNotExpire) {
  ASSERT_TRUE(store_
                  .Recover(R"({"Root":{"ExpireTime":"2001-01-01T00:00:00Z","Children":{)"
                           R"("1":{"ExpireTime":"2001-01-01T00:00:00Z","Children":{}}}}})")
                  .ok());
  EXPECT_FALSE(store_.HasTtls());
}

TEST_F(V2SnapshotTest, TheLongestPathSurvives) {
  std::string path = "/1";
  for (int i = 0; i < 3000; ++i) path += "/a";
  store_.Set(path, false, "v", {});
  const std::string json = Json();
  ASSERT_TRUE(store_.Recover(json).ok());
  EXPECT_EQ(Json(), json);
}

}  // namespace
}  // namespace kvorum::v2store
