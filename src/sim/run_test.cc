#include "sim/run.h"

#include "gtest/gtest.h"

namespace kvorum::sim {
namespace {

constexpr Instant kSecond = 1'000'000'000;

TEST(SimRun, TheSameSeedGivesTheSameRun) {
  for (const uint64_t seed : {5, 6, 7, 16}) {
    const Plan plan = Plan::Draw(seed);
    const Result once = Simulate(seed, plan);
    const Result twice = Simulate(seed, plan);
    EXPECT_EQ(once.trace, twice.trace) << seed;
    EXPECT_EQ(once.events, twice.events) << seed;
    EXPECT_EQ(once.answered, twice.answered) << seed;
  }
}

Plan WithV2() {
  Plan plan;
  plan.faulty = 10 * kSecond;
  plan.clients = 2;
  plan.v2_clients = 6;
  plan.v2_watchers = 4;
  plan.snapshot_count = 40;
  plan.snapshot_catchup_entries = 5;
  return plan;
}

TEST(SimRun, TheSameSeedGivesTheSameRunOfTheV2Api) {
  Plan plan = WithV2();
  plan.kill_every = 3 * kSecond;
  plan.cut_every = 4 * kSecond;
  const Result once = Simulate(3, plan);
  const Result twice = Simulate(3, plan);
  EXPECT_EQ(once.trace, twice.trace);
  EXPECT_EQ(once.events, twice.events);
  EXPECT_EQ(once.v2_answered, twice.v2_answered);
  EXPECT_EQ(once.v2_index, twice.v2_index);
}

TEST(SimRun, TheV2ApiAnswersEverybody) {
  const Result result = Simulate(1, WithV2());
  EXPECT_EQ(result.verdict, Result::Verdict::kGood) << ::testing::PrintToString(result.violations);
  // 6 clients, a request every 15 ms or so, of which half change something.
  EXPECT_GT(result.v2_answered, 2'000u);
  EXPECT_GT(result.v2_index, 1'000u);
}

TEST(SimRun, WhoWatchesAtAMemberThatLagsBehindMissesNothing) {
  Plan plan = WithV2();
  plan.faulty = 20 * kSecond;
  plan.snapshot_count = 10;
  plan.v2_watchers = 8;
  plan.cut_every = 3 * kSecond;
  uint64_t snapshots = 0;
  for (uint64_t seed = 1; seed <= 8 && snapshots == 0; ++seed) {
    const Result result = Simulate(seed, plan);
    EXPECT_EQ(result.verdict, Result::Verdict::kGood) << ::testing::PrintToString(result.violations);
    snapshots += result.snapshots;
  }
  EXPECT_GT(snapshots, 0u);
}

TEST(SimRun, AnotherSeedGivesAnotherRun) {
  const Plan plan;
  EXPECT_NE(Simulate(1, plan).trace, Simulate(2, plan).trace);
}

TEST(SimRun, ACalmClusterAnswersEverybody) {
  Plan plan;
  plan.faulty = 10 * kSecond;
  const Result result = Simulate(1, plan);
  EXPECT_EQ(result.verdict, Result::Verdict::kGood) << ::testing::PrintToString(result.violations);
  // 8 clients, a request every 10 ms or so.
  EXPECT_GT(result.answered, 3'000u);
  EXPECT_GT(result.revisions, 1'000);
  EXPECT_EQ(result.kills, 0u);
}

TEST(SimRun, TheFaultsOfASetupHappen) {
  Plan plan;
  plan.snapshot_count = 20;
  plan.snapshot_catchup_entries = 5;
  plan.kill_every = 2 * kSecond;
  plan.power_cut_every = 3 * kSecond;
  plan.cut_every = 3 * kSecond;
  plan.write_error_every = 5 * kSecond;
  size_t said = 0;
  bool cut = false;
  bool failed = false;
  const Result result = Simulate(3, plan, [&](Instant, const std::string& what) {
    ++said;
    cut = cut || what.find("cut off") != std::string::npos;
    failed = failed || what.find("sync") != std::string::npos;
  });
  EXPECT_EQ(result.verdict, Result::Verdict::kGood) << ::testing::PrintToString(result.violations);
  EXPECT_GT(result.kills, 5u);
  EXPECT_GT(result.snapshots, 0u);
  EXPECT_TRUE(cut);
  EXPECT_TRUE(failed);
  EXPECT_GT(said, 10u);
}

}  // namespace
}  // namespace kvorum::sim
