// What the store and the watch hub cost: memory a key and a watcher, time an operation, over the real
// backend.

#include <malloc.h>
#include <stdlib.h>

#include <filesystem>

#include "backend/lmdb_backend.h"
#include "base/check.h"
#include "base/random.h"
#include "benchmark/benchmark.h"
#include "mvcc/key_index.h"
#include "mvcc/store.h"

namespace kvorum::mvcc {
namespace {

constexpr int64_t kMillion = 1'000'000;
constexpr std::string_view kZero("\0", 1);
const KeyRange kAll{kZero, kZero};

/// 32 bytes.
std::string KeyOf(uint64_t n) {
  return fmt::format("/registry/objects/{:014x}", n * 0x9e3779b97f4a7c15 >> 10);
}

std::vector<std::string> Keys(int64_t count, bool sorted) {
  std::vector<std::string> keys;
  for (int64_t i = 0; i < count; ++i) keys.push_back(KeyOf(static_cast<uint64_t>(i)));
  if (sorted) std::sort(keys.begin(), keys.end());
  return keys;
}

int64_t HeapBytes() {
  const struct mallinfo2 info = mallinfo2();
  return static_cast<int64_t>(info.uordblks + info.hblkhd);
}

struct Disk {
  Disk() {
    std::string pattern = (std::filesystem::temp_directory_path() / "mvcc_bench.XXXXXX").string();
    KVORUM_CHECK(mkdtemp(pattern.data()) != nullptr);
    directory = pattern;
    Open();
  }
  ~Disk() {
    store.reset();
    KVORUM_CHECK(backend->Close().ok());
    std::filesystem::remove_all(directory);
  }
  void Open() {
    backend =
        *backend::OpenLmdbBackend({.directory = directory, .on_failure = [](absl::Status) { abort(); }});
    OpenStore();
  }
  void OpenStore() {
    auto opened = Store::Open({.backend = backend.get()});
    KVORUM_CHECK(opened.ok(), "{}", std::string(opened.status().message()));
    store = *std::move(opened);
  }
  void Put(std::string_view key, std::string_view value) {
    backend->BeginEntry();
    store->Begin()->Put(key, value, LeaseId(0));
    backend->EndEntry({.index = ++index, .term = 1});
  }
  void Fill(int64_t count, size_t value_size) {
    const std::string value(value_size, 'v');
    for (int64_t i = 0; i < count; ++i) Put(KeyOf(static_cast<uint64_t>(i)), value);
  }

