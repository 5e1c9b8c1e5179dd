#include "mvcc/key_index.h"

#include <algorithm>
#include <map>

#include "gtest/gtest.h"
#include "rapidcheck/gtest.h"

namespace kvorum::mvcc {
namespace {

const KeyRange kAll{std::string_view("\0", 1), std::string_view("\0", 1)};

/// foo: put@2, put@3, del@5, put@6, del@8, as in the worked example of the schema page.
struct WorkedExample : testing::Test {
  WorkedExample() {
    index.Put("foo", {2, 0});
    index.Put("foo", {3, 0});
    index.Tombstone("foo", {5, 0});
    index.Put("foo", {6, 0});
    index.Tombstone("foo", {8, 0});
  }
  /// The mains that compaction drops.
  std::vector<int64_t> Compact(int64_t at) {
    std::vector<KeyHistory::Item> dropped;
    std::string cursor;
    EXPECT_FALSE(index.CompactSome(at, 100, &cursor, &dropped));
    index.CheckInvariants();
    std::vector<int64_t> mains;
    for (const auto& item : dropped) mains.push_back(item.main);
    return mains;
  }
  KeyIndex index;
};

TEST_F(WorkedExample, FindsTheRevisionOfEachMoment) {
  EXPECT_EQ(index.Find("foo", 1), std::nullopt);
  EXPECT_EQ(index.Find("foo", 3), (Revision{3, 0}));
  EXPECT_EQ(index.Find("foo", 4), (Revision{3, 0}));
  EXPECT_EQ(index.Find("foo", 5), std::nullopt);
  EXPECT_EQ(index.Find("foo", 6), (Revision{6, 0}));
  EXPECT_EQ(index.Find("foo", 9), std::nullopt);
}

TEST_F(WorkedExample, KeepsADeletionAtTheCompactedRevision) {
  EXPECT_EQ(Compact(3), (std::vector<int64_t>{2}));
  EXPECT_EQ(Compact(5), (std::vector<int64_t>{3}));
  EXPECT_EQ(Compact(6), (std::vector<int64_t>{5}));
  EXPECT_EQ(Compact(8), (std::vector<int64_t>{6}));
  EXPECT_EQ(index.key_count(), 1u);
  EXPECT_EQ(Compact(9), (std::vector<int64_t>{8}));
  EXPECT_EQ(index.key_count(), 0u);
}

TEST_F(WorkedExample, CountsVersionsFromTheCreationOn) {
  const auto life = index.Put("foo", {9, 0}).life;
  EXPECT_EQ(life.created, 9);
  EXPECT_EQ(life.version, 1);
  Compact(9);
  const auto next = index.Put("foo", {10, 0}).life;
  EXPECT_EQ(next.created, 9);
  EXPECT_EQ(next.version, 2);
}

TEST(KeyIndexTest, GoesOnFromARestoredRecord) {
  KeyIndex index;
  index.RestorePut("a", {7, 0}, {3, 4});
  const auto life = index.Put("a", {9, 0}).life;
  EXPECT_EQ(life.created, 3);
  EXPECT_EQ(life.version, 5);
  index.RestoreTombstone("b", {10, 1});
  EXPECT_EQ(index.Find("b", 10), std::nullopt);
  EXPECT_EQ(index.live_count(), 1);
  EXPECT_EQ(index.RestoreTombstone("b", {11, 0}), nullptr);
}

TEST(KeyIndexTest, KeepsVersionsBeyond32Bits) {
  KeyIndex index;
  index.RestorePut("a", {7, 0}, {3, int64_t{1} << 33});
  EXPECT_EQ(index.Put("a", {9, 0}).life.version, (int64_t{1} << 33) + 1);
  index.CheckInvariants();
}

TEST(KeyIndexTest, TellsKeysApartThatDifferInTrailingZeros) {
  KeyIndex index;
  std::vector<std::string> keys;
  for (size_t n = 0; n < 300; ++n) keys.push_back(std::string("prefix") + std::string(n, '\0'));
  for (size_t i = 0; i < keys.size(); ++i) index.Put(keys[i], {static_cast<int64_t>(i) + 2, 0});
  index.CheckInvariants();
  for (size_t i = 0; i < keys.size(); ++i) {
    EXPECT_EQ(index.Find(keys[i], INT64_MAX), (Revision{static_cast<int64_t>(i) + 2, 0}));
  }
}

/// Every key once, in an order that fills nodes from all sides.
std::vector<std::string> ShuffledKeys(int count) {
  std::vector<std::string> keys;
  for (int64_t i = 0; i < count; ++i) keys.push_back(fmt::format("/registry/{:06}", i * 7919 % count));
  return keys;
}

TEST(KeyIndexTest, GrowsAndShrinksThroughSeveralLevels) {
  const auto keys = ShuffledKeys(30'000);
  KeyIndex index;
  int64_t main = 1;
  for (const std::string& key : keys) index.Put(key, {++main, 0});
  index.CheckInvariants();
  for (size_t i = 0; i < keys.size(); ++i) {
    if (i % 1000 != 0) index.Tombstone(keys[i], {++main, 0});
  }
  index.CheckInvariants();
  EXPECT_EQ(index.Count(kAll, main), 30);
  EXPECT_EQ(index.Count(kAll, 30'001), 30'000);
  std::vector<KeyHistory::Item> dropped;
  std::string cursor;
  for (int step = 0; index.CompactSome(main + 1, 50, &cursor, &dropped); ++step) {
    if (step % 100 == 0) index.CheckInvariants();
  }
  index.CheckInvariants();
  EXPECT_EQ(dropped.size(), 2u * (30'000 - 30));
  EXPECT_EQ(index.key_count(), 30u);
  for (size_t i = 0; i < keys.size(); ++i) EXPECT_EQ(index.Find(keys[i], main).has_value(), i % 1000 == 0);
  for (const std::string& key : keys) index.Put(key, {++main, 0});
  index.CheckInvariants();
  EXPECT_EQ(index.Count({keys[5], kAll.end}, main), 30'000 - 5 * 7919 % 30'000);
}

TEST(KeyIndexTest, EmptiesWhollyFromEitherEnd) {
  for (const bool backwards : {false, true}) {
    auto keys = ShuffledKeys(10'000);
    std::sort(keys.begin(), keys.end());
    if (backwards) std::reverse(keys.begin(), keys.end());
    KeyIndex index;
    int64_t main = 1;
    for (const std::string& key : keys) index.Put(key, {++main, 0});
    for (const std::string& key : keys) {
      index.Tombstone(key, {++main, 0});
      if (main % 500 != 0) continue;
      std::string cursor;
      std::vector<KeyHistory::Item> dropped;
      while (index.CompactSome(main, 10, &cursor, &dropped)) {
      }
      index.CheckInvariants();
    }
    std::string cursor;
    std::vector<KeyHistory::Item> dropped;
    EXPECT_FALSE(index.CompactSome(main + 1, SIZE_MAX, &cursor, &dropped));
    EXPECT_EQ(index.key_count(), 0u);
    index.CheckInvariants();
    index.Put("a", {main + 2, 0});
    EXPECT_EQ(index.live_count(), 1);
  }
}

// A naive model: every change ever made, by key.
struct Model {
  struct Change {
    Revision revision;
    bool tombstone;
  };
  std::map<std::string, std::vector<Change>> changes;

  std::optional<Revision> Find(const std::string& key, int64_t at) const {
    const auto it = changes.find(key);
    if (it == changes.end()) return std::nullopt;
    std::optional<Revision> found;
    for (const Change& change : it->second) {
      if (change.revision.main > at) break;
      found = change.tombstone ? std::nullopt : std::optional(change.revision);
    }
    return found;
  }
};

/// Keys that share long prefixes, so that nodes have some, and lose them.
std::string SomeKey() {
  const int n = *rc::gen::inRange(0, 600);
  const std::string tail = std::to_string(n);
  switch (n % 4) {
    case 0:
      return "/registry/pods/" + tail;
    case 1:
      return "/registry/pods/namespace/" + tail;
    case 2:
      return tail;
    default:
      return "/registry/services/" + std::string(n % 7, '\0') + tail;
  }
}

RC_GTEST_PROP(KeyIndexProperty, AgreesWithANaiveHistory, ()) {
  KeyIndex index;
  Model model;
  int64_t main = 1;
  int64_t compacted = 0;
  const int steps = *rc::gen::inRange(1, 1500);
  for (int step = 0; step < steps; ++step) {
    const std::string key = SomeKey();
    ++main;
    if (*rc::gen::inRange(0, 3) == 0) {
      const bool lives = model.Find(key, main).has_value();
      RC_ASSERT((index.Tombstone(key, {main, 0}) != nullptr) == lives);
      if (lives) model.changes[key].push_back({{main, 0}, true});
    } else {
      index.Put(key, {main, 0});
      model.changes[key].push_back({{main, 0}, false});
    }
    if (*rc::gen::inRange(0, 300) == 0) {
      compacted = *rc::gen::inRange<int64_t>(compacted, main + 1);
      std::string cursor;
      std::vector<KeyHistory::Item> dropped;
      while (index.CompactSome(compacted, 10, &cursor, &dropped)) index.CheckInvariants();
    }
  }
  index.CheckInvariants();
  for (const int64_t at : {main, *rc::gen::inRange<int64_t>(compacted, main + 1)}) {
    const std::string from = SomeKey();
    const std::string to = SomeKey();
    for (const KeyRange& range : {kAll, KeyRange{from, to}, KeyRange{from, kAll.end}}) {
      std::vector<std::pair<std::string, Revision>> expected;
      for (const auto& [key, changes] : model.changes) {
        const auto found = model.Find(key, at);
        if (found.has_value() && range.contains(key)) expected.emplace_back(key, *found);
      }
      std::vector<std::pair<std::string, Revision>> seen;
      index.ForEach(range, at, [&](const IndexedKey& key, Revision revision) {
        seen.emplace_back(key.view(), revision);
        return true;
      });
      RC_ASSERT(seen == expected);
      RC_ASSERT(index.Count(range, at) == static_cast<int64_t>(expected.size()));
    }
  }
}

}  // namespace
}  // namespace kvorum::mvcc
