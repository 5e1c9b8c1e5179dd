#include "sim/admin.h"

#include "gtest/gtest.h"
#include "sim/run.h"

namespace kvorum::sim {
namespace {

constexpr Instant kSecond = 1'000'000'000;

/// How often something was said in a run that has to be good.
class Told {
 public:
  Told(uint64_t seed, const Plan& plan)
      : result_(Simulate(seed, plan, [this](Instant, const std::string& what) { lines_.push_back(what); })) {
    EXPECT_EQ(result_.verdict, Result::Verdict::kGood) << ::testing::PrintToString(result_.violations);
  }
  size_t Times(std::string_view what) const {
    size_t times = 0;
    for (const std::string& line : lines_) times += line.find(what) != std::string::npos ? 1 : 0;
    return times;
  }

 private:
  std::vector<std::string> lines_;
  const Result result_;
};

TEST(SimAdmin, ChangesTheMembershipWhileClientsWork) {
  Plan plan;
  plan.snapshot_count = 50;
  plan.change_every = kSecond;
  plan.clients = 3;
  const Told told(1, plan);
  EXPECT_GT(told.Times("to add voter"), 0u);
  EXPECT_GT(told.Times("to add learner"), 0u);
  EXPECT_GT(told.Times("to promote"), 0u);
  EXPECT_GT(told.Times("to remove"), 0u);
  EXPECT_GT(told.Times("to move"), 0u);
  EXPECT_GT(told.Times("is to join"), 0u);
  EXPECT_GT(told.Times("ends, removed"), 0u);
}

TEST(SimAdmin, ReplacesMachinesThatLostTheirDisks) {
  Plan plan;
  plan.members = 5;
  plan.clients = 3;
  plan.disk_loss_every = 3 * kSecond;
  const Told told(1, plan);
  const size_t lost = told.Times("loses its disk");
  EXPECT_GT(lost, 2u);
  EXPECT_EQ(told.Times("is to join"), lost);
  EXPECT_EQ(told.Times("is taken away"), lost);
}

TEST(SimFaults, HarmedFilesAreSeenAtTheStartAndTheirMachinesReplaced) {
  Plan plan;
  plan.members = 5;
  plan.clients = 3;
  plan.snapshot_count = 20;
  plan.snapshot_catchup_entries = 5;
  plan.flip_every = 2 * kSecond;
  plan.set_back_every = 3 * kSecond;
  plan.log_loss_every = 4 * kSecond;
  plan.faulty = 60 * kSecond;
  const Told told(1, plan);
  EXPECT_GT(told.Times("bits flip on"), 2u);
  EXPECT_GT(told.Times("gets its database"), 1u);
  const size_t lost = told.Times("loses its log");
  EXPECT_GT(lost, 1u);
  EXPECT_GT(told.Times("starts: "), lost);
  EXPECT_EQ(told.Times("is taken away"), told.Times("is to join"));
}

TEST(SimFaults, TheClusterGoesUpAndDownWithItsMembers) {
  Plan plan;
  plan.clients = 3;
  plan.upgrade_every = kSecond / 2;
  plan.first_release = 0;
  const Told told(2, plan);
  EXPECT_GT(told.Times("m1 is to be of release 3.7.1"), 0u);
  EXPECT_GT(told.Times("is asked to downgrade to"), 0u);
}

TEST(SimFaults, FullDisksJumpingClocksAndSlowThreadsBreakNothing) {
  Plan plan;
  plan.clients = 3;
  plan.full_every = 2 * kSecond;
  plan.clock_jump_every = 2 * kSecond;
  plan.slow_every = kSecond;
  plan.snapshot_every = kSecond;
  plan.defragment_every = kSecond;
  const Told told(1, plan);
  EXPECT_GT(told.Times("is full"), 3u);
  EXPECT_GT(told.Times("is killed"), 1u);
  EXPECT_GT(told.Times("wall clock"), 3u);
  EXPECT_GT(told.Times("ms late"), 2u);
  EXPECT_GT(told.Times("a snapshot is taken"), 5u);
  EXPECT_GT(told.Times("is defragmented"), 5u);
}

}  // namespace
}  // namespace kvorum::sim
