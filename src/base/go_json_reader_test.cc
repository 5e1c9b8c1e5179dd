#include "base/go_json_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kvorum {
namespace {

std::string Error(std::string_view text) { return std::string(CheckJson(text).message()); }

TEST(BaseGoJsonReader, SaysWhatGoSays) {
  const std::pair<std::string_view, std::string_view> cases[] = {
      {"", "unexpected end of JSON input"},
      {" {\"a\"", "unexpected end of JSON input"},
      {"x", "invalid character 'x' looking for beginning of value"},
      {"[1,]", "invalid character ']' looking for beginning of value"},
      {"{a:1}", "invalid character 'a' looking for beginning of object key string"},
      {"{\"a\":1,}", "invalid character '}' looking for beginning of object key string"},
      {"{\"a\" 1}", "invalid character '1' after object key"},
      {"{\"a\":1 \"b\"}", "invalid character '\"' after object key:value pair"},
      {"[1 2]", "invalid character '2' after array element"},
      {"\"a\nb\"", "invalid character '\\n' in string literal"},
      {"\"\\x\"", "invalid character 'x' in string escape code"},
      {"\"\\u12g4\"", "invalid character 'g' in \\u hexadecimal character escape"},
      {"-x", "invalid character 'x' in numeric literal"},
      {"1.x", "invalid character 'x' after decimal point in numeric literal"},
      {"1e+x", "invalid character 'x' in exponent of numeric literal"},
      {"trve", "invalid character 'v' in literal true (expecting 'u')"},
      {"01", "invalid character '1' after top-level value"},
      {"{} x", "invalid character 'x' after top-level value"},
      {"'", "invalid character '\\'' looking for beginning of value"},
      {"\\", "invalid character '\\\\' looking for beginning of value"},
      {"\x01", "invalid character '\\x01' looking for beginning of value"},
      {"\xe9", "invalid character '\xc3\xa9' looking for beginning of value"},
      {"\x90", "invalid character '\\u0090' looking for beginning of value"},
  };
  for (const auto& [text, error] : cases) EXPECT_EQ(Error(text), error) << text;
}

TEST(BaseGoJsonReader, TakesWhatIsJson) {
  for (const char* text :
       {"{}", " [ ] ", "null", "true", "-0.5e-3", "[1,\"\\u00e9\\\"\",{\"a\":[{}]}]", "1E5"}) {
    EXPECT_TRUE(CheckJson(text).ok()) << text;
  }
}

TEST(BaseGoJsonReader, BoundsTheDepth) {
  EXPECT_EQ(Error(std::string(100'000, '[')), "exceeded max depth");
  EXPECT_TRUE(CheckJson(std::string(900, '[') + std::string(900, ']')).ok());
}

TEST(BaseGoJsonReader, FindsTheEndOfTheFirstValue) {
  EXPECT_EQ(*JsonValueLength(" {\"a\":1} trailing"), 8u);
  EXPECT_EQ(*JsonValueLength("12 3"), 2u);
}

TEST(BaseGoJsonReader, ReadsStrings) {
  const std::pair<std::string_view, std::string_view> cases[] = {
      {R"("a\n\t\"\\\/b")", "a\n\t\"\\/b"},
      {R"("\u00e9\u20ac")", "\xc3\xa9\xe2\x82\xac"},
      {R"("\ud83d\ude00")", "\xf0\x9f\x98\x80"},
      {R"("\ud83dx")", "\xef\xbf\xbdx"},
      {R"("\ud83d\u0041")",
       "\xef\xbf\xbd"
       "A"},
      {"\"\xff\xc3\xa9\"", "\xef\xbf\xbd\xc3\xa9"},
      {R"("")", ""},
  };
  for (const auto& [text, value] : cases) EXPECT_EQ(JsonReader(text).ReadString(), value) << text;
}

TEST(BaseGoJsonReader, WalksThroughAValue) {
  constexpr std::string_view kText = R"( {"a": [1, "x", {"y": []}], "b" : null, "c":"d" } )";
  ASSERT_TRUE(CheckJson(kText).ok());
  JsonReader reader(kText);
  std::vector<std::string> seen;
  EXPECT_TRUE(reader.ReadObject([&](const std::string& name) {
    seen.push_back(name);
    if (name == "a") {
      EXPECT_TRUE(reader.ReadArray([&] {
        seen.emplace_back(JsonKindName(reader.Peek()));
        reader.Skip();
      }));
    } else {
      seen.push_back(reader.ReadString().value_or("none"));
    }
  }));
  EXPECT_THAT(seen, ::testing::ElementsAre("a", "number", "string", "object", "b", "none", "c", "d"));
  EXPECT_FALSE(JsonReader("[{}]").ReadObject([](const std::string&) { FAIL(); }));
  EXPECT_FALSE(JsonReader("{}").ReadArray([] { FAIL(); }));
}

}  // namespace
}  // namespace kvorum
