#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace kvorum::v2store {

/// Reads a JSON text (RFC 8259) token by token, without recursion and without a tree of values: snapshots are
/// large, and as deep as a client made its paths. For bytes that are no UTF-8, and for half a surrogate pair,
/// U+FFFD stands in.
///
///     for (auto token = reader.Next(); token != kEnd; token = reader.Next()) { if (token == kError) … }
class JsonTokenizer {
 public:
  enum class Token : uint8_t {
    kBeginObject,
    kEndObject,
    kBeginArray,
    kEndArray,
    kKey,     ///< text(): the name; its value comes next
    kString,  ///< text(): the characters
    kNumber,  ///< text(): as it is written
    kTrue,
    kFalse,
    kNull,
    kEnd,    ///< of the text: all was well
    kError,  ///< and nothing comes any more
  };

  /// `text` must outlive it. Deeper than `max_depth` is an error.
  JsonTokenizer(std::string_view text, size_t max_depth) : rest_(text), max_depth_(max_depth) {}

  Token Next();
  /// Of the token read last.
  std::string_view text() const { return text_; }

 private:
  enum class Expect : uint8_t { kValue, kFirstValueOrEnd, kKey, kFirstKeyOrEnd, kCommaOrEnd, kNothing };

  Token Value();
  Token Begin(bool object);
  Token End(char c);
  Token Key();
  Token Word(std::string_view word, Token token);
  Token Number();
  bool String();
  bool Escape();
  bool Hex4(uint32_t* unit);
  void SkipSpace();
  Token Fail();
  /// What may come after a value.
  void AfterValue() { expect_ = open_.empty() ? Expect::kNothing : Expect::kCommaOrEnd; }

  std::string_view rest_;
  const size_t max_depth_;
  std::string_view text_;
  std::string unescaped_;   // what text_ is where it is not as it was written
  std::vector<bool> open_;  // the objects (true) and arrays begun and not ended
  Expect expect_ = Expect::kValue;
  bool failed_ = false;
};

}  // namespace kvorum::v2store
