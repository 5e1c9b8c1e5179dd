// Figures of the backend over LMDB: a million records of 17-byte keys and 300-byte values, as the key-value
// store writes them.

#include <benchmark/benchmark.h>

#include <filesystem>
#include <future>
#include <thread>

#include "backend/backend_format.h"
#include "backend/lmdb_backend.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/random.h"
#include "base/testing/temp_directory.h"

namespace kvorum::backend {
namespace {

constexpr uint64_t kRecords = 1'000'000;

std::string Revision(uint64_t main) {
  std::string key(17, '_');
  EncodeBigEndian64(main, key.data());
  EncodeBigEndian64(0, key.data() + 9);
  return key;
}

void Commit(Backend& backend) {
  std::promise<void> done;
  backend.Commit([&](absl::Status status) {
    KVORUM_CHECK(status.ok(), "{}", status.ToString());
    done.set_value();
  });
  done.get_future().wait();
}

std::unique_ptr<Backend> Open(const std::string& directory, std::chrono::nanoseconds interval) {
  LmdbOptions options;
  options.directory = directory;
  options.batch_interval = interval;
  auto backend = OpenLmdbBackend(std::move(options));
  KVORUM_CHECK(backend.ok(), "{}", backend.status().ToString());
  return *std::move(backend);
}

/// The records, committed, once for all benchmarks that only read.
Backend& Filled() {
  static kvorum::testing::TempDirectory directory;
  static const std::unique_ptr<Backend> backend = [] {
    auto b = Open(directory.path(), std::chrono::milliseconds(100));
    const Bytes value = Bytes::Copy(std::string(300, 'v'));
    for (uint64_t i = 1; i <= kRecords; ++i) {
      b->BeginEntry();
      b->Put(Bucket::kKey, Revision(i), value);
      b->EndEntry({.index = i, .term = 1});
    }
    Commit(*b);
    return b;
  }();
  return *backend;
}

void NewView(benchmark::State& state) {
  Backend& backend = Filled();
  for (auto _ : state) benchmark::DoNotOptimize(backend.NewReadView());
}
BENCHMARK(NewView)->ThreadRange(1, 2)->UseRealTime();

void GetStored(benchmark::State& state) {
  Backend& backend = Filled();
  const auto view = backend.NewReadView();
  Random random(1);
  for (auto _ : state)
    benchmark::DoNotOptimize(view->Get(Bucket::kKey, Revision(1 + random.Below(kRecords))));
}
BENCHMARK(GetStored);

void ViewAndGetStored(benchmark::State& state) {
  Backend& backend = Filled();
  Random random(1);
  for (auto _ : state) {
    benchmark::DoNotOptimize(backend.NewReadView()->Get(Bucket::kKey, Revision(1 + random.Below(kRecords))));
  }
}
BENCHMARK(ViewAndGetStored)->ThreadRange(1, 2)->UseRealTime();

void ScanStored(benchmark::State& state) {
  Backend& backend = Filled();
  uint64_t records = 0;
  for (auto _ : state) {
    uint64_t bytes = 0;
    const absl::Status status =
        backend.NewReadView()->Scan(Bucket::kKey, "", "", [&](std::string_view, std::string_view value) {
          bytes += value.size();
          ++records;
          return true;
        });
    KVORUM_CHECK(status.ok() && bytes == kRecords * 300);
  }
  state.SetItemsProcessed(static_cast<int64_t>(records));
}
BENCHMARK(ScanStored)->Unit(benchmark::kMillisecond);

void GetBuffered(benchmark::State& state) {
  kvorum::testing::TempDirectory directory;
  const auto backend = Open(directory.path(), std::chrono::hours(1));
  constexpr uint64_t kBuffered = 9'000;
  for (uint64_t i = 1; i <= kBuffered; ++i) {
    backend->Put(Bucket::kKey, Revision(i), Bytes::Copy(std::string(300, 'v')));
  }
  const auto view = backend->NewReadView();
  Random random(1);
  for (auto _ : state)
    benchmark::DoNotOptimize(view->Get(Bucket::kKey, Revision(1 + random.Below(kBuffered))));
}
BENCHMARK(GetBuffered);

/// What the applier pays for an entry with one put, while the committer works.
void PutEntry(benchmark::State& state) {
  kvorum::testing::TempDirectory directory;
  const auto backend = Open(directory.path(), std::chrono::milliseconds(100));
  const std::string value(300, 'v');
  uint64_t i = 0;
  for (auto _ : state) {
    ++i;
    backend->BeginEntry();
    backend->Put(Bucket::kKey, Revision(i), Bytes::Copy(value));
    backend->EndEntry({.index = i, .term = 1});
  }
}
BENCHMARK(PutEntry)->Iterations(200'000);

void CommitBatch(benchmark::State& state) {
  kvorum::testing::TempDirectory directory;
  const auto backend = Open(directory.path(), std::chrono::hours(1));
  const auto writes = static_cast<uint64_t>(state.range(0));
  uint64_t i = 0;
  for (auto _ : state) {
    state.PauseTiming();
    for (const uint64_t end = i + writes - 1; i < end;) {
      backend->Put(Bucket::kKey, Revision(++i), Bytes::Copy(std::string(300, 'v')));
    }
    state.ResumeTiming();
    Commit(*backend);
  }
}
BENCHMARK(CommitBatch)->Arg(100)->Arg(10'000)->Unit(benchmark::kMillisecond)->UseRealTime();

/// The longest that a put or a view waits while a file of a million records is rewritten.
void DefragmentUnderLoad(benchmark::State& state) {
  kvorum::testing::TempDirectory directory;
  const auto backend = Open(directory.path(), std::chrono::milliseconds(100));
  const Bytes value = Bytes::Copy(std::string(300, 'v'));
  uint64_t i = 0;
  const auto put = [&] {
    ++i;
    backend->BeginEntry();
    backend->Put(Bucket::kKey, Revision(i), value);
    backend->EndEntry({.index = i, .term = 1});
  };
  while (i < kRecords) put();
  Commit(*backend);
  std::chrono::nanoseconds worst_put{0};
  std::chrono::nanoseconds worst_view{0};
  for (auto _ : state) {
    std::atomic<bool> done{false};
    backend->Defragment([&](absl::Status status) {
      KVORUM_CHECK(status.ok(), "{}", status.ToString());
      done = true;
    });
    while (!done) {
      const MonotonicTime start = SystemClock().Now();
      put();
      const MonotonicTime middle = SystemClock().Now();
      benchmark::DoNotOptimize(backend->NewReadView()->Get(Bucket::kKey, Revision(i / 2 + 1)));
      const MonotonicTime end = SystemClock().Now();
      worst_put = std::max(worst_put, std::chrono::nanoseconds(middle - start));
      worst_view = std::max(worst_view, std::chrono::nanoseconds(end - middle));
      while (SystemClock().Now() < start + std::chrono::microseconds(50)) std::this_thread::yield();
    }
  }
  state.counters["worst_put_ms"] = std::chrono::duration<double, std::milli>(worst_put).count();
  state.counters["worst_view_ms"] = std::chrono::duration<double, std::milli>(worst_view).count();
}
BENCHMARK(DefragmentUnderLoad)->Iterations(3)->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace
}  // namespace kvorum::backend

BENCHMARK_MAIN();
