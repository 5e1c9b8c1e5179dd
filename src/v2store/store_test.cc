#include "v2store/store.h"

#include <gtest/gtest.h>

#include "v2store/testing.h"

namespace kvorum::v2store {
namespace {

class V2StoreTest : public testing::Test {
 protected:
  /// What both ways to read say, which is the same.
  std::string Get(std::string_view path, bool recursive = false) {
    std::string body;
    uint64_t index = 0;
    auto read = store_.List(path, recursive, &index);
    const Result result = store_.Get(path, recursive, true);
    if (const auto* error = std::get_if<Error>(&read)) {
      EXPECT_EQ(Shown(*error), Shown(result));
      return Shown(*error);
    }
    std::get<Listing>(read).Append(&body, size_t{1} << 30);
    EXPECT_EQ(body, Shown(result) + "\n");
    EXPECT_EQ(index, store_.index());
    body.pop_back();
    return body;
  }
  Result Put(Request request) {
    request.method = "PUT";
    return store_.Apply(request);
  }
  Result Delete(Request request) {
    request.method = "DELETE";
    return store_.Apply(request);
  }

  StandingClock clock_;
  Store store_{&clock_};
};

TEST_F(V2StoreTest, ANewOneHasItsRootsAlone) {
  EXPECT_EQ(Get("/1"), R"({"action":"get","node":{"dir":true}})");
  EXPECT_EQ(Get("/"), R"({"action":"get","node":{"key":"/","dir":true,)"
                      R"("nodes":[{"key":"/0","dir":true},{"dir":true}]}})");
  EXPECT_EQ(store_.index(), 0u);
  EXPECT_FALSE(store_.HasUserKeys());
  EXPECT_FALSE(store_.HasTtls());
}

TEST_F(V2StoreTest, KnowsWhetherClientsWrote) {
  store_.Set("/0/members/1/attributes", false, "{}", {});
  EXPECT_FALSE(store_.HasUserKeys());
  store_.Create("/2/users", true, "", false, {});
  EXPECT_TRUE(store_.HasUserKeys());
}

// One row for each cell of the table of operations (reference: v2-keys.md §3): what the operation says of a
// path in a tree with the file /f (index 1), the directory /d with the file /d/x (2) and the empty directory
// /e (3).

struct Cell {
  const char* name;
  Request request;
  const char* shown;
};

constexpr const char* kUnderFile = "104 /1/f @3";

class V2StoreCells : public V2StoreTest, public testing::WithParamInterface<Cell> {
 protected:
  V2StoreCells() {
    store_.Set("/1/f", false, "v", {});
    store_.Set("/1/d/x", false, "w", {});
    store_.Set("/1/e", true, "", {});
  }
};

TEST_P(V2StoreCells, DoesWhatTheTableSays) {
  const Result result = store_.Apply(GetParam().request);
  EXPECT_EQ(Shown(result), GetParam().shown);
  const bool writes = std::holds_alternative<EventPtr>(result) && GetParam().request.method != "QGET";
  EXPECT_EQ(store_.index(), writes ? 4u : 3u);
}

const Cell kReads[] = {
    {"GetMissing", {.method = "QGET", .path = "/1/m/n"}, "100 /1/m @3"},
    {"GetFile",
     {.method = "QGET", .path = "/1/f"},
     R"({"action":"get","node":{"key":"/f","value":"v","modifiedIndex":1,"createdIndex":1}})"},
    {"GetFileRecursive",
     {.method = "QGET", .path = "/1/f", .recursive = true, .sorted = true},
     R"({"action":"get","node":{"key":"/f","value":"v","modifiedIndex":1,"createdIndex":1}})"},
    {"GetDirectory",
     {.method = "QGET", .path = "/1/d"},
     R"({"action":"get","node":{"key":"/d","dir":true,"nodes":[{"key":"/d/x","value":"w",)"
     R"("modifiedIndex":2,"createdIndex":2}],"modifiedIndex":2,"createdIndex":2}})"},
    {"GetUnderFile", {.method = "QGET", .path = "/1/f/x/y"}, kUnderFile},
};

const Cell kSets[] = {
    {"SetMissing",
     {.method = "PUT", .path = "/1/m/n", .value = "a"},
     R"({"action":"set","node":{"key":"/m/n","value":"a","modifiedIndex":4,"createdIndex":4}})"},
    {"SetFile",
     {.method = "PUT", .path = "/1/f", .value = "a"},
     R"({"action":"set","node":{"key":"/f","value":"a","modifiedIndex":4,"createdIndex":4},)"
     R"("prevNode":{"key":"/f","value":"v","modifiedIndex":1,"createdIndex":1}})"},
    {"SetFileToDirectory",
     {.method = "PUT", .path = "/1/f", .value = "a", .dir = true},
     R"({"action":"set","node":{"key":"/f","dir":true,"modifiedIndex":4,"createdIndex":4},)"
     R"("prevNode":{"key":"/f","value":"v","modifiedIndex":1,"createdIndex":1}})"},
    {"SetDirectory", {.method = "PUT", .path = "/1/d", .value = "a"}, "102 /1/d @3"},
    {"SetDirectoryToDirectory", {.method = "PUT", .path = "/1/e", .dir = true}, "102 /1/e @3"},
    {"SetUnderFile", {.method = "PUT", .path = "/1/f/x", .value = "a"}, kUnderFile},
    {"SetRoot", {.method = "PUT", .path = "/1", .value = "a"}, "107 / @3"},
    {"RefreshSetMissing", {.method = "PUT", .path = "/1/m", .refresh = true}, "100 /1/m @3"},
    {"RefreshSetFile",
     {.method = "PUT", .path = "/1/f", .refresh = true},
     R"({"action":"set","node":{"key":"/f","value":"v","modifiedIndex":4,"createdIndex":4},)"
     R"("prevNode":{"key":"/f","value":"v","modifiedIndex":1,"createdIndex":1}})"},
    {"RefreshSetDirectory", {.method = "PUT", .path = "/1/d", .refresh = true}, "102 /1/d @3"},
};

const Cell kUpdates[] = {
    {"UpdateMissing", {.method = "PUT", .path = "/1/m/n", .value = "a", .prev_exist = true}, "100 /1/m @3"},
    {"UpdateFile",
     {.method = "PUT", .path = "/1/f", .value = "a", .dir = true, .prev_exist = true},
     R"({"action":"update","node":{"key":"/f","value":"a","modifiedIndex":4,"createdIndex":1},)"
     R"("prevNode":{"key":"/f","value":"v","modifiedIndex":1,"createdIndex":1}})"},
    {"UpdateFileToNothing",
     {.method = "PUT", .path = "/1/f", .prev_exist = true},
     R"({"action":"update","node":{"key":"/f","value":"","modifiedIndex":4,"createdIndex":1},)"
     R"("prevNode":{"key":"/f","value":"v","modifiedIndex":1,"createdIndex":1}})"},
    {"UpdateDirectoryWithValue",
     {.method = "PUT", .path = "/1/d", .value = "a", .prev_exist = true},
     "102 /1/d @3"},
    {"UpdateDirectory",
     {.method = "PUT", .path = "/1/d", .prev_exist = true},
     R"({"action":"update","node":{"key":"/d","dir":true,"modifiedIndex":4,"createdIndex":2},)"
     R"("prevNode":{"key":"/d","dir":true,"modifiedIndex":2,"createdIndex":2}})"},
    {"UpdateUnderFile", {.method = "PUT", .path = "/1/f/x", .value = "a", .prev_exist = true}, kUnderFile},
    {"UpdateRoot", {.method = "PUT", .path = "/1", .prev_exist = true}, "107 / @3"},
    {"RefreshUpdateFile",
     {.method = "PUT", .path = "/1/f", .prev_exist = true, .refresh = true},
     R"({"action":"update","node":{"key":"/f","value":"v","modifiedIndex":4,"createdIndex":1},)"
     R"("prevNode":{"key":"/f","value":"v","modifiedIndex":1,"createdIndex":1}})"},
    {"RefreshUpdateDirectory",
     {.method = "PUT", .path = "/1/e", .prev_exist = true, .refresh = true},
     R"({"action":"update","node":{"key":"/e","dir":true,"modifiedIndex":4,"createdIndex":3},)"
     R"("prevNode":{"key":"/e","dir":true,"modifiedIndex":3,"createdIndex":3}})"},
};

const Cell kCreates[] = {
    {"CreateMissing",
     {.method = "PUT", .path = "/1/m/n", .value = "a", .prev_exist = false},
     R"({"action":"create","node":{"key":"/m/n","value":"a","modifiedIndex":4,"createdIndex":4}})"},
    {"CreateDirectory",
     {.method = "PUT", .path = "/1/m", .value = "a", .dir = true, .prev_exist = false},
     R"({"action":"create","node":{"key":"/m","dir":true,"modifiedIndex":4,"createdIndex":4}})"},
    {"CreateIgnoresConditions",
     {.method = "PUT", .path = "/1/m", .value = "a", .prev_value = "x", .prev_index = 9, .prev_exist = false},
     R"({"action":"create","node":{"key":"/m","value":"a","modifiedIndex":4,"createdIndex":4}})"},
    {"CreateFile", {.method = "PUT", .path = "/1/f", .value = "a", .prev_exist = false}, "105 /1/f @3"},
    {"CreateOnDirectory", {.method = "PUT", .path = "/1/d", .dir = true, .prev_exist = false}, "105 /1/d @3"},
    {"CreateUnderFile", {.method = "PUT", .path = "/1/f/x", .prev_exist = false}, kUnderFile},
    {"CreateRoot", {.method = "PUT", .path = "/1", .dir = true, .prev_exist = false}, "107 / @3"},
    {"UniqueInMissing",
     {.method = "POST", .path = "/1/q", .value = "a"},
     R"({"action":"create","node":{"key":"/q/00000000000000000004","value":"a","modifiedIndex":4,)"
     R"("createdIndex":4}})"},
    {"UniqueInDirectory",
     {.method = "POST", .path = "/1/d", .dir = true},
     R"({"action":"create","node":{"key":"/d/00000000000000000004","dir":true,"modifiedIndex":4,)"
     R"("createdIndex":4}})"},
    {"UniqueInRoot",
     {.method = "POST", .path = "/1", .value = "a"},
     R"({"action":"create","node":{"key":"/00000000000000000004","value":"a","modifiedIndex":4,)"
     R"("createdIndex":4}})"},
    {"UniqueInFile", {.method = "POST", .path = "/1/f", .value = "a"}, kUnderFile},
};

const Cell kSwaps[] = {
    {"SwapMissing", {.method = "PUT", .path = "/1/m", .value = "a", .prev_value = "v"}, "100 /1/m @3"},
    {"SwapByValue",
     {.method = "PUT", .path = "/1/f", .value = "a", .prev_value = "v"},
     R"({"action":"compareAndSwap","node":{"key":"/f","value":"a","modifiedIndex":4,"createdIndex":1},)"
     R"("prevNode":{"key":"/f","value":"v","modifiedIndex":1,"createdIndex":1}})"},
    {"SwapByIndexOfWhatExists",
     {.method = "PUT", .path = "/1/f", .value = "a", .prev_index = 1, .prev_exist = true},
     R"({"action":"compareAndSwap","node":{"key":"/f","value":"a","modifiedIndex":4,"createdIndex":1},)"
     R"("prevNode":{"key":"/f","value":"v","modifiedIndex":1,"createdIndex":1}})"},
    {"SwapWrongValue",
     {.method = "PUT", .path = "/1/f", .value = "a", .prev_value = "u", .prev_index = 1},
     "101 [u != v] @3"},
    {"SwapWrongIndex",
     {.method = "PUT", .path = "/1/f", .value = "a", .prev_value = "v", .prev_index = 7},
     "101 [7 != 1] @3"},
    {"SwapBothWrong",
     {.method = "PUT", .path = "/1/f", .value = "a", .prev_value = "u", .prev_index = 7},
     "101 [u != v] [7 != 1] @3"},
    {"SwapDirectory", {.method = "PUT", .path = "/1/d", .value = "a", .prev_index = 2}, "102 /1/d @3"},
    {"SwapUnderFile", {.method = "PUT", .path = "/1/f/x", .value = "a", .prev_index = 2}, kUnderFile},
    {"SwapRoot", {.method = "PUT", .path = "/1", .value = "a", .prev_index = 2}, "107 / @3"},
};

const Cell kDeletes[] = {
    {"DeleteMissing", {.method = "DELETE", .path = "/1/m/n"}, "100 /1/m @3"},
    {"DeleteFile",
     {.method = "DELETE", .path = "/1/f"},
     R"({"action":"delete","node":{"key":"/f","modifiedIndex":4,"createdIndex":1},)"
     R"("prevNode":{"key":"/f","value":"v","modifiedIndex":1,"createdIndex":1}})"},
    {"DeleteFileWithFlags",
     {.method = "DELETE", .path = "/1/f", .dir = true, .recursive = true},
     R"({"action":"delete","node":{"key":"/f","modifiedIndex":4,"createdIndex":1},)"
     R"("prevNode":{"key":"/f","value":"v","modifiedIndex":1,"createdIndex":1}})"},
    {"DeleteDirectoryAsFile", {.method = "DELETE", .path = "/1/d"}, "102 /1/d @3"},
    {"DeleteFullDirectory", {.method = "DELETE", .path = "/1/d", .dir = true}, "108 /1/d @3"},
    {"DeleteEmptyDirectory",
     {.method = "DELETE", .path = "/1/e", .dir = true},
     R"({"action":"delete","node":{"key":"/e","dir":true,"modifiedIndex":4,"createdIndex":3},)"
     R"("prevNode":{"key":"/e","dir":true,"modifiedIndex":3,"createdIndex":3}})"},
    {"DeleteTree",
     {.method = "DELETE", .path = "/1/d", .recursive = true},
     R"({"action":"delete","node":{"key":"/d","dir":true,"modifiedIndex":4,"createdIndex":2},)"
     R"("prevNode":{"key":"/d","dir":true,"modifiedIndex":2,"createdIndex":2}})"},
    {"DeleteUnderFile", {.method = "DELETE", .path = "/1/f/x"}, kUnderFile},
    {"DeleteRoot", {.method = "DELETE", .path = "/1", .recursive = true}, "107 / @3"},
    {"DeleteIfMissing", {.method = "DELETE", .path = "/1/m", .prev_index = 1}, "100 /1/m @3"},
    {"DeleteIfMatches",
     {.method = "DELETE", .path = "/1/f", .prev_value = "v", .prev_index = 1},
     R"({"action":"compareAndDelete","node":{"key":"/f","modifiedIndex":4,"createdIndex":1},)"
     R"("prevNode":{"key":"/f","value":"v","modifiedIndex":1,"createdIndex":1}})"},
    {"DeleteIfNot", {.method = "DELETE", .path = "/1/f", .prev_value = "u"}, "101 [u != v] @3"},
    {"DeleteIfDirectory",
     {.method = "DELETE", .path = "/1/d", .prev_index = 2, .recursive = true},
     "102 /1/d @3"},
    {"DeleteIfUnderFile", {.method = "DELETE", .path = "/1/f/x", .prev_index = 2}, kUnderFile},
    {"DeleteIfRoot", {.method = "DELETE", .path = "/1", .prev_index = 2}, "102 /1 @3"},
    {"UnknownMethod", {.method = "PATCH", .path = "/1/f"}, "300 etcdserver: unknown method @0"},
};

std::string NameOf(const testing::TestParamInfo<Cell>& info) { return info.param.name; }
INSTANTIATE_TEST_SUITE_P(Reads, V2StoreCells, testing::ValuesIn(kReads), NameOf);
INSTANTIATE_TEST_SUITE_P(Sets, V2StoreCells, testing::ValuesIn(kSets), NameOf);
INSTANTIATE_TEST_SUITE_P(Updates, V2StoreCells, testing::ValuesIn(kUpdates), NameOf);
INSTANTIATE_TEST_SUITE_P(Creates, V2StoreCells, testing::ValuesIn(kCreates), NameOf);
INSTANTIATE_TEST_SUITE_P(Swaps, V2StoreCells, testing::ValuesIn(kSwaps), NameOf);
INSTANTIATE_TEST_SUITE_P(Deletes, V2StoreCells, testing::ValuesIn(kDeletes), NameOf);

TEST_F(V2StoreTest, MakesMissingDirectoriesWithTheIndexOfTheOperation) {
  store_.Set("/1/a/b/c", false, "v", clock_.After(5));
  EXPECT_EQ(Get("/1/a"), R"({"action":"get","node":{"key":"/a","dir":true,"nodes":[{"key":"/a/b","dir":true,)"
                         R"("modifiedIndex":1,"createdIndex":1}],"modifiedIndex":1,"createdIndex":1}})");
}

TEST_F(V2StoreTest, ListsByNameWithoutHiddenOnes) {
  for (const char* path : {"/1/d/b", "/1/d/a-", "/1/d/a/z", "/1/d/_h", "/1/d/a/_h/x"}) {
    store_.Set(path, false, "", {});
  }
  EXPECT_EQ(Get("/1/d", true),
            R"({"action":"get","node":{"key":"/d","dir":true,"nodes":[{"key":"/d/a","dir":true,"nodes":[)"
            R"({"key":"/d/a/z","value":"","modifiedIndex":3,"createdIndex":3}],"modifiedIndex":3,)"
            R"("createdIndex":3},{"key":"/d/a-","value":"","modifiedIndex":2,"createdIndex":2},)"
            R"({"key":"/d/b","value":"","modifiedIndex":1,"createdIndex":1}],"modifiedIndex":1,)"
            R"("createdIndex":1}})");
  EXPECT_EQ(Get("/1/d/_h"),
            R"({"action":"get","node":{"key":"/d/_h","value":"","modifiedIndex":4,"createdIndex":4}})");
  EXPECT_EQ(Get("/1/d/a/_h"), R"({"action":"get","node":{"key":"/d/a/_h","dir":true,"nodes":[)"
                              R"({"key":"/d/a/_h/x","value":"","modifiedIndex":5,"createdIndex":5}],)"
                              R"("modifiedIndex":5,"createdIndex":5}})");
}

TEST_F(V2StoreTest, KeepsTheOldIndexOfADirectoryThatWasUpdated) {
  store_.Create("/1/d", true, "", false, {});
  store_.Update("/1/d", "", clock_.After(10));
  EXPECT_EQ(Get("/1/d"),
            R"({"action":"get","node":{"key":"/d","dir":true,)"
            R"("expiration":"2023-11-14T22:13:30Z","ttl":10,"modifiedIndex":1,"createdIndex":1}})");
  EXPECT_TRUE(store_.HasTtls());
}

TEST_F(V2StoreTest, CleansPaths) {
  store_.Set("1//a/./b/../c/", false, "v", {});
  EXPECT_EQ(Get("/1/a/c"), Get("/../../1/x/../a/c"));
  EXPECT_EQ(Shown(store_.Set("/1/..", false, "v", {})), "107 / @1");
}

TEST_F(V2StoreTest, ManyChildrenStayInOrder) {
  // In an order that splits chunks in their middle as well as at their end.
  for (int i = 0; i < 1000; ++i) store_.Set(fmt::format("/1/d/{:04}", i * 367 % 1000), false, "", {});
  const Result all = store_.Get("/1/d", false, false);
  const std::vector<NodeImage>& nodes = std::get<EventPtr>(all)->node.nodes;
  ASSERT_EQ(nodes.size(), 1000u);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(nodes[i].path, fmt::format("/1/d/{:04}", i));
  for (int i = 0; i < 1000; ++i)
    EXPECT_NE(Shown(store_.Delete(fmt::format("/1/d/{:04}", i), false, false)), "");
  EXPECT_EQ(Get("/1/d"),
            R"({"action":"get","node":{"key":"/d","dir":true,"modifiedIndex":1,"createdIndex":1}})");
}

TEST_F(V2StoreTest, ATreeAsDeepAsAPathIsRead) {
  std::string path = "/1";
  for (int i = 0; i < 3000; ++i) path += "/a";
  store_.Set(path, false, "v", clock_.After(1));
  const size_t before = path.size();
  EXPECT_GT(Shown(store_.Get("/1/a/a", true, false)).size(), before);
  EXPECT_NE(Shown(store_.Delete("/1/a", true, true)), "");
  EXPECT_FALSE(store_.HasTtls());
}

TEST_F(V2StoreTest, CountsAsEtcdDoes) {
  store_.Set("/1/f", false, "v", {});
  store_.Set("/1/f/x", false, "v", {});
  store_.Create("/1/f/x", false, "v", false, {});  // a failed set besides
  store_.Create("/1/d", true, "", false, {});
  store_.Create("/1/d", true, "", false, {});
  store_.Update("/1", "", {});  // as all with a read-only path: a success
  store_.Update("/1/d", "v", {});
  store_.Update("/1/m", "v", {});
  store_.CompareAndSwap("/1", "v", 0, "", {});
  store_.CompareAndSwap("/1/f", "u", 0, "", {});
  store_.Delete("/1", true, true);
  store_.Delete("/1/m", false, false);
  store_.CompareAndDelete("/1/d", "v", 0);
  store_.CompareAndDelete("/1/f", "u", 0);
  store_.CompareAndDelete("/1/m", "u", 0);
  Get("/1/f");
  Get("/1/m");
  EXPECT_EQ(ToJson(store_.stats()),
            R"({"getsSuccess":2,"getsFail":2,"setsSuccess":1,"setsFail":2,"deleteSuccess":1,"deleteFail":1,)"
            R"("updateSuccess":2,"updateFail":1,"createSuccess":1,"createFail":2,"compareAndSwapSuccess":1,)"
            R"("compareAndSwapFail":1,"compareAndDeleteSuccess":2,"compareAndDeleteFail":1,"expireCount":0,)"
            R"("watchers":0})");
}

// Expiry (reference: v2-keys.md §7).

TEST_F(V2StoreTest, ExpiresByTimeThenPathOneIndexEach) {
  store_.Set("/1/b", false, "v", clock_.After(5));
  store_.Set("/1/a", false, "v", clock_.After(5));
  store_.Set("/1/c", false, "v", clock_.After(4));
  store_.Set("/1/d", false, "v", clock_.After(6));
  EXPECT_EQ(Shown(store_.Apply({.method = "SYNC", .time = clock_.After(5).time_since_epoch().count()})),
            "null");
  EXPECT_EQ(store_.index(), 7u);
  std::string order;
  for (uint64_t index = 5; index <= 7; ++index) {
    const auto start = store_.Watch({.path = "/1", .recursive = true, .since = index}, nullptr);
    const Event& event = *std::get<Store::WatchStart>(start).event;
    EXPECT_EQ(event.action, Action::kExpire);
    order += event.node.path;
  }
  EXPECT_EQ(order, "/1/c/1/a/1/b");
  EXPECT_TRUE(store_.HasTtls());
  EXPECT_EQ(store_.stats().expire_count, 3u);
}

TEST_F(V2StoreTest, ADirectoryExpiresWithAllThatIsInIt) {
  store_.Create("/1/d", true, "", false, clock_.After(5));
  store_.Set("/1/d/x", false, "v", clock_.After(5));
  store_.Expire(clock_.After(5));
  EXPECT_EQ(store_.index(), 3u);
  EXPECT_FALSE(store_.HasTtls());
  EXPECT_EQ(Get("/1/d"), "100 /1/d @3");
}

TEST_F(V2StoreTest, TheTtlGoesWithItsNodeAndWithAnUpdate) {
  const auto set = [this] { store_.Set("/1/f", false, "v", clock_.After(5)); };
  set();
  store_.Set("/1/f", false, "v", {});
  EXPECT_FALSE(store_.HasTtls());
  set();
  store_.Update("/1/f", "v", {});
  EXPECT_FALSE(store_.HasTtls());
  set();
  store_.CompareAndSwap("/1/f", "v", 0, "w", {});
  EXPECT_FALSE(store_.HasTtls());
  set();
  store_.CompareAndDelete("/1/f", "v", 0);
  EXPECT_FALSE(store_.HasTtls());
}

TEST_F(V2StoreTest, WhatIsMadeToExpireBefore2000Stays) {
  const WallTime last_century = WallTime(std::chrono::seconds(946'684'800)) - std::chrono::nanoseconds(1);
  store_.Set("/1/a", false, "v", last_century);
  store_.Create("/1/b", false, "v", false, last_century);
  EXPECT_FALSE(store_.HasTtls());
  store_.Update("/1/a", "v", last_century);
  store_.CompareAndSwap("/1/b", "v", 0, "w", last_century);
  store_.Expire(clock_.now);
  EXPECT_EQ(Get("/1"), R"({"action":"get","node":{"dir":true}})");
}

TEST_F(V2StoreTest, ARefreshKeepsTheValueAndRenewsTheTtl) {
  store_.Set("/1/f", false, "v", clock_.After(5));
  store_.CompareAndSwap("/1/f", "v", 0, "ignored", clock_.After(50), true);
  store_.Expire(clock_.After(5));
  EXPECT_EQ(Get("/1/f"),
            R"({"action":"get","node":{"key":"/f","value":"v",)"
            R"("expiration":"2023-11-14T22:14:10Z","ttl":50,"modifiedIndex":2,"createdIndex":1}})");
}

}  // namespace
}  // namespace kvorum::v2store
