#include "v2store/path.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace kvorum::v2store {
namespace {

TEST(V2StorePathTest, CleansAsGoDoes) {
  const auto clean = [](std::string_view path) { return std::string(CleanPath(path).view()); };
  for (const char* root : {"", "/", "//", ".", "..", "/..", "/../..", "a/..", "/a/../.."}) {
    EXPECT_EQ(clean(root), "/") << root;
  }
  EXPECT_EQ(clean("a"), "/a");
  EXPECT_EQ(clean("/a/"), "/a");
  EXPECT_EQ(clean("//a///b//"), "/a/b");
  EXPECT_EQ(clean("/a/./b/../c"), "/a/c");
  EXPECT_EQ(clean("/a/../../b"), "/b");
  EXPECT_EQ(clean("/a/...b/..c/. "), "/a/...b/..c/. ");
}

TEST(V2StorePathTest, BorrowsWhatIsClean) {
  const std::string path = "/a/b.c/..d";
  EXPECT_EQ(CleanPath(path).view().data(), path.data());
}

TEST(V2StorePathTest, GivesNames) {
  std::string seen;
  for (PathNames names("/a/bc"); names.Next();) {
    seen += fmt::format("{} {} {};", names.name(), names.prefix(), names.last());
  }
  EXPECT_EQ(seen, "a /a false;bc /a/bc true;");
  EXPECT_FALSE(PathNames("/").Next());
}

TEST(V2StorePathTest, OrdersWhatIsBelowRightAfter) {
  std::vector<std::string> paths = {"/b", "/a-", "/a/b", "/a", "/", "/a\x01", "/a/b/c", "/a\xff"};
  std::sort(paths.begin(), paths.end(), PathLess());
  EXPECT_EQ(paths, (std::vector<std::string>{"/", "/a", "/a/b", "/a/b/c", "/a\x01", "/a-", "/a\xff", "/b"}));
}

TEST(V2StorePathTest, KnowsWhatIsBelow) {
  EXPECT_TRUE(IsBelow("/a/b", "/a"));
  EXPECT_TRUE(IsBelow("/a", "/"));
  EXPECT_FALSE(IsBelow("/ab", "/a"));
  EXPECT_FALSE(IsBelow("/a", "/a"));
  EXPECT_FALSE(IsBelow("/", "/"));
}

TEST(V2StorePathTest, HidesNamesAfterTheWatchedPath) {
  EXPECT_TRUE(IsHidden("/", "/_a"));
  EXPECT_TRUE(IsHidden("/a", "/a/_b/c"));
  EXPECT_TRUE(IsHidden("/a", "/a/b/_c"));
  EXPECT_FALSE(IsHidden("/a/_b", "/a/_b/c"));
  EXPECT_FALSE(IsHidden("/a", "/a/b_"));
  EXPECT_FALSE(IsHidden("/a/_b", "/a"));
}

}  // namespace
}  // namespace kvorum::v2store
