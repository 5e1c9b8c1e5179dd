#include "v2store/json_tokenizer.h"

#include <algorithm>

#include "base/go_json.h"

namespace kvorum::v2store {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

constexpr std::string_view kReplacement = "\xef\xbf\xbd";  // U+FFFD

/// How many bytes of a string stand for themselves: characters that are neither its end nor an escape.
size_t PlainLength(std::string_view text) {
  size_t i = 0;
  while (i < text.size() && text[i] != '"' && text[i] != '\\' && static_cast<uint8_t>(text[i]) >= 0x20) {
    const size_t length = static_cast<uint8_t>(text[i]) < 0x80 ? 1 : Utf8SequenceLength(text.substr(i));
    if (length == 0) break;
    i += length;
  }
  return i;
}

void AppendUtf8(std::string& out, uint32_t c) {
  const auto more = [&](int shift) { out += static_cast<char>(0x80 | (c >> shift & 0x3f)); };
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xc0 | c >> 6);
    more(0);
  } else if (c < 0x10000) {
    out += static_cast<char>(0xe0 | c >> 12);
    more(6);
    more(0);
  } else {
    out += static_cast<char>(0xf0 | c >> 18);
    more(12);
    more(6);
    more(0);
  }
}

}  // namespace

JsonTokenizer::Token JsonTokenizer::Fail() {
  failed_ = true;
  return Token::kError;
}

void JsonTokenizer::SkipSpace() {
  const size_t length = rest_.find_first_not_of(" \t\n\r");
  rest_.remove_prefix(std::min(length, rest_.size()));
}

JsonTokenizer::Token JsonTokenizer::Next() {
  if (failed_) return Token::kError;
  SkipSpace();
  if (expect_ == Expect::kNothing) return rest_.empty() ? Token::kEnd : Fail();
  if (rest_.empty()) return Fail();
  const char c = rest_.front();
  if (c == '}' || c == ']') return End(c);
  if (expect_ == Expect::kCommaOrEnd) {
    if (c != ',') return Fail();
    rest_.remove_prefix(1);
    expect_ = open_.back() ? Expect::kKey : Expect::kValue;
    SkipSpace();
    if (rest_.empty()) return Fail();
  }
  return expect_ == Expect::kKey || expect_ == Expect::kFirstKeyOrEnd ? Key() : Value();
}

JsonTokenizer::Token JsonTokenizer::End(char c) {
  const bool object = c == '}';
  const bool may_end = expect_ == Expect::kCommaOrEnd ||
                       expect_ == (object ? Expect::kFirstKeyOrEnd : Expect::kFirstValueOrEnd);
  if (!may_end || open_.back() != object) return Fail();
  rest_.remove_prefix(1);
  open_.pop_back();
  AfterValue();
  return object ? Token::kEndObject : Token::kEndArray;
}

JsonTokenizer::Token JsonTokenizer::Key() {
  if (rest_.front() != '"' || !String()) return Fail();
  SkipSpace();
  if (!rest_.starts_with(':')) return Fail();
  rest_.remove_prefix(1);
  expect_ = Expect::kValue;
  return Token::kKey;
}

JsonTokenizer::Token JsonTokenizer::Value() {
  switch (rest_.front()) {
    case '{':
      return Begin(true);
    case '[':
      return Begin(false);
    case '"':
      if (!String()) return Fail();
      AfterValue();
      return Token::kString;
    case 't':
      return Word("true", Token::kTrue);
    case 'f':
      return Word("false", Token::kFalse);
    case 'n':
      return Word("null", Token::kNull);
    default:
      return Number();
  }
}

JsonTokenizer::Token JsonTokenizer::Begin(bool object) {
  if (open_.size() == max_depth_) return Fail();
  rest_.remove_prefix(1);
  open_.push_back(object);
  expect_ = object ? Expect::kFirstKeyOrEnd : Expect::kFirstValueOrEnd;
  return object ? Token::kBeginObject : Token::kBeginArray;
}

JsonTokenizer::Token JsonTokenizer::Word(std::string_view word, Token token) {
  if (!rest_.starts_with(word)) return Fail();
  rest_.remove_prefix(word.size());
  AfterValue();
  return token;
}

JsonTokenizer::Token JsonTokenizer::Number() {
  size_t i = 0;
  const auto at = [&] { return i < rest_.size() ? rest_[i] : '\0'; };
  const auto digits = [&] {
    const size_t begin = i;
    while (IsDigit(at())) ++i;
    return i > begin;
  };
  if (at() == '-') ++i;
  if (at() == '0') {
    ++i;
  } else if (!digits()) {
    return Fail();
  }
  if (at() == '.') {
    ++i;
    if (!digits()) return Fail();
  }
  if (at() == 'e' || at() == 'E') {
    ++i;
    if (at() == '+' || at() == '-') ++i;
    if (!digits()) return Fail();
  }
  text_ = rest_.substr(0, i);
  rest_.remove_prefix(i);
  AfterValue();
  return Token::kNumber;
}

bool JsonTokenizer::String() {
  rest_.remove_prefix(1);
  unescaped_.clear();
  for (bool whole = true;; whole = false) {
    const std::string_view plain = rest_.substr(0, PlainLength(rest_));
    rest_.remove_prefix(plain.size());
    if (whole) {
      text_ = plain;
    } else {
      unescaped_ += plain;
    }
    if (rest_.empty()) return false;
    const char c = rest_.front();
    rest_.remove_prefix(1);
    if (c == '"') {
      if (!whole) text_ = unescaped_;
      return true;
    }
    if (whole) unescaped_ = plain;
    if (static_cast<uint8_t>(c) >= 0x80) {
      unescaped_ += kReplacement;
    } else if (c != '\\' || !Escape()) {
      return false;
    }
  }
}

bool JsonTokenizer::Escape() {
  if (rest_.empty()) return false;
  const char c = rest_.front();
  rest_.remove_prefix(1);
  constexpr std::string_view kNames = "\"\\/bfnrt";
  constexpr std::string_view kMeanings = "\"\\/\b\f\n\r\t";
  if (const size_t i = kNames.find(c); i != std::string_view::npos) {
    unescaped_ += kMeanings[i];
    return true;
  }
  uint32_t unit = 0;
  if (c != 'u' || !Hex4(&unit)) return false;
  if (unit >= 0xd800 && unit < 0xe000) {
    const std::string_view after = rest_;
    uint32_t low = 0;
    if (unit < 0xdc00 && rest_.starts_with("\\u")) {
      rest_.remove_prefix(2);
      if (!Hex4(&low)) return false;
    }
    if (low >= 0xdc00 && low < 0xe000) {
      unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
    } else {
      rest_ = after;
      unit = 0xfffd;
    }
  }
  AppendUtf8(unescaped_, unit);
  return true;
}

bool JsonTokenizer::Hex4(uint32_t* unit) {
  if (rest_.size() < 4) return false;
  *unit = 0;
  for (const char c : rest_.substr(0, 4)) {
    uint32_t digit = 0;
    if (IsDigit(c)) {
      digit = static_cast<uint32_t>(c - '0');
    } else if (const char lower = static_cast<char>(c | 0x20); lower >= 'a' && lower <= 'f') {
      digit = static_cast<uint32_t>(lower - 'a' + 10);
    } else {
      return false;
    }
    *unit = *unit << 4 | digit;
  }
  rest_.remove_prefix(4);
  return true;
}

}  // namespace kvorum::v2store
