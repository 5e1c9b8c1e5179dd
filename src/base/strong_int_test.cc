#include "base/strong_int.h"

#include <type_traits>
#include <unordered_set>

#include "absl/container/flat_hash_set.h"
#include "fmt/format.h"
#include "gtest/gtest.h"

namespace kvorum {
namespace {

using Apples = StrongInt<struct ApplesTag, uint64_t>;
using Pears = StrongInt<struct PearsTag, uint64_t>;

static_assert(!std::is_convertible_v<uint64_t, Apples>);
static_assert(!std::is_convertible_v<Apples, uint64_t>);
static_assert(!std::is_constructible_v<Apples, Pears>);
static_assert(!std::is_invocable_v<std::plus<>, Apples, Pears>);
static_assert(!std::is_invocable_v<std::equal_to<>, Apples, Pears>);

TEST(BaseStrongInt, CountsAndCompares) {
  Apples a(3);
  EXPECT_EQ((a + 2).value(), 5u);
  EXPECT_EQ((a - 2).value(), 1u);
  EXPECT_EQ(Apples(9) - a, 6u);
  EXPECT_EQ((++a).value(), 4u);
  EXPECT_LT(a, Apples(5));
  EXPECT_EQ(Apples(), Apples(0));
}

TEST(BaseStrongInt, IsHashedAndPrinted) {
  const absl::flat_hash_set<Apples> flat = {Apples(1), Apples(1), Apples(2)};
  const std::unordered_set<Apples> standard = {Apples(1), Apples(1), Apples(2)};
  EXPECT_EQ(flat.size(), 2u);
  EXPECT_EQ(standard.size(), 2u);
  EXPECT_EQ(fmt::format("{} {:x}", Apples(31), Apples(31)), "31 1f");
}

}  // namespace
}  // namespace kvorum
