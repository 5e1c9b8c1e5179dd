#include "proxy/grpc/range_cache.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace kvorum::proxy_grpc {
namespace {

using std::string_literals::operator""s;

const KeyRange kOne{"b", ""};
const KeyRange kSome{"b", "d"};
const KeyRange kFrom{"b", "\0"s};

TEST(KeyRangeTest, Intersects) {
  EXPECT_TRUE(kOne.Intersects(kSome));
  EXPECT_TRUE(kSome.Intersects(kOne));
  EXPECT_TRUE(kSome.Intersects({"c", ""}));
  EXPECT_FALSE(kSome.Intersects({"d", ""}));
  EXPECT_FALSE(kSome.Intersects({"a", "b"}));
  EXPECT_TRUE(kSome.Intersects({"a", "b\0"s}));
  EXPECT_TRUE(kFrom.Intersects({"z", ""}));
  EXPECT_FALSE(kFrom.Intersects({"a", ""}));
  EXPECT_TRUE(kFrom.Intersects({"", "\0"s}));
}

class RangeCacheTest : public testing::Test {
 protected:
  static Bytes Reply(std::string_view text) { return Bytes::Copy(text); }
  void Keep(const KeyRange& range, const std::string& form, bool at_revision = false) {
    cache_.EndRead(cache_.BeginRead(range, at_revision), form, Reply(form), now_);
  }
  bool Has(const std::string& form) { return cache_.Find(form, now_).has_value(); }
  void Write(const KeyRange& range) { cache_.Invalidate({&range, 1}); }

  metrics::Registry metrics_;
  RangeCache cache_{{.max_entries = 3, .max_bytes = 1000, .max_reply_bytes = 400}, metrics_};
  MonotonicTime now_{std::chrono::hours(1)};
};

TEST_F(RangeCacheTest, ForgetsWhatAWriteTouches) {
  Keep(kOne, "one");
  Keep(kSome, "some");
  Keep({"x", ""}, "x");
  Write({"c", ""});
  EXPECT_TRUE(Has("one"));
  EXPECT_FALSE(Has("some"));
  Write({"a", "c"});
  EXPECT_FALSE(Has("one"));
  EXPECT_TRUE(Has("x"));
  cache_.InvalidateAll();
  EXPECT_FALSE(Has("x"));
}

TEST_F(RangeCacheTest, KeepsPastRevisionsUntilTheyAreCompacted) {
  Keep(kOne, "past", /*at_revision=*/true);
  Write(kOne);
  EXPECT_TRUE(Has("past"));
  cache_.RaiseFloor(10);
  cache_.RaiseFloor(5);
  EXPECT_TRUE(cache_.IsCompacted(9));
  EXPECT_FALSE(cache_.IsCompacted(10));
}

TEST_F(RangeCacheTest, KeepsNoReplyOfAReadBesideAWrite) {
  // The write begins and ends while the read runs.
  auto read = cache_.BeginRead(kOne, false);
  Write(kSome);
  Write(kSome);
  cache_.EndRead(read, "one", Reply("old"), now_);
  EXPECT_FALSE(Has("one"));
  // The write began before the read did: its end drops what was kept.
  Write(kOne);
  read = cache_.BeginRead(kOne, false);
  cache_.EndRead(read, "one", Reply("old"), now_);
  EXPECT_TRUE(Has("one"));
  Write(kOne);
  EXPECT_FALSE(Has("one"));
  // A write elsewhere changes nothing.
  read = cache_.BeginRead(kOne, false);
  Write({"z", ""});
  cache_.EndRead(read, "one", Reply("new"), now_);
  EXPECT_TRUE(Has("one"));
  read = cache_.BeginRead(kOne, false);
  cache_.DropRead(read);
}

TEST_F(RangeCacheTest, IsBounded) {
  Keep({"1", ""}, "1");
  Keep({"1", ""}, "1 again");  // by another user
  Keep({"2", ""}, "2");
  EXPECT_TRUE(Has("1"));
  Keep({"3", ""}, "3");
  EXPECT_FALSE(Has("1 again"));  // the one that was not used for longest
  EXPECT_TRUE(Has("1"));
  Write({"1", ""});
  EXPECT_FALSE(Has("1"));
  cache_.EndRead(cache_.BeginRead(kOne, false), "long", Reply(std::string(401, 'x')), now_);
  EXPECT_FALSE(Has("long"));
  for (const char* form : {"a", "b", "c"}) {
    cache_.EndRead(cache_.BeginRead({form, ""}, false), form, Reply(std::string(400, 'x')), now_);
  }
  EXPECT_FALSE(Has("a"));
  EXPECT_TRUE(Has("b"));
  EXPECT_TRUE(Has("c"));
}

TEST_F(RangeCacheTest, ForgetsWithTime) {
  Keep(kOne, "one");
  now_ += std::chrono::seconds(1);
  EXPECT_TRUE(Has("one"));
  now_ += std::chrono::nanoseconds(1);
  EXPECT_FALSE(Has("one"));
  EXPECT_FALSE(cache_.Contains("one"));
}

TEST_F(RangeCacheTest, CountsAsEtcdDoes) {
  Keep(kOne, "one");
  Has("one");
  Has("two");
  const std::string text = metrics_.Text();
  EXPECT_NE(text.find("# TYPE etcd_grpc_proxy_cache_hits_total gauge"), std::string::npos);
  EXPECT_NE(text.find("etcd_grpc_proxy_cache_keys_total 1\n"), std::string::npos);
  EXPECT_NE(text.find("etcd_grpc_proxy_cache_hits_total 1\n"), std::string::npos);
  EXPECT_NE(text.find("etcd_grpc_proxy_cache_misses_total 1\n"), std::string::npos);
}

/// One key, a store that is behind, readers and a writer at random points: what the cache gives is never
/// older than the last write that was acknowledged before it was asked.
RC_GTEST_PROP(RangeCacheProperty, GivesNothingOlderThanAnAcknowledgedWrite, ()) {
  metrics::Registry metrics;
  RangeCache cache({}, metrics);
  const MonotonicTime now{std::chrono::hours(1)};
  const KeyRange key{"k", ""};
  int64_t store = 0;
  int64_t acknowledged = 0;
  struct Reading {
    RangeCache::ReadId id;
    int64_t seen;  // -1: not yet
  };
  std::vector<Reading> reads;
  bool writing = false;
  bool applied = false;
  const auto steps = *rc::gen::container<std::vector<int>>(60, rc::gen::inRange(0, 6));
  for (const int step : steps) {
    if (step == 0 && !writing) {
      cache.Invalidate({&key, 1});
      writing = true;
      applied = false;
    } else if (step == 1 && writing && !applied) {
      ++store;
      applied = true;
    } else if (step == 2 && writing && applied) {
      acknowledged = store;
      cache.Invalidate({&key, 1});
      writing = false;
    } else if (step == 3) {
      const auto id = cache.BeginRead(key, false);
      reads.push_back({id, -1});
    } else if (step == 4 && !reads.empty()) {
      Reading& read = reads[static_cast<size_t>(*rc::gen::inRange<size_t>(0, reads.size()))];
      if (read.seen < 0) read.seen = store;
    } else if (step == 5 && !reads.empty() && reads.front().seen >= 0) {
      cache.EndRead(reads.front().id, "form", Bytes::Copy(std::to_string(reads.front().seen)), now);
      reads.erase(reads.begin());
    }
    if (const auto found = cache.Find("form", now)) {
      RC_ASSERT(std::stoll(std::string(found->view())) >= acknowledged);
    }
  }
}

}  // namespace
}  // namespace kvorum::proxy_grpc
