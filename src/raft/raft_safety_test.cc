#include <gtest/gtest.h>

#include <cstdlib>

#include "raft/testing/simulated_group.h"

// Random schedules of faults, with the properties of figure 3 of the paper checked after every step and
// progress once the faults end. KVORUM_RAFT_SEEDS=N runs N seeds of each kind.

namespace kvorum::raft {
namespace {

struct Case {
  const char* name;
  SimulatedGroup::Options options;
};

class RaftSafetyTest : public ::testing::TestWithParam<Case> {};

int Seeds() {
  const char* seeds = std::getenv("KVORUM_RAFT_SEEDS");
  return seeds == nullptr ? 12 : std::atoi(seeds);
}

TEST_P(RaftSafetyTest, HoldsUnderFaultsAndGoesOnAfterThem) {
  int leaders = 0;
  int snapshots = 0;
  int conf_changes = 0;
  int reads = 0;
  for (int seed = 1; seed <= Seeds(); ++seed) {
    SimulatedGroup::Options options = GetParam().options;
    options.seed = static_cast<uint64_t>(seed);
    SimulatedGroup group(options);
    group.RunWithFaults(4000);
    ASSERT_EQ(group.violation(), "") << "seed " << seed;
    const bool progress = group.RunUntilProgress();
    ASSERT_EQ(group.violation(), "") << "seed " << seed << ", after the faults";
    ASSERT_TRUE(progress) << "seed " << seed << ": no progress";
    leaders += group.leaders_elected();
    snapshots += group.snapshots_applied();
    conf_changes += group.conf_changes_applied();
    reads += group.reads_answered();
  }
  EXPECT_GT(leaders, 2 * Seeds());
  EXPECT_GT(snapshots, 0);
  EXPECT_GT(reads, 0);
  EXPECT_EQ(conf_changes > 0, GetParam().options.membership_changes);
}

using Options = SimulatedGroup::Options;

INSTANTIATE_TEST_SUITE_P(
    Groups, RaftSafetyTest,
    ::testing::Values(
        Case{"Three", {.voters = 3}}, Case{"Four", {.voters = 4}}, Case{"Five", {.voters = 5}},
        Case{"Six", {.voters = 6, .check_quorum = true}}, Case{"Seven", {.voters = 7, .pre_vote = true}},
        Case{"ThreePreVoteCheckQuorum", {.voters = 3, .pre_vote = true, .check_quorum = true}},
        Case{"ThreeAsync", {.voters = 3, .async_storage_writes = true}},
        Case{"FiveAsync",
             {.voters = 5, .async_storage_writes = true, .pre_vote = true, .check_quorum = true}},
        Case{"ThreeChanging", {.voters = 3, .spares = 2, .membership_changes = true}},
        Case{"FiveChanging",
             {.voters = 5, .spares = 2, .membership_changes = true, .pre_vote = true, .check_quorum = true}},
        Case{"FourChangingAsync",
             {.voters = 4, .spares = 3, .async_storage_writes = true, .membership_changes = true}}),
    [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace kvorum::raft
