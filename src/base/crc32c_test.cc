#include "base/crc32c.h"

#include <string>

#include "gtest/gtest.h"
#include "rapidcheck.h"
#include "rapidcheck/gtest.h"

namespace kvorum {
namespace {

// RFC 3720, appendix B.4.
TEST(BaseCrc32c, MatchesThePublishedVectors) {
  EXPECT_EQ(Crc32c(0, "123456789"), 0xe3069283u);
  EXPECT_EQ(Crc32c(0, std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(Crc32c(0, std::string(32, '\xff')), 0x62a8ab43u);
  std::string rising;
  for (char c = 0; c < 32; ++c) rising += c;
  EXPECT_EQ(Crc32c(0, rising), 0x46dd794eu);
}

TEST(BaseCrc32c, OfNothingIsWhatItWas) {
  EXPECT_EQ(Crc32c(0, ""), 0u);
  EXPECT_EQ(Crc32c(0x12345678, ""), 0x12345678u);
}

RC_GTEST_PROP(BaseCrc32c, GoesOnWhereItStopped, (const std::string& a, const std::string& b)) {
  RC_ASSERT(Crc32c(Crc32c(0, a), b) == Crc32c(0, a + b));
}

}  // namespace
}  // namespace kvorum
