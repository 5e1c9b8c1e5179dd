#include <atomic>
#include <thread>

#include "backend/memory_backend.h"
#include "base/clock.h"
#include "gtest/gtest.h"
#include "mvcc/store.h"

namespace kvorum::mvcc {
namespace {

std::unique_ptr<Store> Open(backend::Backend& backend) {
  return *Store::Open({.backend = &backend, .clock = &SystemClock()});
}
void Put(Store& store, const std::string& key, const std::string& value) {
  const std::unique_ptr<WriteTxn> txn = store.Begin();
  txn->Put(key, value, LeaseId(0));
}
/// `count` keys that all have `value`, written one after another.
std::unique_ptr<backend::MemoryBackend> Database(int count, const std::string& value) {
  auto backend = backend::MemoryBackend::Create();
  const std::unique_ptr<Store> store = Open(*backend);
  for (int i = 0; i < count; ++i) Put(*store, "k" + std::to_string(i), value);
  return backend;
}
void Replace(backend::Backend& backend, backend::Backend& by) {
  backend.Replace(by.NewReadView(), {.index = 1, .term = 1},
                  [](absl::Status status) { EXPECT_TRUE(status.ok()) << status; });
}
RangeResult ReadAll(Store& store) {
  absl::StatusOr<RangeResult> result = store.Range({.range = {.key = "k", .end = "l"}});
  EXPECT_TRUE(result.ok()) << result.status();
  return result.ok() ? *std::move(result) : RangeResult();
}

TEST(StoreReload, ShowsTheOldContentUntilTheNewOneStands) {
  const auto backend = Database(3, "old");
  const auto other = Database(20, "new");
  const std::unique_ptr<Store> store = Open(*backend);
  const RangeResult before = ReadAll(*store);
  store->BeginReload();
  Replace(*backend, *other);
  const RangeResult between = ReadAll(*store);
  EXPECT_EQ(between.count, 3);
  EXPECT_EQ(between.records, before.records);
  EXPECT_EQ(store->Hash(0)->hash, Open(*Database(3, "old"))->Hash(0)->hash);
  ASSERT_TRUE(store->Reload().ok());
  EXPECT_EQ(ReadAll(*store).count, 20);
  EXPECT_EQ(store->current_revision(), 21);
  EXPECT_EQ(store->Hash(0)->hash, Open(*other)->Hash(0)->hash);
  EXPECT_EQ(between.records[0], before.records[0]);
  store->CheckInvariants();
  Put(*store, "k", "after");
  EXPECT_EQ(ReadAll(*store).count, 21);
}

TEST(StoreReload, GoesOnWithTheOthersCompaction) {
  const auto backend = Database(3, "old");
  const auto other = Database(5, "new");
  {
    const std::unique_ptr<Store> store = Open(*other);
    ASSERT_TRUE(store->StartCompaction(4).ok());
  }
  const std::unique_ptr<Store> store = Open(*backend);
  ASSERT_TRUE(store->StartCompaction(2).ok());
  store->BeginReload();
  Replace(*backend, *other);
  ASSERT_TRUE(store->Reload().ok());
  EXPECT_TRUE(store->compacting());
  EXPECT_EQ(store->compact_revision(), 4);
  while (store->CompactStep(100)) {
  }
  store->CheckInvariants();
}

// Two databases take turns; whoever reads sees one of them, whole.
TEST(StoreReload, NeverMixesTheTwo) {
  constexpr int kKeys[] = {5000, 9000};
  const std::unique_ptr<backend::MemoryBackend> databases[] = {Database(kKeys[0], "a"),
                                                               Database(kKeys[1], "b")};
  const auto backend = Database(kKeys[0], "a");
  const std::unique_ptr<Store> store = Open(*backend);
  std::atomic<bool> stop{false};
  std::vector<std::thread> readers;
  for (int i = 0; i < 2; ++i) {
    readers.emplace_back([&] {
      while (!stop.load()) {
        const RangeResult result = ReadAll(*store);
        const size_t seen = result.records.size();
        EXPECT_TRUE(seen == size_t{kKeys[0]} || seen == size_t{kKeys[1]}) << seen;
        const char value = seen == size_t{kKeys[0]} ? 'a' : 'b';
        for (const std::string_view record : result.records) ASSERT_EQ(record.back(), value);
      }
    });
  }
  for (int round = 1; round <= 6; ++round) {
    store->BeginReload();
    Replace(*backend, *databases[round % 2]);
    ASSERT_TRUE(store->Reload().ok());
  }
  stop.store(true);
  for (std::thread& reader : readers) reader.join();
}

}  // namespace
}  // namespace kvorum::mvcc
