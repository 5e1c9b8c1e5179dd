#include "config/go_text.h"

#include <limits>

#include "fmt/format.h"

namespace kvorum::config {
namespace {

int DigitOf(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'z') return c - 'a' + 10;
  if (c >= 'A' && c <= 'Z') return c - 'A' + 10;
  return 99;
}

/// Takes a base prefix from the front of `*text`.
int TakeBase(std::string_view* text, bool* prefixed) {
  *prefixed = false;
  if (text->size() < 2 || (*text)[0] != '0') return 10;
  *prefixed = true;
  const char mark = static_cast<char>((*text)[1] | 0x20);
  const bool long_enough = text->size() >= 3;
  if (long_enough && (mark == 'x' || mark == 'o' || mark == 'b')) {
    text->remove_prefix(2);
    return mark == 'x' ? 16 : mark == 'o' ? 8 : 2;
  }
  text->remove_prefix(1);
  return 8;
}

/// Underscores stand only between digits, or between the prefix and a digit.
bool UnderscoresWell(std::string_view digits, bool prefixed) {
  return digits.empty() || ((prefixed || digits.front() != '_') && digits.back() != '_' &&
                            digits.find("__") == std::string_view::npos);
}

/// Nanoseconds in a unit, 0 for none.
uint64_t UnitOf(std::string_view unit) {
  if (unit == "ns") return 1;
  if (unit == "us" || unit == "µs" || unit == "μs") return 1'000;
  if (unit == "ms") return 1'000'000;
  if (unit == "s") return 1'000'000'000;
  if (unit == "m") return 60'000'000'000;
  if (unit == "h") return 3'600'000'000'000;
  return 0;
}

constexpr uint64_t kDurationLimit = uint64_t{1} << 63;

/// Takes "12.5ms" from the front of `*text` and adds it to `*total`.
bool TakeDurationPart(std::string_view* text, uint64_t* total) {
  uint64_t whole = 0;
  uint64_t fraction = 0;
  double scale = 1;
  bool any = false;
  bool overflow = false;
  while (!text->empty() && (*text)[0] >= '0' && (*text)[0] <= '9') {
    any = true;
    if (whole > kDurationLimit / 10) return false;
    whole = whole * 10 + static_cast<uint64_t>((*text)[0] - '0');
    if (whole > kDurationLimit) return false;
    text->remove_prefix(1);
  }
  if (!text->empty() && (*text)[0] == '.') {
    text->remove_prefix(1);
    while (!text->empty() && (*text)[0] >= '0' && (*text)[0] <= '9') {
      any = true;
      if (!overflow && fraction <= (kDurationLimit - 1) / 10 - 1) {
        fraction = fraction * 10 + static_cast<uint64_t>((*text)[0] - '0');
        scale *= 10;
      } else {
        overflow = true;  // further digits are below a nanosecond
      }
      text->remove_prefix(1);
    }
  }
  if (!any) return false;

  size_t length = 0;
  while (length < text->size() && (*text)[length] != '.' &&
         ((*text)[length] < '0' || (*text)[length] > '9')) {
    ++length;
  }
  const uint64_t unit = UnitOf(text->substr(0, length));
  if (unit == 0) return false;
  text->remove_prefix(length);

  if (whole > kDurationLimit / unit) return false;
  uint64_t nanos = whole * unit;
  if (fraction > 0) {
    nanos += static_cast<uint64_t>(static_cast<double>(fraction) * (static_cast<double>(unit) / scale));
  }
  if (nanos > kDurationLimit) return false;
  *total += nanos;
  return *total <= kDurationLimit;
}

}  // namespace

std::string Quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\a':
        out += "\\a";
        break;
      case '\b':
        out += "\\b";
        break;
      case '\f':
        out += "\\f";
        break;
      case '\v':
        out += "\\v";
        break;
      default:
        if (byte < 0x20 || byte == 0x7f) {
          out += fmt::format("\\x{:02x}", byte);
        } else {
          out += c;
        }
    }
  }
  return out + "\"";
}

std::optional<bool> ParseBool(std::string_view text) {
  for (std::string_view yes : {"1", "t", "T", "TRUE", "true", "True"}) {
    if (text == yes) return true;
  }
  for (std::string_view no : {"0", "f", "F", "FALSE", "false", "False"}) {
    if (text == no) return false;
  }
  return std::nullopt;
}

NumberError ParseUint(std::string_view text, uint64_t max, uint64_t* value) {
  if (text.empty()) return NumberError::kSyntax;
  bool prefixed = false;
  const int base = TakeBase(&text, &prefixed);
  if (!UnderscoresWell(text, prefixed)) return NumberError::kSyntax;
  uint64_t result = 0;
  bool over = false;
  for (const char c : text) {
    if (c == '_') continue;
    const int digit = DigitOf(c);
    if (digit >= base) return NumberError::kSyntax;
    if (over || result > (max - static_cast<uint64_t>(digit)) / static_cast<uint64_t>(base)) {
      over = true;  // the rest is still checked for its syntax
    } else {
      result = result * static_cast<uint64_t>(base) + static_cast<uint64_t>(digit);
    }
  }
  if (over) return NumberError::kRange;
  *value = result;
  return NumberError::kNone;
}

NumberError ParseInt(std::string_view text, int64_t* value) {
  const bool negative = !text.empty() && text[0] == '-';
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) text.remove_prefix(1);
  const uint64_t limit = static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) + (negative ? 1 : 0);
  uint64_t magnitude = 0;
  const NumberError error = ParseUint(text, limit, &magnitude);
  if (error == NumberError::kNone) *value = static_cast<int64_t>(negative ? 0 - magnitude : magnitude);
  return error;
}

std::optional<std::chrono::nanoseconds> ParseDuration(std::string_view text) {
  const bool negative = !text.empty() && text[0] == '-';
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) text.remove_prefix(1);
  if (text == "0") return std::chrono::nanoseconds(0);
  if (text.empty()) return std::nullopt;
  uint64_t total = 0;
  while (!text.empty()) {
    if (!TakeDurationPart(&text, &total)) return std::nullopt;
  }
  if (!negative && total == kDurationLimit) return std::nullopt;
  return std::chrono::nanoseconds(static_cast<int64_t>(negative ? 0 - total : total));
}

}  // namespace kvorum::config
