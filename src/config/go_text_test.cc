#include "config/go_text.h"

#include <limits>

#include "base/log.h"
#include "gtest/gtest.h"
#include "rapidcheck/gtest.h"

namespace kvorum::config {
namespace {

// The expected values are what Go's time.ParseDuration and strconv give.

TEST(ConfigGoText, ReadsDurations) {
  const auto nanos = [](std::string_view text) { return ParseDuration(text).value().count(); };
  EXPECT_EQ(nanos("1h30m"), 5'400'000'000'000);
  EXPECT_EQ(nanos("1.5s"), 1'500'000'000);
  EXPECT_EQ(nanos("-2ms"), -2'000'000);
  EXPECT_EQ(nanos("+5s"), 5'000'000'000);
  EXPECT_EQ(nanos("0"), 0);
  EXPECT_EQ(nanos("1.s"), 1'000'000'000);
  EXPECT_EQ(nanos(".5s"), 500'000'000);
  EXPECT_EQ(nanos("1µs"), 1'000);
  EXPECT_EQ(nanos("0.100000000000000000000h"), 360'000'000'000);
  EXPECT_EQ(nanos("0.3333333333333333333h"), 1'200'000'000'000);
  EXPECT_EQ(nanos("2562047h47m16.854775807s"), std::numeric_limits<int64_t>::max());
  EXPECT_EQ(nanos("-9223372036854775808ns"), std::numeric_limits<int64_t>::min());
}

TEST(ConfigGoText, RefusesWhatIsNoDuration) {
  for (const char* text :
       {"", "1", ".s", "1d", "1h-1m", "9223372036854775808ns", "3000000h", "s", "-", "1 s"}) {
    EXPECT_FALSE(ParseDuration(text).has_value()) << text;
  }
}

RC_GTEST_PROP(ConfigGoTextProperty, DurationsComeBackFromTheirText, (int64_t nanos)) {
  RC_ASSERT(ParseDuration(FormatDuration(std::chrono::nanoseconds(nanos))).value().count() == nanos);
}

TEST(ConfigGoText, ReadsIntegersInEveryBase) {
  const auto number = [](std::string_view text) -> int64_t {
    uint64_t value = 0;
    return ParseUint(text, UINT64_MAX, &value) == NumberError::kNone ? static_cast<int64_t>(value) : -1;
  };
  EXPECT_EQ(number("0x1f"), 31);
  EXPECT_EQ(number("017"), 15);
  EXPECT_EQ(number("0b11"), 3);
  EXPECT_EQ(number("1_000"), 1000);
  EXPECT_EQ(number("0x_1f"), 31);
  EXPECT_EQ(number("0_7"), 7);
  EXPECT_EQ(number("00"), 0);
  for (const char* text : {"", "0x", "08", "+1", "-1", " 1", "0x1__f", "1_", "_1"})
    EXPECT_EQ(number(text), -1) << text;
}

TEST(ConfigGoText, TellsRangeFromSyntax) {
  uint64_t value = 0;
  EXPECT_EQ(ParseUint("18446744073709551615", UINT64_MAX, &value), NumberError::kNone);
  EXPECT_EQ(ParseUint("18446744073709551616", UINT64_MAX, &value), NumberError::kRange);
  EXPECT_EQ(ParseUint("4294967296", UINT32_MAX, &value), NumberError::kRange);
  EXPECT_EQ(ParseUint("99999999999999999999x", UINT64_MAX, &value), NumberError::kSyntax);
  int64_t number = 0;
  EXPECT_EQ(ParseInt("-9223372036854775808", &number), NumberError::kNone);
  EXPECT_EQ(number, std::numeric_limits<int64_t>::min());
  EXPECT_EQ(ParseInt("9223372036854775808", &number), NumberError::kRange);
}

TEST(ConfigGoText, QuotesAsGo) { EXPECT_EQ(Quoted("a\"\\\n\x01é"), "\"a\\\"\\\\\\n\\x01é\""); }

}  // namespace
}  // namespace kvorum::config
