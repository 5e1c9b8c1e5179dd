#include "base/log_format.h"

#include <stdlib.h>
#include <time.h>

#include <limits>

#include "boost/json/parse.hpp"
#include "gtest/gtest.h"
#include "rapidcheck/gtest.h"

namespace kvorum {
namespace {

WallTime At(int64_t seconds, int64_t micros) {
  return WallTime(std::chrono::seconds(seconds) + std::chrono::microseconds(micros));
}

class BaseLogFormat : public testing::Test {
 protected:
  void SetZone(const char* zone) {
    setenv("TZ", zone, 1);
    tzset();
  }
  void SetUp() override { SetZone("UTC"); }
};

TEST_F(BaseLogFormat, WritesKeysInEtcdsOrder) {
  EXPECT_EQ(FormatLogLine(LogFormat::kJson, At(1'700'000'000, 42), LogLevel::kInfo, "/x/src/wal/wal.cc", 7,
                          "opened", {{"path", "a/b"}, {"took", std::chrono::milliseconds(1500)}}),
            R"({"level":"info","ts":"2023-11-14T22:13:20.000042Z","caller":"wal/wal.cc:7","msg":"opened",)"
            R"("path":"a/b","took":"1.5s"})");
}

TEST_F(BaseLogFormat, WritesEveryKindOfField) {
  EXPECT_EQ(FormatLogLine(LogFormat::kJson, At(0, 0), LogLevel::kWarn, "f.cc", 1, "m",
                          {{"i", int64_t{-5}},
                           {"u", std::numeric_limits<uint64_t>::max()},
                           {"b", true},
                           {"d", 0.25},
                           {"nan", std::nan("")},
                           {"list", std::vector<std::string>{"x", "y\""}},
                           LogField::Id("id", 0x1f),
                           LogField::Raw("raw", "{\"k\":1}")}),
            R"({"level":"warn","ts":"1970-01-01T00:00:00.000000Z","caller":"f.cc:1","msg":"m","i":-5,)"
            R"("u":18446744073709551615,"b":true,"d":0.25,"nan":"NaN","list":["x","y\""],"id":"1f",)"
            R"("raw":{"k":1}})");
}

TEST_F(BaseLogFormat, ConsoleLinesAreTabSeparated) {
  EXPECT_EQ(FormatLogLine(LogFormat::kConsole, At(1, 0), LogLevel::kError, "a/b/c.cc", 3, "two\nlines",
                          {{"a", 1}, {"b", "x"}}),
            "1970-01-01T00:00:01.000000Z\terror\tb/c.cc:3\ttwo lines\t{\"a\": 1, \"b\": \"x\"}");
  EXPECT_EQ(FormatLogLine(LogFormat::kConsole, At(1, 0), LogLevel::kDebug, "c.cc", 3, "m", {}),
            "1970-01-01T00:00:01.000000Z\tdebug\tc.cc:3\tm");
}

TEST_F(BaseLogFormat, TimesOfOtherZonesHaveAnOffset) {
  SetZone("ABC-2");
  EXPECT_EQ(FormatLogTime(At(0, 1)), "1970-01-01T02:00:00.000001+0200");
  SetZone("UTC");
}

TEST_F(BaseLogFormat, EscapesControlCharactersAndReplacesBadUtf8) {
  const std::string line = FormatLogLine(LogFormat::kJson, At(0, 0), LogLevel::kInfo, "f", 1,
                                         "\x01\"\\\n\t\r\xff\xc3\xa9\xed\xa0\x80", {});
  EXPECT_NE(line.find("\"msg\":\"\\u0001\\\"\\\\\\n\\t\\r\\ufffd\xc3\xa9\\ufffd\\ufffd\\ufffd\"}"),
            std::string::npos)
      << line;
}

RC_GTEST_PROP(BaseLogFormatProperty, AnyBytesGiveOneLineOfValidJson, (const std::string& text)) {
  const std::string line =
      FormatLogLine(LogFormat::kJson, At(0, 0), LogLevel::kInfo, "f.cc", 1, text, {{"k", text}});
  RC_ASSERT(line.find('\n') == std::string::npos);
  boost::json::error_code error;
  const boost::json::value value = boost::json::parse(line, error);
  RC_ASSERT(!error.failed());
  RC_ASSERT(value.at("msg") == value.at("k"));
}

TEST(BaseLogLevel, NamesGoBothWays) {
  EXPECT_EQ(ParseLogLevel("info"), LogLevel::kInfo);
  EXPECT_EQ(ParseLogLevel("WARN"), LogLevel::kWarn);
  EXPECT_EQ(ParseLogLevel("fatal"), LogLevel::kFatal);
  EXPECT_EQ(ParseLogLevel("loud"), std::nullopt);
  EXPECT_EQ(LogLevelName(LogLevel::kPanic), "panic");
}

}  // namespace
}  // namespace kvorum