  std::string directory;
  std::unique_ptr<backend::Backend> backend;
  std::unique_ptr<Store> store;
  uint64_t index = 0;
};

void BM_IndexInsertMillion(benchmark::State& state) {
  const auto keys = Keys(kMillion, state.range(0) != 0);
  for (auto _ : state) {
    const int64_t before = HeapBytes();
    KeyIndex index;
    for (int64_t i = 0; i < kMillion; ++i) index.Put(keys[i], {i + 2, 0});
    state.counters["bytes/key"] = static_cast<double>(HeapBytes() - before) / kMillion;
    benchmark::DoNotOptimize(index.key_count());
  }
  state.SetItemsProcessed(state.iterations() * kMillion);
}
BENCHMARK(BM_IndexInsertMillion)->ArgName("sorted")->Arg(0)->Arg(1)->Unit(benchmark::kMillisecond);

void BM_IndexFind(benchmark::State& state) {
  const auto keys = Keys(kMillion, false);
  KeyIndex index;
  for (int64_t i = 0; i < kMillion; ++i) index.Put(keys[i], {i + 2, 0});
  Random random(1);
  for (auto _ : state) benchmark::DoNotOptimize(index.Find(keys[random.Below(kMillion)], INT64_MAX));
}
BENCHMARK(BM_IndexFind);

void BM_Put(benchmark::State& state) {
  Disk disk;
  const auto keys = Keys(kMillion, false);
  const std::string value(256, 'v');
  size_t i = 0;
  for (auto _ : state) disk.Put(keys[i++ % state.range(0)], value);
}
BENCHMARK(BM_Put)->ArgName("keys")->Arg(1000)->Arg(kMillion);

void BM_Get(benchmark::State& state) {
  Disk disk;
  disk.Fill(100'000, 256);
  Random random(1);
  for (auto _ : state) {
    const auto result = disk.store->Range({.range = {KeyOf(random.Below(100'000)), ""}});
    benchmark::DoNotOptimize(result->records.data());
  }
}
BENCHMARK(BM_Get);

void BM_RangeOf10000(benchmark::State& state) {
  Disk disk;
  disk.Fill(100'000, 1024);
  for (auto _ : state) {
    const auto result = disk.store->Range({.range = kAll, .limit = 10'000});
    KVORUM_CHECK(result->records.size() == 10'000);
  }
  state.SetItemsProcessed(state.iterations() * 10'000);
}
BENCHMARK(BM_RangeOf10000)->Unit(benchmark::kMicrosecond);

void BM_CountMillion(benchmark::State& state) {
  Disk disk;
  disk.Fill(kMillion, 16);
  const int64_t at = disk.store->current_revision() - state.range(0);
  for (auto _ : state) {
    benchmark::DoNotOptimize(disk.store->Range({.range = kAll, .revision = at, .count_only = true})->count);
  }
}
BENCHMARK(BM_CountMillion)->ArgName("revisions_ago")->Arg(0)->Arg(1000);

void BM_OpenMillion(benchmark::State& state) {
  Disk disk;
  disk.Fill(kMillion, 256);
  for (auto _ : state) {
    state.PauseTiming();
    disk.store.reset();
    state.ResumeTiming();
    disk.OpenStore();
  }
  state.SetItemsProcessed(state.iterations() * kMillion);
}
BENCHMARK(BM_OpenMillion)->Unit(benchmark::kMillisecond);

/// A put of one key with 10,000 watchers, on so many streams; what the streams take is not timed.
void BM_PublishTo10000(benchmark::State& state) {
  constexpr int64_t kWatchers = 10'000;
  const int64_t stream_count = state.range(0);
  Disk disk;
  std::vector<std::unique_ptr<WatchStream>> streams;
  int64_t ready = 0;
  for (int64_t i = 0; i < stream_count; ++i) {
    streams.push_back(disk.store->watch_hub().NewStream([&ready] { ++ready; }));
    for (int64_t k = 0; k < kWatchers / stream_count; ++k)
      KVORUM_CHECK(streams.back()->Watch(0, {.key = "k"}).ok());
  }
  const std::string value(256, 'v');
  for (auto _ : state) {
    disk.Put("k", value);
    state.PauseTiming();
    size_t events = 0;
    for (const auto& stream : streams) events += stream->Take(SIZE_MAX).size();
    KVORUM_CHECK(events == kWatchers, "{} events", events);
    state.ResumeTiming();
  }
  KVORUM_CHECK(ready >= stream_count);
  state.SetItemsProcessed(state.iterations() * kWatchers);
}
BENCHMARK(BM_PublishTo10000)
    ->ArgName("streams")
    ->Arg(1)
    ->Arg(100)
    ->Arg(10'000)
    ->Unit(benchmark::kMicrosecond);

/// Of 10,000 streams' worth of events, the taking.
void BM_Take(benchmark::State& state) {
  Disk disk;
  auto stream = disk.store->watch_hub().NewStream([] {});
  for (int k = 0; k < 100; ++k) KVORUM_CHECK(stream->Watch(0, {.key = "k"}).ok());
  for (auto _ : state) {
    state.PauseTiming();
    disk.Put("k", "v");
    state.ResumeTiming();
    benchmark::DoNotOptimize(stream->Take(SIZE_MAX).size());
  }
  state.SetItemsProcessed(state.iterations() * 100);
}
BENCHMARK(BM_Take);

void BM_IdleWatchers(benchmark::State& state) {
  constexpr int64_t kWatchers = 100'000;
  Disk disk;
  for (auto _ : state) {
    const int64_t before = HeapBytes();
    auto stream = disk.store->watch_hub().NewStream([] {});
    for (int64_t i = 0; i < kWatchers; ++i) {
      const std::string key = KeyOf(static_cast<uint64_t>(i));
      KVORUM_CHECK(stream->Watch(0, {.key = key, .end = state.range(0) != 0 ? key + "0" : ""}).ok());
    }
    state.counters["bytes/watcher"] = static_cast<double>(HeapBytes() - before) / kWatchers;
  }
  state.SetItemsProcessed(state.iterations() * kWatchers);
}
BENCHMARK(BM_IdleWatchers)->ArgName("ranges")->Arg(0)->Arg(1)->Unit(benchmark::kMillisecond);

/// The longest single step of compacting a million revisions of 10,000 keys.
void BM_CompactionStep(benchmark::State& state) {
  for (auto _ : state) {
    state.PauseTiming();
    Disk disk;
    const std::string value(64, 'v');
    for (int64_t i = 0; i < kMillion; ++i) disk.Put(KeyOf(static_cast<uint64_t>(i % 10'000)), value);
    KVORUM_CHECK(disk.store->StartCompaction(disk.store->current_revision()).ok());
    state.ResumeTiming();
    double longest = 0;
    for (bool more = true; more;) {
      const auto begin = std::chrono::steady_clock::now();
      more = disk.store->CompactStep(1000);
      const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - begin;
      longest = std::max(longest, took.count());
    }
    state.counters["longest_us"] = longest;
  }
  state.SetItemsProcessed(state.iterations() * kMillion);
}
BENCHMARK(BM_CompactionStep)->Unit(benchmark::kMillisecond)->Iterations(1);

}  // namespace
}  // namespace kvorum::mvcc

BENCHMARK_MAIN();
