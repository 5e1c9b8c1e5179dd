#include "base/log.h"

#include "gtest/gtest.h"

namespace kvorum {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::nanoseconds;
using std::chrono::seconds;

TEST(BaseFormatDuration, IsGos) {
  EXPECT_EQ(FormatDuration(nanoseconds(0)), "0s");
  EXPECT_EQ(FormatDuration(nanoseconds(1)), "1ns");
  EXPECT_EQ(FormatDuration(nanoseconds(1100)), "1.1µs");
  EXPECT_EQ(FormatDuration(nanoseconds(2'200'000)), "2.2ms");
  EXPECT_EQ(FormatDuration(milliseconds(100)), "100ms");
  EXPECT_EQ(FormatDuration(milliseconds(3300)), "3.3s");
  EXPECT_EQ(FormatDuration(minutes(4) + seconds(5)), "4m5s");
  EXPECT_EQ(FormatDuration(minutes(4) + milliseconds(5001)), "4m5.001s");
  EXPECT_EQ(FormatDuration(hours(5) + minutes(6) + milliseconds(7001)), "5h6m7.001s");
  EXPECT_EQ(FormatDuration(hours(2)), "2h0m0s");
  EXPECT_EQ(FormatDuration(minutes(8) + nanoseconds(1)), "8m0.000000001s");
  EXPECT_EQ(FormatDuration(milliseconds(-1500)), "-1.5s");
  EXPECT_EQ(FormatDuration(nanoseconds::max()), "2562047h47m16.854775807s");
  EXPECT_EQ(FormatDuration(nanoseconds::min()), "-2562047h47m16.854775808s");
}

TEST(BaseLogField, WritesIdsInHexWithoutLeadingZeros) {
  EXPECT_EQ(LogField::Id("member", 0x00ab).text(), "ab");
  EXPECT_EQ(LogField::Id("member", 0).text(), "0");
}

TEST(BaseLogField, ConvertsDurationsToText) {
  const LogField field("took", milliseconds(1500));
  EXPECT_EQ(field.kind(), LogField::Kind::kString);
  EXPECT_EQ(field.text(), "1.5s");
}

TEST(BaseLogField, KeepsRawTextAsItIs) {
  const LogField field = LogField::Raw("members", "[1,2]");
  EXPECT_EQ(field.kind(), LogField::Kind::kRaw);
  EXPECT_EQ(field.text(), "[1,2]");
}

TEST(BaseNullLogger, IsOff) { EXPECT_FALSE(NullLogger().Enabled(LogLevel::kFatal)); }

}  // namespace
}  // namespace kvorum
