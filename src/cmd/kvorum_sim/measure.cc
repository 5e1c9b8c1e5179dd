#include "measure.h"

#include <algorithm>
#include <ctime>
#include <limits>
#include <map>

#include "fmt/format.h"
#include "sim/run.h"

namespace kvorum::cmd {
namespace {

constexpr sim::Instant kMillisecond = 1'000'000;
constexpr sim::Instant kSecond = 1'000 * kMillisecond;
constexpr sim::Instant kSlowThink = 7;
/// Each run is measured so often, and the best counts: what else the machine does, and memory that it has
/// to find first, only makes it slower.
constexpr int kTimes = 3;

double CpuSeconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

/// The usual mixture without faults, on machines close together with fast disks, where nearly each request is
/// a batch of its own; or on those that seeds draw on average. A client's request and what it thinks before
/// the next take 20 ms, or 40.
sim::Plan CalmPlan(bool fast, sim::Instant span) {
  sim::Plan plan;
  plan.clients = fast ? 20 : 40;
  plan.workload.think = (fast ? 17 : kSlowThink) * kMillisecond;
  if (!fast) {
    plan.disk.max_sync = 10 * kMillisecond;
    plan.network.max_delay = 15 * kMillisecond;
  }
  plan.snapshot_count = 10'000;
  plan.snapshot_catchup_entries = 5'000;
  plan.faulty = span;
  return plan;
}

bool MeasureOne(bool fast, sim::Instant span) {
  double run = std::numeric_limits<double>::infinity();
  double checks = run;
  uint64_t answered = 0;
  for (int i = 0; i < kTimes; ++i) {
    std::map<sim::Phase, double> begun;
    const sim::Result result = sim::Simulate(1, CalmPlan(fast, span), nullptr,
                                             [&begun](sim::Phase phase) { begun[phase] = CpuSeconds(); });
    if (result.verdict != sim::Result::Verdict::kGood) return false;
    run = std::min(run, begun[sim::Phase::kSettling] - begun[sim::Phase::kFaults]);
    checks = std::min(checks, begun[sim::Phase::kOver] - begun[sim::Phase::kChecks]);
    answered = result.answered;
  }
  const double seconds = static_cast<double>(span) / 1e9;
  // The clients begin three seconds before, and end one second after.
  fmt::print(
      "{} machines, {} s simulated with {:.0f} requests a second: {:.3f} s of CPU, {:.0f} times as fast\n",
      fast ? "fast" : "usual", seconds, static_cast<double>(answered) / (seconds + 4), run, seconds / run);
  fmt::print("checking {} answers: {:.3f} s\n", answered, checks);
  return true;
}

}  // namespace

bool Measure() {
  return MeasureOne(true, 10 * kSecond) && MeasureOne(true, 60 * kSecond) && MeasureOne(false, 60 * kSecond);
}

}  // namespace kvorum::cmd
