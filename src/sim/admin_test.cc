#include "sim/admin.h"

#include "gtest/gtest.h"
#include "member/errors.h"
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

/// Machines alone, with nobody who looks after them.
struct Group {
  explicit Group(uint64_t members) : scheduler(1), network(&scheduler, NetworkManner()) {
    Node::Options options;
    for (uint64_t i = 1; i <= members; ++i) {
      options.initial_cluster[fmt::format("m{}", i)] = {fmt::format("http://m{}:2380", i)};
    }
    for (const auto& [name, urls] : options.initial_cluster) {
      options.name = name;
      options.peer_url = urls.front();
      nodes.push_back(std::make_unique<Node>(&scheduler, &network, options));
    }
    for (const auto& node : nodes) EXPECT_TRUE(node->Start().ok());
    scheduler.RunUntil(5 * kSecond);
    for (const auto& node : nodes) EXPECT_TRUE(node->ready());
  }

  Scheduler scheduler;
  Network network;
  std::vector<std::unique_ptr<Node>> nodes;
};

TEST(SimNode, AWipedMachineDoesNotComeBackUnderItsOldId) {
  Group group(3);
  Node& node = *group.nodes[0];
  node.Kill(false);
  node.Wipe();
  const absl::Status status = node.Start();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_NE(status.message().find("has already been bootstrapped"), std::string::npos) << status;
  EXPECT_FALSE(node.up());
}

TEST(SimNode, ARemovedMemberEndsAndStaysEnded) {
  Group group(3);
  Node& gone = *group.nodes[0];
  absl::Status status = absl::UnknownError("no answer");
  group.nodes[1]->member()->RemoveMember(gone.id(), MonotonicTime::max(),
                                         [&](const auto& members) { status = members.status(); });
  group.scheduler.RunUntil(15 * kSecond);
  EXPECT_TRUE(status.ok()) << status;
  ASSERT_TRUE(gone.up() && gone.ended() && gone.removed());
  gone.CommitDatabase();
  gone.Kill(false);
  EXPECT_EQ(gone.Start(), member::RemovedError());
}

TEST(SimNode, OneThatWasDownHearsOfItsRemovalFromTheOthers) {
  Group group(3);
  Node& gone = *group.nodes[0];
  group.network.ExpectChanges();
  gone.Kill(false);
  group.scheduler.RunUntil(15 * kSecond);  // there is a leader again, if it was that one
  absl::Status status = absl::UnknownError("no answer");
  group.nodes[1]->member()->RemoveMember(gone.id(), MonotonicTime::max(),
                                         [&](const auto& members) { status = members.status(); });
  group.scheduler.RunUntil(20 * kSecond);
  ASSERT_TRUE(status.ok()) << status;
  ASSERT_TRUE(gone.Start().ok());  // it does not know yet
  EXPECT_FALSE(gone.ended());
  group.scheduler.RunUntil(30 * kSecond);
  EXPECT_TRUE(gone.removed());
}

}  // namespace
}  // namespace kvorum::sim
