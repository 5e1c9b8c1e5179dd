// Many threads on one store: what thread sanitizer watches, and what every reader may rely on.

#include <atomic>
#include <thread>

#include "backend/memory_backend.h"
#include "base/random.h"
#include "gtest/gtest.h"
#include "mvcc/record_format.h"
#include "mvcc/store.h"
#include "mvcc/testing/watch_texts.h"

namespace kvorum::mvcc {
namespace {

constexpr int64_t kTransactions = 1500;
constexpr std::string_view kZero("\0", 1);
const KeyRange kAll{kZero, kZero};

struct Stress {
  std::unique_ptr<backend::MemoryBackend> backend = backend::MemoryBackend::Create();
  std::unique_ptr<Store> store = *Store::Open({.backend = backend.get()});
  std::atomic<bool> written{false};
  std::atomic<int> watching{0};

  /// Each transaction writes its revision to `left` and `right`, and puts or deletes one key of a few.
  void Write() {
    Random random(1);
    for (int64_t i = 0; i < kTransactions; ++i) {
      {
        auto txn = store->Begin();
        const std::string value = std::to_string(store->current_revision() + 1);
        txn->Put("left", value, LeaseId(0));
        const std::string key = fmt::format("key{}", random.Below(20));
        if (random.OneIn(1, 3)) {
          txn->DeleteRange({key, ""});
        } else {
          txn->Put(key, std::string(random.Below(3000), 'x'), LeaseId(0));
        }
        txn->Put("right", value, LeaseId(0));
      }
      if (random.OneIn(1, 50) && !store->compacting()) {
        EXPECT_TRUE(
            store->StartCompaction(std::max(store->compact_revision(), store->current_revision() - 30) + 1)
                .ok());
      }
      if (random.OneIn(1, 3)) store->CompactStep(3);
    }
    written = true;
  }

  void Read(uint64_t seed) {
    Random random(seed);
    int64_t last = 0;
    while (!written) {
      const bool past = random.OneIn(1, 2);
      const auto result = store->Range({.range = kAll, .revision = past ? last : 0});
      if (!result.ok()) {
        EXPECT_TRUE(IsCompacted(result.status()) && past) << result.status();
        last = 0;
        continue;
      }
      std::string left;
      std::string right;
      for (const std::string_view encoded : result->records) {
        const Record record = ParseRecord(encoded).value();
        if (record.key == "left") left = record.value;
        if (record.key == "right") right = record.value;
      }
      EXPECT_EQ(left, right);
      EXPECT_EQ(result->count, static_cast<int64_t>(result->records.size()));
      EXPECT_GE(result->revision, last);
      last = result->revision;
      if (random.OneIn(1, 8)) {
        const auto first = store->Hash(last);
        const auto second = store->Hash(last);
        if (first.ok() && second.ok() && first->compact_revision == second->compact_revision) {
          EXPECT_EQ(first->hash, second->hash);
        }
      }
    }
  }

  void Watch(uint64_t seed) {
    Random random(seed);
    std::atomic<bool> ready{false};
    const auto stream = store->watch_hub().NewStream([&ready] { ready = true; });
    int64_t next = store->current_revision() + 1;
    int64_t id = *stream->Watch(0, {.key = "left", .start_revision = next});
    ++watching;
    while (next <= kTransactions + 1) {
      if (random.OneIn(1, 20)) {
        // Goes on where it was; or anew, where that was compacted.
        EXPECT_TRUE(stream->Cancel(id) || next == 0);
        id = *stream->Watch(0, {.key = "left", .start_revision = next, .prev_kv = random.OneIn(1, 2)});
      }
      if (!ready.exchange(false)) {
        std::this_thread::yield();
        continue;
      }
      for (const WatchBatch& batch : stream->Take(random.Below(20'000) + 1)) {
        if (batch.compact_revision != 0) {
          next = batch.compact_revision;
          id = *stream->Watch(0, {.key = "left", .start_revision = next});
          continue;
        }
        EXPECT_EQ(batch.watch_id, id);
        for (const std::string& text : testing::EventTexts(batch)) {
          EXPECT_EQ(text.substr(0, text.find(' ')), fmt::format("left={}@{}", next, next));
          ++next;
        }
        EXPECT_GE(batch.revision, next - 1);
      }
      const int64_t synced = stream->SyncedRevision();
      EXPECT_TRUE(synced == 0 || synced >= next - 1);
      EXPECT_LT(synced, next + (synced == 0 ? 1 : 0));
    }
    --watching;
  }

  void CatchUp() {
    while (watching > 0 || !written) {
      if (!store->watch_hub().CatchUpStep(7)) std::this_thread::yield();
    }
  }
};

TEST(StoreStress, ReadersWatchersAndCompactionSeeOneHistory) {
  Stress stress;
  std::vector<std::thread> threads;
  for (uint64_t seed : {1, 2, 3}) threads.emplace_back([&stress, seed] { stress.Watch(seed); });
  while (stress.watching < 3) std::this_thread::yield();
  threads.emplace_back([&stress] { stress.CatchUp(); });
  for (uint64_t seed : {4, 5}) threads.emplace_back([&stress, seed] { stress.Read(seed); });
  stress.Write();
  for (std::thread& thread : threads) thread.join();
  stress.store->CheckInvariants();
}

}  // namespace
}  // namespace kvorum::mvcc
