#include "base/random.h"

#include <array>
#include <cstdint>
#include <set>

#include "gtest/gtest.h"

namespace kvorum {
namespace {

// A change of the generator would change every recorded simulation seed.
TEST(BaseRandom, GivesTheSameNumbersForEver) {
  Random random(0);
  EXPECT_EQ(random.Next(), 0x99ec5f36cb75f2b4u);
  EXPECT_EQ(random.Next(), 0xbf6e1f784956452au);
  EXPECT_EQ(random.Next(), 0x1a5f849d4933e6e0u);
}

TEST(BaseRandom, StaysBelowTheBoundAndReachesEveryNumber) {
  Random random(7);
  std::array<int, 10> seen{};
  for (int i = 0; i < 10'000; ++i) ++seen.at(random.Below(10));
  for (int count : seen) EXPECT_NEAR(count, 1000, 200);
  EXPECT_EQ(random.Below(1), 0u);
}

TEST(BaseRandom, MeetsTheProbability) {
  Random random(3);
  int hits = 0;
  for (int i = 0; i < 10'000; ++i) hits += random.OneIn(1, 4) ? 1 : 0;
  EXPECT_NEAR(hits, 2500, 300);
  EXPECT_FALSE(random.OneIn(0, 5));
  EXPECT_TRUE(random.OneIn(5, 5));
}

TEST(BaseRandom, SeedsDiffer) {
  std::set<uint64_t> first;
  for (uint64_t seed = 0; seed < 1000; ++seed) first.insert(Random(seed).Next());
  EXPECT_EQ(first.size(), 1000u);
  EXPECT_NE(SystemEntropy(), SystemEntropy());
}

}  // namespace
}  // namespace kvorum
