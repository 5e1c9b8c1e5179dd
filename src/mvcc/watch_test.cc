#include "mvcc/watch.h"

#include "backend/memory_backend.h"
#include "gtest/gtest.h"
#include "mvcc/store.h"
#include "mvcc/testing/watch_texts.h"

namespace kvorum::mvcc {
namespace {

using Strings = std::vector<std::string>;
constexpr std::string_view kZero("\0", 1);

struct WatchTest : ::testing::Test {
  WatchTest() {
    store = *Store::Open({.backend = backend.get(), .metrics = &registry});
    store->watch_hub().SetBehindCallback([this] { ++behind_calls; });
  }
  void Put(std::string_view key, std::string_view value) { store->Begin()->Put(key, value, LeaseId(0)); }
  void Delete(KeyRange range) { store->Begin()->DeleteRange(range); }
  void Compact(int64_t revision) {
    ASSERT_TRUE(store->StartCompaction(revision).ok());
    while (store->CompactStep(100)) {
    }
  }
  void CatchUp(size_t max_records = 1000) {
    while (store->watch_hub().CatchUpStep(max_records)) {
    }
  }
  std::unique_ptr<WatchStream> NewStream() {
    return store->watch_hub().NewStream([this] { ++ready_calls; });
  }
  int64_t Watch(WatchSpec spec) { return stream->Watch(0, std::move(spec)).value(); }
  /// Takes everything: "id: event, event | revision" for each batch.
  Strings Take(size_t max_bytes = SIZE_MAX) {
    Strings texts;
    for (const WatchBatch& batch : stream->Take(max_bytes)) {
      if (batch.compact_revision != 0) {
        texts.push_back(fmt::format("{}: compacted {}", batch.watch_id, batch.compact_revision));
        continue;
      }
      texts.push_back(fmt::format("{}: {} | {}", batch.watch_id, fmt::join(testing::EventTexts(batch), ", "),
                                  batch.revision));
    }
    return texts;
  }
  int64_t Gauge(std::string_view name) {
    return registry.NewGauge(fmt::format("etcd_debugging_mvcc_{}", name), "").value();
  }

