#include "base/go_json_reader.h"

#include "base/check.h"
#include "base/go_json.h"
#include "base/status.h"
#include "fmt/format.h"

namespace kvorum {
namespace {

constexpr int kMaxDepth = 1000;

bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }

int HexDigit(char c) {
  if (IsDigit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

void AppendUtf8(std::string& out, uint32_t rune) {
  const auto tail = [&out](uint32_t bits) { out.push_back(static_cast<char>(0x80 | (bits & 0x3f))); };
  if (rune < 0x80) {
    out.push_back(static_cast<char>(rune));
  } else if (rune < 0x800) {
    out.push_back(static_cast<char>(0xc0 | rune >> 6));
    tail(rune);
  } else if (rune < 0x10000) {
    out.push_back(static_cast<char>(0xe0 | rune >> 12));
    tail(rune >> 6);
    tail(rune);
  } else {
    out.push_back(static_cast<char>(0xf0 | rune >> 18));
    tail(rune >> 12);
    tail(rune >> 6);
    tail(rune);
  }
}

constexpr uint32_t kReplacement = 0xfffd;

/// The byte as Go quotes it in errors: as if it was a Latin-1 character.
std::string QuotedChar(char c) {
  const auto byte = static_cast<uint8_t>(c);
  constexpr std::string_view kNamed = "\a\b\f\n\r\t\v";
  constexpr std::string_view kNames = "abfnrtv";
  if (c == '\'') return "'\\''";
  if (c == '\\') return "'\\\\'";
  if (const size_t at = kNamed.find(c); at != std::string_view::npos)
    return fmt::format("'\\{}'", kNames[at]);
  if (byte < 0x20 || byte == 0x7f) return fmt::format("'\\x{:02x}'", byte);
  if ((byte >= 0x80 && byte <= 0xa0) || byte == 0xad) return fmt::format("'\\u{:04x}'", byte);
  std::string quoted = "'";
  AppendUtf8(quoted, byte);
  return quoted + "'";
}

/// Walks over one value, and finds the first byte that cannot be.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  absl::Status Value(int depth);
  void Space() {
    while (at_ < text_.size() && IsSpace(text_[at_])) ++at_;
  }
  bool AtEnd() const { return at_ == text_.size(); }
  size_t position() const { return at_; }
  absl::Status Unexpected(std::string_view where) const {
    if (AtEnd()) return absl::InvalidArgumentError("unexpected end of JSON input");
    return absl::InvalidArgumentError(fmt::format("invalid character {} {}", QuotedChar(text_[at_]), where));
  }

 private:
  bool Take(char c) {
    if (AtEnd() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  absl::Status Literal(std::string_view word);
  absl::Status String();
  absl::Status Escape();
  absl::Status Number();
  absl::Status Digits(std::string_view where);
  absl::Status Array(int depth);
  absl::Status Object(int depth);

  const std::string_view text_;
  size_t at_ = 0;
};

absl::Status Scanner::Value(int depth) {
  constexpr std::string_view kWhere = "looking for beginning of value";
  Space();
  if (AtEnd()) return Unexpected(kWhere);
  if (depth > kMaxDepth) return absl::InvalidArgumentError("exceeded max depth");
  switch (text_[at_]) {
    case '{':
      return Object(depth);
    case '[':
      return Array(depth);
    case '"':
      return String();
    case 't':
      return Literal("true");
    case 'f':
      return Literal("false");
    case 'n':
      return Literal("null");
    default:
      return text_[at_] == '-' || IsDigit(text_[at_]) ? Number() : Unexpected(kWhere);
  }
}

absl::Status Scanner::Literal(std::string_view word) {
  for (const char c : word) {
    if (!Take(c)) return Unexpected(fmt::format("in literal {} (expecting '{}')", word, c));
  }
  return absl::OkStatus();
}

absl::Status Scanner::String() {
  ++at_;
  while (!Take('"')) {
    if (AtEnd() || static_cast<uint8_t>(text_[at_]) < 0x20) return Unexpected("in string literal");
    if (text_[at_++] == '\\') KVORUM_RETURN_IF_ERROR(Escape());
  }
  return absl::OkStatus();
}

absl::Status Scanner::Escape() {
  constexpr std::string_view kEscapes = "bfnrt\\/\"";
  if (!AtEnd() && kEscapes.find(text_[at_]) != std::string_view::npos) {
    ++at_;
    return absl::OkStatus();
  }
  if (!Take('u')) return Unexpected("in string escape code");
  for (int i = 0; i < 4; ++i) {
    if (AtEnd() || HexDigit(text_[at_]) < 0) return Unexpected("in \\u hexadecimal character escape");
    ++at_;
  }
  return absl::OkStatus();
}

absl::Status Scanner::Digits(std::string_view where) {
  if (AtEnd() || !IsDigit(text_[at_])) return Unexpected(where);
  while (!AtEnd() && IsDigit(text_[at_])) ++at_;
  return absl::OkStatus();
}

absl::Status Scanner::Number() {
  Take('-');
  if (!Take('0')) KVORUM_RETURN_IF_ERROR(Digits("in numeric literal"));
  if (Take('.')) KVORUM_RETURN_IF_ERROR(Digits("after decimal point in numeric literal"));
  if (!Take('e') && !Take('E')) return absl::OkStatus();
  if (!Take('+')) Take('-');
  return Digits("in exponent of numeric literal");
}

absl::Status Scanner::Array(int depth) {
  ++at_;
  Space();
  if (Take(']')) return absl::OkStatus();
  while (true) {
    KVORUM_RETURN_IF_ERROR(Value(depth + 1));
    Space();
    if (Take(']')) return absl::OkStatus();
    if (!Take(',')) return Unexpected("after array element");
  }
}

absl::Status Scanner::Object(int depth) {
  ++at_;
  Space();
  if (Take('}')) return absl::OkStatus();
  while (true) {
    Space();
    if (AtEnd() || text_[at_] != '"') return Unexpected("looking for beginning of object key string");
    KVORUM_RETURN_IF_ERROR(String());
    Space();
    if (!Take(':')) return Unexpected("after object key");
    KVORUM_RETURN_IF_ERROR(Value(depth + 1));
    Space();
    if (Take('}')) return absl::OkStatus();
    if (!Take(',')) return Unexpected("after object key:value pair");
  }
}

}  // namespace

absl::StatusOr<size_t> JsonValueLength(std::string_view text) {
  Scanner scanner(text);
  KVORUM_RETURN_IF_ERROR(scanner.Value(1));
  return scanner.position();
}

absl::Status CheckJson(std::string_view text) {
  Scanner scanner(text);
  KVORUM_RETURN_IF_ERROR(scanner.Value(1));
  scanner.Space();
  return scanner.AtEnd() ? absl::OkStatus() : scanner.Unexpected("after top-level value");
}

void JsonReader::SkipSpace() {
  while (!rest_.empty() && IsSpace(rest_.front())) rest_.remove_prefix(1);
}

JsonReader::Kind JsonReader::Peek() {
  SkipSpace();
  KVORUM_CHECK(!rest_.empty(), "a JSON value that was not checked");
  switch (rest_.front()) {
    case '{':
      return Kind::kObject;
    case '[':
      return Kind::kArray;
    case '"':
      return Kind::kString;
    case 't':
    case 'f':
      return Kind::kBool;
    case 'n':
      return Kind::kNull;
    default:
      return Kind::kNumber;
  }
}

void JsonReader::Skip() {
  SkipSpace();
  const absl::StatusOr<size_t> length = JsonValueLength(rest_);
  KVORUM_CHECK(length.ok(), "a JSON value that was not checked");
  rest_.remove_prefix(*length);
}

bool JsonReader::ReadObject(absl::FunctionRef<void(const std::string&)> on_field) {
  if (Peek() != Kind::kObject) {
    Skip();
    return false;
  }
  rest_.remove_prefix(1);
  SkipSpace();
  while (rest_.front() != '}') {
    const std::string name = TakeString();
    SkipSpace();
    rest_.remove_prefix(1);  // the colon
    on_field(name);
    SkipSpace();
    if (rest_.front() == ',') rest_.remove_prefix(1);
    SkipSpace();
  }
  rest_.remove_prefix(1);
  return true;
}

bool JsonReader::ReadArray(absl::FunctionRef<void()> on_element) {
  if (Peek() != Kind::kArray) {
    Skip();
    return false;
  }
  rest_.remove_prefix(1);
  SkipSpace();
  while (rest_.front() != ']') {
    on_element();
    SkipSpace();
    if (rest_.front() == ',') rest_.remove_prefix(1);
    SkipSpace();
  }
  rest_.remove_prefix(1);
  return true;
}

std::optional<std::string> JsonReader::ReadString() {
  if (Peek() == Kind::kString) return TakeString();
  Skip();
  return std::nullopt;
}

std::string JsonReader::TakeString() {
  const auto hex = [this](size_t at) {
    uint32_t value = 0;
    for (size_t i = 0; i < 4; ++i) value = value << 4 | static_cast<uint32_t>(HexDigit(rest_[at + i]));
    return value;
  };
  std::string out;
  rest_.remove_prefix(1);
  while (rest_.front() != '"') {
    const char c = rest_.front();
    if (c != '\\') {
      const size_t length = static_cast<uint8_t>(c) < 0x80 ? 1 : Utf8SequenceLength(rest_);
      if (length == 0) AppendUtf8(out, kReplacement);
      out.append(rest_.substr(0, length));
      rest_.remove_prefix(std::max<size_t>(length, 1));
      continue;
    }
    constexpr std::string_view kEscapes = "bfnrt";
    constexpr std::string_view kMeanings = "\b\f\n\r\t";
    const char escape = rest_[1];
    if (escape != 'u') {
      const size_t at = kEscapes.find(escape);
      out.push_back(at == std::string_view::npos ? escape : kMeanings[at]);
      rest_.remove_prefix(2);
      continue;
    }
    uint32_t rune = hex(2);
    rest_.remove_prefix(6);
    if (rune >= 0xd800 && rune < 0xe000) {
      const bool pair = rune < 0xdc00 && rest_.starts_with("\\u") && hex(2) >= 0xdc00 && hex(2) < 0xe000;
      rune = pair ? 0x10000 + ((rune - 0xd800) << 10 | (hex(2) - 0xdc00)) : kReplacement;
      if (pair) rest_.remove_prefix(6);
    }
    AppendUtf8(out, rune);
  }
  rest_.remove_prefix(1);
  return out;
}

std::string_view JsonKindName(JsonReader::Kind kind) {
  switch (kind) {
    case JsonReader::Kind::kNull:
      return "null";
    case JsonReader::Kind::kBool:
      return "bool";
    case JsonReader::Kind::kNumber:
      return "number";
    case JsonReader::Kind::kString:
      return "string";
    case JsonReader::Kind::kArray:
      return "array";
    case JsonReader::Kind::kObject:
      return "object";
  }
  KVORUM_CHECK(false, "no kind");
}

}  // namespace kvorum
