#include "mvcc/watcher_table.h"

#include <algorithm>

#include "fmt/format.h"
#include "gtest/gtest.h"

namespace kvorum::mvcc {
namespace {

// Whoever is visited first is served first: were it the hash's order, two runs of the same calls would
// differ.
TEST(WatcherTable, VisitsSingleKeysInTheirOrder) {
  WatcherTable table;
  for (int i = 0; i < 100; ++i) table.Acquire({fmt::format("{}", i * 37 % 100), ""});
  std::vector<std::string> visited;
  table.ForEach([&](WatchGroup& group) { visited.push_back(group.key); });
  EXPECT_EQ(visited.size(), 100u);
  EXPECT_TRUE(std::is_sorted(visited.begin(), visited.end()));
}

}  // namespace
}  // namespace kvorum::mvcc
