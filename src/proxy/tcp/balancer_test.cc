#include "proxy/tcp/balancer.h"

#include <map>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "rapidcheck/gtest.h"

namespace kvorum::proxy_tcp {
namespace {

std::map<size_t, int> Picks(Balancer& balancer, int count) {
  std::map<size_t, int> picks;
  for (int i = 0; i < count; ++i) ++picks[balancer.Pick().value()];
  return picks;
}

TEST(BalancerTest, TakesTurnsWhereNoneHasAWeight) {
  Balancer balancer({{"a:1", 0, 0}, {"b:1", 0, 0}, {"c:1", 0, 0}}, 1);
  std::vector<size_t> order;
  for (int i = 0; i < 6; ++i) order.push_back(*balancer.Pick());
  EXPECT_THAT(order, testing::ElementsAre(0, 1, 2, 0, 1, 2));
}

TEST(BalancerTest, DrawsByWeight) {
  Balancer balancer({{"a:1", 0, 1}, {"b:1", 0, 3}, {"c:1", 0, 1}}, 1);
  std::map<size_t, int> picks = Picks(balancer, 10'000);
  EXPECT_NEAR(picks[0], 2'000, 300);
  EXPECT_NEAR(picks[1], 6'000, 300);
  EXPECT_NEAR(picks[2], 2'000, 300);
}

TEST(BalancerTest, GivesOnePickInAHundredToTheWeightless) {
  Balancer balancer({{"a:1", 0, 5}, {"b:1", 0, 0}, {"c:1", 0, 0}}, 1);
  std::map<size_t, int> picks = Picks(balancer, 100'000);
  EXPECT_NEAR(picks[1] + picks[2], 1'000, 150);
  EXPECT_NEAR(picks[1], picks[2], 1);
}

TEST(BalancerTest, GoesToTheNextClassOnlyWhereTheFirstDoesNotAnswer) {
  Balancer balancer({{"c:1", 20, 0}, {"a:1", 10, 0}, {"b:1", 10, 7}}, 1);
  EXPECT_EQ(Picks(balancer, 1'000).count(0), 0u);
  balancer.SetActive(2, false);
  EXPECT_THAT(Picks(balancer, 10), testing::ElementsAre(testing::Pair(1, 10)));
  balancer.SetActive(1, false);
  EXPECT_THAT(Picks(balancer, 10), testing::ElementsAre(testing::Pair(0, 10)));
  EXPECT_THAT(balancer.Inactive(), testing::ElementsAre(1, 2));
  balancer.SetActive(0, false);
  EXPECT_EQ(balancer.Pick(), std::nullopt);
  balancer.SetActive(1, true);
  EXPECT_EQ(balancer.Pick(), 1u);
}

RC_GTEST_PROP(BalancerTest, PicksAnActiveOneOfTheBestClass, (uint64_t seed)) {
  const auto count = *rc::gen::inRange<size_t>(1, 8);
  std::vector<Remote> remotes;
  for (size_t i = 0; i < count; ++i) {
    remotes.push_back({.address = "x:1",
                       .priority = *rc::gen::inRange<uint16_t>(0, 3),
                       .weight = *rc::gen::element<uint16_t>(0, 0, 1, 7, 65535)});
  }
  Balancer balancer(remotes, seed);
  std::optional<uint16_t> best;
  for (size_t i = 0; i < count; ++i) {
    balancer.SetActive(i, *rc::gen::arbitrary<bool>());
    if (balancer.IsActive(i)) best = std::min(best.value_or(65535), remotes[i].priority);
  }
  for (int i = 0; i < 20; ++i) {
    const std::optional<size_t> pick = balancer.Pick();
    RC_ASSERT(pick.has_value() == best.has_value());
    if (pick) RC_ASSERT(balancer.IsActive(*pick) && remotes[*pick].priority == *best);
  }
}

}  // namespace
}  // namespace kvorum::proxy_tcp
