#pragma once

#include <cstdint>
#include <functional>

#include "sim/history.h"
#include "sim/plan.h"
#include "sim/stage.h"

namespace kvorum::sim {

/// What a run came to.
struct Result {
  enum class Verdict : uint8_t { kGood, kSafety, kLiveness };
  Verdict verdict = Verdict::kGood;
  Violations violations;
  uint64_t trace = 0;  ///< equal for equal runs
  uint64_t events = 0;
  uint64_t answered = 0;
  uint64_t messages = 0;
  uint64_t snapshots = 0;
  uint64_t kills = 0;
  int64_t revisions = 0;
  uint64_t v2_answered = 0;
  uint64_t v2_index = 0;  ///< the last one
  Instant simulated = 0;
};

/// The parts of a run, for who measures: each is named when it begins.
enum class Phase : uint8_t { kFaults, kSettling, kChecks, kOver };
using PhaseObserver = std::function<void(Phase)>;

/// One run of one seed, in one thread. Two calls with the same arguments give the same trace.
Result Simulate(uint64_t seed, const Plan& plan, const Observer& observer = nullptr,
                const PhaseObserver& on_phase = nullptr);

}  // namespace kvorum::sim
