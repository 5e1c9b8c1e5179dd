// Figures of the v2 tree: what a read, a write, a wake-up of 10,000 watchers and a snapshot of 100,000 keys
// cost, and what a key and a watcher take in memory.

#include <benchmark/benchmark.h>
#include <malloc.h>

#include "base/check.h"
#include "v2store/store.h"

namespace kvorum::v2store {
namespace {

constexpr int64_t kKeys = 100'000;
constexpr size_t kWhole = size_t{1} << 30;
constexpr int64_t kWatchers = 10'000;

std::string Key(int64_t i) { return fmt::format("/1/dir{}/key-{:08}", i % 10, i); }

std::unique_ptr<Store> Filled() {
  auto store = std::make_unique<Store>(&SystemClock());
  const std::string value(64, 'v');
  for (int64_t i = 0; i < kKeys; ++i) store->Set(Key(i), false, value, {});
  return store;
}

Store& Shared() {
  static const std::unique_ptr<Store> store = Filled();
  return *store;
}

size_t HeapBytes() {
  const auto info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

/// Keeps the last body, as one that sends it does.
class Sink final : public WatchSink {
 public:
  void OnEvent(const EventPtr&, const std::shared_ptr<const std::string>& body) override { body_ = body; }
  void OnLost() override {}

 private:
  std::shared_ptr<const std::string> body_;
};

void GetKey(benchmark::State& state) {
  Store& store = Shared();
  int64_t i = state.thread_index() * 7919;
  std::string body;
  uint64_t index = 0;
  for (auto _ : state) {
    body.clear();
    std::get<Listing>(store.List(Key((i += 7919) % kKeys), false, &index)).Append(&body, kWhole);
  }
}
BENCHMARK(GetKey)->ThreadRange(1, 2)->UseRealTime();

void GetOneKey(benchmark::State& state) {
  Store& store = Shared();
  const std::string key = Key(7);
  std::string body;
  uint64_t index = 0;
  for (auto _ : state) {
    body.clear();
    std::get<Listing>(store.List(key, false, &index)).Append(&body, kWhole);
  }
}
BENCHMARK(GetOneKey)->ThreadRange(1, 2)->UseRealTime();

void ListTenThousand(benchmark::State& state) {
  std::string body;
  uint64_t index = 0;
  for (auto _ : state) {
    body.clear();
    std::get<Listing>(Shared().List("/1/dir0", false, &index)).Append(&body, kWhole);
  }
}
BENCHMARK(ListTenThousand)->Unit(benchmark::kMicrosecond);

void SetKey(benchmark::State& state) {
  Store& store = Shared();
  const std::string value(64, 'w');
  int64_t i = 0;
  for (auto _ : state) benchmark::DoNotOptimize(store.Set(Key((i += 7919) % kKeys), false, value, {}));
}
BENCHMARK(SetKey);

/// What the writer pays while a snapshot is being written.
void SetKeyUnderView(benchmark::State& state) {
  Store& store = Shared();
  const std::string value(64, 'w');
  const auto view = store.SaveView();
  int64_t i = 0;
  for (auto _ : state) benchmark::DoNotOptimize(store.Set(Key((i += 7919) % kKeys), false, value, {}));
}
BENCHMARK(SetKeyUnderView)->Iterations(1000);

void WakeWatchers(benchmark::State& state) {
  Store store(&SystemClock());
  std::vector<Sink> sinks(kWatchers);
  std::vector<Store::WatchStart> starts(kWatchers);
  for (auto _ : state) {
    state.PauseTiming();
    const size_t before = HeapBytes();
    for (int64_t i = 0; i < kWatchers; ++i) {
      starts[i] = std::get<Store::WatchStart>(store.Watch({.path = "/1/key"}, &sinks[i]));
    }
    state.counters["bytes_a_watcher"] = static_cast<double>(HeapBytes() - before) / kWatchers;
    state.ResumeTiming();
    store.Set("/1/key", false, "v", {});
    state.PauseTiming();
    for (Store::WatchStart& start : starts) start.watcher.reset();
    state.ResumeTiming();
  }
}
BENCHMARK(WakeWatchers)->Iterations(20)->Unit(benchmark::kMicrosecond);

void BytesPerWatcherOfItsOwnKey(benchmark::State& state) {
  for (auto _ : state) {
    Store store(&SystemClock());
    std::vector<Sink> sinks(kWatchers);
    std::vector<Store::WatchStart> starts(kWatchers);
    const size_t before = HeapBytes();
    for (int64_t i = 0; i < kWatchers; ++i) {
      starts[i] = std::get<Store::WatchStart>(store.Watch({.path = Key(i)}, &sinks[i]));
    }
    state.counters["bytes_a_watcher"] = static_cast<double>(HeapBytes() - before) / kWatchers;
  }
}
BENCHMARK(BytesPerWatcherOfItsOwnKey)->Iterations(1)->Unit(benchmark::kMillisecond);

void BytesPerKey(benchmark::State& state) {
  for (auto _ : state) {
    const size_t before = HeapBytes();
    const auto store = Filled();
    state.counters["bytes_a_key"] = static_cast<double>(HeapBytes() - before) / kKeys;
  }
}
BENCHMARK(BytesPerKey)->Iterations(1)->Unit(benchmark::kMillisecond);

void SaveView(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(Shared().SaveView());
}
BENCHMARK(SaveView)->Unit(benchmark::kMicrosecond);

void ViewToJson(benchmark::State& state) {
  const auto view = Shared().SaveView();
  for (auto _ : state) benchmark::DoNotOptimize(view->ToJson());
}
BENCHMARK(ViewToJson)->Unit(benchmark::kMillisecond);

void Recover(benchmark::State& state) {
  const std::string json = Shared().SaveView()->ToJson();
  Store store(&SystemClock());
  for (auto _ : state) KVORUM_CHECK(store.Recover(json).ok());
}
BENCHMARK(Recover)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace kvorum::v2store

BENCHMARK_MAIN();
