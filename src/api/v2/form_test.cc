#include "api/v2/form.h"

#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace kvorum::api_v2 {
namespace {

using Fields = std::vector<std::pair<std::string, std::string>>;

std::pair<Fields, std::string> Parse(std::string text) {
  Fields fields;
  std::string error = ParseForm(
      text, [&fields](std::string_view name, std::string_view value) { fields.emplace_back(name, value); });
  return {fields, error};
}

TEST(V2Form, HasDecodedPairsInOrder) {
  EXPECT_EQ(Parse("").first, Fields());
  EXPECT_EQ(Parse("b=1&a=%41+b%2bc&&=&d&e==&a=2").first,
            (Fields{{"b", "1"}, {"a", "A b+c"}, {"", ""}, {"d", ""}, {"e", "="}, {"a", "2"}}));
  EXPECT_EQ(Parse("%76alue=%00%ff\xc3").first, (Fields{{"value", std::string("\0\xff\xc3", 3)}}));
}

TEST(V2Form, TellsOfBadEscapesAsGoDoes) {
  const std::pair<std::string, std::string> cases[] = {
      {"x=%zz", R"(invalid URL escape "%zz")"},
      {"x=%", R"(invalid URL escape "%")"},
      {"x=a%4", R"(invalid URL escape "%4")"},
      {"%g1=1", R"(invalid URL escape "%g1")"},
      {"x=%1&y=%2", R"(invalid URL escape "%1")"},
      {"x=%\"\\", R"(invalid URL escape "%\"\\")"},
      {"x=%\n\x01", R"(invalid URL escape "%\n\x01")"},
      {"x=%\xc3\xa9", "invalid URL escape \"%\xc3\xa9\""},
      {"x=%\xc2\xa0", R"(invalid URL escape "%\u00a0")"},
      {"x=%\xff\x7f", R"(invalid URL escape "%\xff\x7f")"},
      {"x=%1\xc3", R"(invalid URL escape "%1\xc3")"},
      {"a;b", "invalid semicolon separator in query"},
      {"x=%1&a;b", "invalid semicolon separator in query"},
      {"a;b&x=%1", "invalid semicolon separator in query"},
  };
  for (const auto& [text, error] : cases) EXPECT_EQ(Parse(text).second, error) << text;
}

TEST(V2Form, KeepsWhatIsWellAmongWhatIsNot) {
  EXPECT_EQ(Parse("a=1&b=%&c;d&e=2").first, (Fields{{"a", "1"}, {"e", "2"}}));
}

TEST(V2MediaType, IsReadAsGoDoes) {
  const struct {
    std::string text;
    std::string type;
    std::string error;
  } cases[] = {
      {"application/x-www-form-urlencoded", "application/x-www-form-urlencoded", ""},
      {" Application/X-WWW-Form-Urlencoded ; charset=utf-8;", "application/x-www-form-urlencoded", ""},
      {"a/b; x=\"y\\\"z\\q\"; z=1", "a/b", ""},
      {"a/b; x=\"\"", "a/b", ""},
      {"foo", "foo", ""},
      {"application/x-www-form-urlencoded; charset", "application/x-www-form-urlencoded",
       "mime: invalid media parameter"},
      {"a/b; x=\"1", "a/b", "mime: invalid media parameter"},
      {"a/b; x=", "a/b", "mime: invalid media parameter"},
      {"a/b; x=1; x=1", "", "mime: duplicate parameter name"},
      {"a/b; x=1; X=2", "", "mime: duplicate parameter name"},
      {";", "", "mime: no media type"},
      {"foo bar", "", "mime: expected slash after first token"},
      {"foo/", "", "mime: expected token after slash"},
      {"foo/bar baz", "", "mime: unexpected content after media subtype"},
  };
  for (const auto& [text, type, error] : cases) {
    const MediaType parsed = ParseMediaType(text);
    EXPECT_EQ(parsed.type, type) << text;
    EXPECT_EQ(parsed.error, error) << text;
  }
}

}  // namespace
}  // namespace kvorum::api_v2
