#include "base/go_json.h"

#include "fmt/format.h"
#include "gtest/gtest.h"

namespace kvorum {
namespace {

std::string Escaped(char byte) {
  const auto c = static_cast<unsigned char>(byte);
  switch (c) {
    case '"':
      return "\\\"";
    case '\\':
      return "\\\\";
    case '\n':
      return "\\n";
    case '\r':
      return "\\r";
    case '\t':
      return "\\t";
    default:
      break;
  }
  if (c >= 0x80) return "\\ufffd";
  if (c < 0x20 || c == '<' || c == '>' || c == '&') return fmt::format("\\u{:04x}", c);
  return std::string(1, byte);
}

TEST(BaseGoJson, EscapesEachByteWhereverItStands) {
  for (int c = 0; c < 256; ++c) {
    const char byte = static_cast<char>(c);
    for (const size_t at : {0, 1, 15, 16, 31, 33, 39}) {
      std::string text(40, 'x');
      text[at] = byte;
      std::string expected = "\"" + std::string(at, 'x') + Escaped(byte) + std::string(39 - at, 'x') + "\"";
      std::string out;
      AppendJsonString(out, text);
      EXPECT_EQ(out, expected) << c << " at " << at;
    }
  }
}

TEST(BaseGoJson, KeepsUtf8ButForTheLineSeparators) {
  std::string out = "head ";
  AppendJsonText(out, "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaa\xed\xa0\x80");
  EXPECT_EQ(out, "head \xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\\u2028\\u2029\xe2\x80\xaa\\ufffd\\ufffd\\ufffd");
}

}  // namespace
}  // namespace kvorum