  metrics::Registry registry;
  int ready_calls = 0;
  int behind_calls = 0;
  std::unique_ptr<backend::MemoryBackend> backend = backend::MemoryBackend::Create();
  std::unique_ptr<Store> store;
  std::unique_ptr<WatchStream> stream;
};

struct OneStream : WatchTest {
  OneStream() { stream = NewStream(); }
};

TEST_F(OneStream, GetsWhatHappensAfterItsStart) {
  Put("a", "0");
  Watch({.key = "a"});
  Put("a", "1");
  Put("b", "1");
  Delete({"a", ""});
  EXPECT_EQ(ready_calls, 1);
  EXPECT_EQ(Take(), (Strings{"0: a=1@3, a-@5 | 5"}));
  EXPECT_EQ(Take(), Strings{});
  Put("a", "2");
  EXPECT_EQ(ready_calls, 2);
  EXPECT_EQ(Take(), (Strings{"0: a=2@6 | 6"}));
  EXPECT_EQ(behind_calls, 0);
}

TEST_F(OneStream, WatchesRangesPrefixesAndEverything) {
  Watch({.key = "b", .end = "d"});
  Watch({.key = "c", .end = std::string(kZero)});
  Watch({.key = std::string(kZero), .end = std::string(kZero)});
  Watch({.key = "", .end = "b"});
  {
    auto txn = store->Begin();
    for (const char* key : {"a", "b", "c", "d"}) txn->Put(key, "", LeaseId(0));
  }
  EXPECT_EQ(Take(), (Strings{"0: b=@2, c=@2 | 2", "1: c=@2, d=@2 | 2", "2: a=@2, b=@2, c=@2, d=@2 | 2",
                             "3: a=@2 | 2"}));
}

TEST_F(OneStream, StartsInThePast) {
  for (int i = 2; i <= 6; ++i) Put("a", std::to_string(i));
  Watch({.key = "a", .start_revision = 4});
  EXPECT_EQ(Take(), Strings{}) << "history is read by CatchUpStep";
  EXPECT_EQ(behind_calls, 1);
  CatchUp();
  EXPECT_EQ(ready_calls, 1);
  EXPECT_EQ(Take(), (Strings{"0: a=4@4, a=5@5, a=6@6 | 6"}));
  Put("a", "7");
  EXPECT_EQ(Take(), (Strings{"0: a=7@7 | 7"}));
}

TEST_F(OneStream, SaysHowFarItHasReadWhereTheLastEventIsOlder) {
  Put("a", "");
  Put("b", "");
  Watch({.key = "a", .start_revision = 1});
  CatchUp();
  EXPECT_EQ(Take(), (Strings{"0: a=@2 | 3"}));
}

TEST_F(OneStream, StartsInTheFuture) {
  Watch({.key = "a", .start_revision = 4});
  Put("a", "2");
  Put("a", "3");
  EXPECT_EQ(ready_calls, 0);
  Put("a", "4");
  EXPECT_EQ(Take(), (Strings{"0: a=4@4 | 4"}));
}

TEST_F(OneStream, IsToldThatItsStartWasCompacted) {
  for (int i = 2; i <= 6; ++i) Put("a", std::to_string(i));
  Compact(5);
  Watch({.key = "a", .start_revision = 4});
  Watch({.key = "a", .start_revision = 5});
  EXPECT_EQ(stream->watcher_count(), 2u);
  CatchUp();
  EXPECT_EQ(Take(), (Strings{"0: compacted 5", "1: a=5@5, a=6@6 | 6"}));
  EXPECT_EQ(stream->watcher_count(), 1u);
  EXPECT_FALSE(stream->Cancel(0));
  Put("a", "7");
  EXPECT_EQ(Take(), (Strings{"1: a=7@7 | 7"}));
}

TEST_F(OneStream, LeavesOutWhatTheFiltersDrop) {
  Watch({.key = "a", .no_put = true});
  Watch({.key = "a", .no_delete = true});
  Watch({.key = "a", .no_put = true, .no_delete = true});
  Put("a", "2");
  EXPECT_EQ(Take(), (Strings{"1: a=2@2 | 2"}));
  Delete({"a", ""});
  EXPECT_EQ(Take(), (Strings{"0: a-@3 | 3"}));
}

TEST_F(OneStream, SendsWhatWasThereBefore) {
  Put("a", "2");
  Watch({.key = "a", .prev_kv = true});
  Watch({.key = "a"});
  Put("a", "3");
  Delete({"a", ""});
  Put("a", "5");
  EXPECT_EQ(Take(), (Strings{"0: a=3@3 (2), a-@4 (3), a=5@5 | 5", "1: a=3@3, a-@4, a=5@5 | 5"}));
  Compact(3);
  Watch({.key = "a", .start_revision = 3, .prev_kv = true});
  CatchUp();
  EXPECT_EQ(Take(), (Strings{"2: a=3@3, a-@4 (3), a=5@5 | 5"})) << "what was compacted is missing";
}

TEST_F(OneStream, ChoosesTheSmallestFreeIdThatOnlyMovesUp) {
  EXPECT_EQ(*stream->Watch(1, {.key = "a"}), 1);
  EXPECT_EQ(Watch({.key = "a"}), 0);
  EXPECT_EQ(Watch({.key = "a"}), 2);
  EXPECT_TRUE(stream->Cancel(0));
  EXPECT_EQ(Watch({.key = "a"}), 3);
  EXPECT_FALSE(stream->Cancel(0));
  EXPECT_EQ(stream->Watch(3, {.key = "a"}).status(),
            absl::InvalidArgumentError("mvcc: duplicate watch ID provided on the WatchStream"));
  EXPECT_EQ(*stream->Watch(-1, {.key = "a"}), -1);
}

TEST_F(OneStream, RefusesEmptyRangesAndNegativeStarts) {
  const auto empty = absl::InvalidArgumentError("mvcc: watcher range is empty");
  EXPECT_EQ(stream->Watch(0, {.key = "b", .end = "a"}).status(), empty);
  EXPECT_EQ(stream->Watch(0, {.key = "b", .end = "b"}).status(), empty);
  EXPECT_EQ(stream->Watch(0, {.key = "b", .start_revision = -1}).status(), CompactedError());
  EXPECT_EQ(*stream->Watch(0, {.key = "b", .end = std::string(kZero)}), 0);
}

TEST_F(OneStream, SendsNothingOfACancelledWatcher) {
  Watch({.key = "a"});
  Put("a", "2");
  EXPECT_TRUE(stream->Cancel(0));
  Put("a", "3");
  EXPECT_EQ(*stream->Watch(5, {.key = "a"}), 5);
  EXPECT_EQ(Take(), Strings{});
  Put("a", "4");
  EXPECT_EQ(Take(), (Strings{"5: a=4@4 | 4"}));
}

TEST_F(OneStream, KeepsTheEventsOfARevisionTogetherHoweverLittleIsTaken) {
  Watch({.key = "a", .end = "z"});
  Watch({.key = "b"});
  {
    auto txn = store->Begin();
    for (const char* key : {"a", "b", "c"}) txn->Put(key, "", LeaseId(0));
  }
  Put("d", "");
  EXPECT_EQ(Take(1), (Strings{"0: a=@2, b=@2, c=@2 | 2"}));
  EXPECT_EQ(ready_calls, 2) << "something is left";
  EXPECT_EQ(Take(1), (Strings{"1: b=@2 | 2"}));
  EXPECT_EQ(Take(1), (Strings{"0: d=@3 | 3"}));
  EXPECT_EQ(Take(1), Strings{});
}

TEST_F(OneStream, FallsBehindAndCatchesUpInOrder) {
  Watch({.key = "a"});
  const std::string value(100'000, 'x');
  for (int i = 0; i < 100; ++i) Put("a", value);
  EXPECT_LT(Gauge("pending_events_total"), 15);
  EXPECT_EQ(Gauge("slow_watcher_total"), 1);
  EXPECT_EQ(stream->SyncedRevision(), 0);
  int64_t next = 2;
  while (next < 102) {
    const auto batches = stream->Take(1);
    for (const WatchBatch& batch : batches) {
      for (const Bytes& event : batch.events) {
        EXPECT_EQ(testing::EventText(event), "a=" + value + "@" + std::to_string(next++));
      }
      EXPECT_GE(batch.revision, next - 1);
    }
    CatchUp();
    ASSERT_LT(Gauge("pending_events_total"), 30);
  }
  EXPECT_EQ(Gauge("slow_watcher_total"), 0);
  EXPECT_EQ(stream->SyncedRevision(), 101);
}

TEST_F(OneStream, HoldsUpNobodyElse) {
  Watch({.key = "a"});
  auto slow = std::exchange(stream, NewStream());
  Watch({.key = "a"});
  const std::string value(500'000, 'x');
  for (int i = 2; i < 20; ++i) {
    Put("a", value);
    EXPECT_EQ(Take(), (Strings{fmt::format("0: a={}@{} | {}", value, i, i)}));
  }
  EXPECT_EQ(Gauge("slow_watcher_total"), 1);
}

TEST_F(OneStream, KnowsUpToWhereEverythingWasTaken) {
  EXPECT_EQ(stream->SyncedRevision(), 0) << "no watcher";
  const int64_t a = Watch({.key = "a"});
  EXPECT_EQ(stream->SyncedRevision(), 1);
  Put("b", "");
  EXPECT_EQ(stream->SyncedRevision(), 2);
  Put("a", "");
  EXPECT_EQ(stream->SyncedRevision(), 0);
  EXPECT_EQ(stream->SyncedRevision(a), 0);
  Take();
  EXPECT_EQ(stream->SyncedRevision(a), 3);
  EXPECT_EQ(stream->SyncedRevision(), 3);
  const int64_t next = Watch({.key = "c", .start_revision = 4});
  EXPECT_EQ(stream->SyncedRevision(), 3) << "the next revision is no future one";
  const int64_t future = Watch({.key = "c", .start_revision = 6});
  EXPECT_EQ(stream->SyncedRevision(), 0);
  EXPECT_EQ(stream->SyncedRevision(future), 0);
  EXPECT_EQ(stream->SyncedRevision(next), 3);
  stream->Cancel(future);
  EXPECT_EQ(stream->SyncedRevision(), 3);
  Watch({.key = "c", .start_revision = 2});
  EXPECT_EQ(stream->SyncedRevision(), 0);
  CatchUp();
  EXPECT_EQ(stream->SyncedRevision(), 3);
}

TEST_F(OneStream, ReadsHistoryInFairTurns) {
  for (int i = 0; i < 100; ++i) Put("a", "");
  Watch({.key = "a", .start_revision = 2});
  Watch({.key = "a", .start_revision = 90});
  store->watch_hub().CatchUpStep(10);
  store->watch_hub().CatchUpStep(10);
  const auto batches = stream->Take(SIZE_MAX);
  ASSERT_EQ(batches.size(), 2u);
  EXPECT_EQ(batches[0].revision, 11);
  EXPECT_EQ(batches[1].watch_id, 1);
  EXPECT_EQ(batches[1].revision, 99) << "the far one has its turn before the old one is done";
}

TEST_F(OneStream, EndsAPieceOfHistoryWithAWholeRevision) {
  {
    auto txn = store->Begin();
    for (int i = 0; i < 50; ++i) txn->Put(fmt::format("a{:02}", i), "", LeaseId(0));
  }
  Put("a", "");
  Watch({.key = "a", .end = "b", .start_revision = 2});
  EXPECT_TRUE(store->watch_hub().CatchUpStep(10));
  const auto batches = stream->Take(SIZE_MAX);
  ASSERT_EQ(batches.size(), 1u);
  EXPECT_EQ(batches[0].event_count, 50u);
}

TEST_F(OneStream, MayBeEndedAtAnyMoment) {
  Watch({.key = "a"});
  Watch({.key = "a", .end = "b"});
  Put("a", "");
  Watch({.key = "a", .start_revision = 1});
  stream.reset();
  Put("a", "");
  CatchUp();
  for (const char* name :
       {"watcher_total", "slow_watcher_total", "pending_events_total", "watch_stream_total"}) {
    EXPECT_EQ(Gauge(name), 0) << name;
  }
}

}  // namespace
}  // namespace kvorum::mvcc
