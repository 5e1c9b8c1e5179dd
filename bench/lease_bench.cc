// Figures of the leases: what 100,000 of them cost in memory, and what a renewal costs.

#include <benchmark/benchmark.h>
#include <malloc.h>

#include "backend/memory_backend.h"
#include "base/check.h"
#include "lease/lessor.h"

namespace kvorum::lease {
namespace {

constexpr int64_t kLeases = 100'000;

/// A backend that keeps nothing, so that memory is the leases' own.
class NoBackend final : public backend::Backend {
 public:
  void BeginEntry() override {}
  void EndEntry(backend::AppliedPosition) override {}
  void Put(backend::Bucket, std::string_view, Bytes) override {}
  void Delete(backend::Bucket, std::string_view) override {}
  std::unique_ptr<backend::ReadView> NewReadView() override {
    return backend::MemoryBackend::Create()->NewReadView();
  }
  backend::AppliedPosition applied() const override { return {}; }
  void Commit(absl::AnyInvocable<void(absl::Status)> done) override { done(absl::OkStatus()); }
  backend::Sizes sizes() const override { return {}; }
  void Replace(std::unique_ptr<backend::ReadView>, backend::AppliedPosition,
               absl::AnyInvocable<void(absl::Status)> done) override {
    done(absl::OkStatus());
  }
  void Defragment(absl::AnyInvocable<void(absl::Status)> done) override { done(absl::OkStatus()); }
  absl::Status Close() override { return absl::OkStatus(); }
};

size_t HeapBytes() {
  const auto info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

std::unique_ptr<Lessor> Filled(NoBackend& backend) {
  auto lessor = Lessor::Open({.backend = &backend, .clock = &SystemClock()});
  KVORUM_CHECK(lessor.ok());
  (*lessor)->Promote(std::chrono::nanoseconds(0));
  for (int64_t id = 1; id <= kLeases; ++id) KVORUM_CHECK((*lessor)->Grant(LeaseId(id), 60).ok());
  return *std::move(lessor);
}

void BytesPerLease(benchmark::State& state) {
  NoBackend backend;
  for (auto _ : state) {
    const size_t before = HeapBytes();
    const auto lessor = Filled(backend);
    const size_t filled = HeapBytes();
    for (int64_t id = 1; id <= kLeases; ++id)
      lessor->Attach(LeaseId(id), fmt::format("/registry/leases/{:014}", id));
    state.counters["bytes_a_lease"] = static_cast<double>(filled - before) / kLeases;
    state.counters["bytes_a_key"] = static_cast<double>(HeapBytes() - filled) / kLeases;
  }
}
BENCHMARK(BytesPerLease)->Iterations(1)->Unit(benchmark::kMillisecond);

void Renew(benchmark::State& state) {
  static NoBackend backend;
  static const std::unique_ptr<Lessor> lessor = Filled(backend);
  int64_t id = state.thread_index() * 7919;
  for (auto _ : state) benchmark::DoNotOptimize(lessor->Renew(LeaseId(1 + (id += 7919) % kLeases)));
}
BENCHMARK(Renew)->ThreadRange(1, 2)->UseRealTime();

void GrantAndRemove(benchmark::State& state) {
  NoBackend backend;
  const auto lessor = Filled(backend);
  int64_t id = kLeases;
  for (auto _ : state) {
    benchmark::DoNotOptimize(lessor->Grant(LeaseId(++id), 60));
    KVORUM_CHECK(lessor->Remove(LeaseId(id)).ok());
  }
}
BENCHMARK(GrantAndRemove);

}  // namespace
}  // namespace kvorum::lease

BENCHMARK_MAIN();
