#include "base/go_json.h"

#include <emmintrin.h>

#include "fmt/format.h"

namespace kvorum {
namespace {

/// Whether the byte is a character that stands for itself.
bool IsPlain(char byte) {
  const auto c = static_cast<uint8_t>(byte);
  return c >= 0x20 && c < 0x80 && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&';
}

/// One bit for each of the sixteen bytes at `text` that does not.
unsigned SpecialBytes(const char* text) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(text));
  const auto is = [](__m128i each, char c) { return _mm_cmpeq_epi8(each, _mm_set1_epi8(c)); };
  // As signed numbers, those from 0x80 on are less than 0x20 too.
  const __m128i outside = _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20));
  // '<' and '>' differ in one bit, and so do '"' and '&'.
  const __m128i angle = is(_mm_or_si128(bytes, _mm_set1_epi8('<' ^ '>')), '>');
  const __m128i quote = is(_mm_or_si128(bytes, _mm_set1_epi8('"' ^ '&')), '&');
  const __m128i special = _mm_or_si128(_mm_or_si128(outside, is(bytes, '\\')), _mm_or_si128(angle, quote));
  return static_cast<unsigned>(_mm_movemask_epi8(special));
}

/// How many bytes in front stand for themselves.
size_t PlainLength(std::string_view text) {
  size_t i = 0;
  for (; text.size() - i >= sizeof(__m128i); i += sizeof(__m128i)) {
    const unsigned special = SpecialBytes(text.data() + i);
    if (special != 0) return i + static_cast<size_t>(__builtin_ctz(special));
  }
  while (i < text.size() && IsPlain(text[i])) ++i;
  return i;
}

void AppendEscaped(std::string& out, char c) {
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
    default:
      out += fmt::format("\\u{:04x}", static_cast<uint8_t>(c));
  }
}

}  // namespace

size_t Utf8SequenceLength(std::string_view text) {
  const auto byte = [text](size_t i) { return i < text.size() ? static_cast<uint8_t>(text[i]) : 0; };
  const auto continues = [&byte](size_t i, uint8_t low = 0x80, uint8_t high = 0xbf) {
    return byte(i) >= low && byte(i) <= high;
  };
  const uint8_t lead = byte(0);
  if (lead >= 0xc2 && lead <= 0xdf) return continues(1) ? 2 : 0;
  if (lead >= 0xe0 && lead <= 0xef) {
    const bool second = continues(1, lead == 0xe0 ? 0xa0 : 0x80, lead == 0xed ? 0x9f : 0xbf);
    return second && continues(2) ? 3 : 0;
  }
  if (lead >= 0xf0 && lead <= 0xf4) {
    const bool second = continues(1, lead == 0xf0 ? 0x90 : 0x80, lead == 0xf4 ? 0x8f : 0xbf);
    return second && continues(2) && continues(3) ? 4 : 0;
  }
  return 0;
}

void AppendJsonString(std::string& out, std::string_view text) {
  out += '"';
  AppendJsonText(out, text);
  out += '"';
}

void AppendJsonText(std::string& out, std::string_view text) {
  while (!text.empty()) {
    const size_t plain = PlainLength(text);
    out += text.substr(0, plain);
    text.remove_prefix(plain);
    if (text.empty()) break;
    if (static_cast<uint8_t>(text.front()) < 0x80) {
      AppendEscaped(out, text.front());
      text.remove_prefix(1);
      continue;
    }
    const size_t length = Utf8SequenceLength(text);
    if (length == 0) {
      out += "\\ufffd";
      text.remove_prefix(1);
      continue;
    }
    const std::string_view sequence = text.substr(0, length);
    if (sequence == "\xe2\x80\xa8") {
      out += "\\u2028";
    } else if (sequence == "\xe2\x80\xa9") {
      out += "\\u2029";
    } else {
      out += sequence;
    }
    text.remove_prefix(length);
  }
}

}  // namespace kvorum
