#include "api/v2/form.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <set>
#include <span>

#include "api/v2/path.h"
#include "fmt/format.h"
#include "http/text.h"

namespace kvorum::api_v2 {
namespace {

/// Of the code points from U+0080 to U+07FF, which are the ones that fit behind a '%' in three bytes: whether
/// Go prints them as they are.
bool IsPrintable(uint32_t c) {
  static constexpr struct {
    uint32_t first;
    uint32_t last;
  } kHidden[] = {{0x80, 0xa0},   {0xad, 0xad},   {0x378, 0x379}, {0x380, 0x383}, {0x38b, 0x38b},
                 {0x38d, 0x38d}, {0x3a2, 0x3a2}, {0x530, 0x530}, {0x557, 0x558}, {0x58b, 0x58c},
                 {0x590, 0x590}, {0x5c8, 0x5cf}, {0x5eb, 0x5ee}, {0x5f5, 0x605}, {0x61c, 0x61c},
                 {0x6dd, 0x6dd}, {0x70e, 0x70f}, {0x74b, 0x74c}, {0x7b2, 0x7bf}, {0x7fb, 0x7fc}};
  return std::none_of(std::begin(kHidden), std::end(kHidden),
                      [c](const auto& range) { return c >= range.first && c <= range.last; });
}

void AppendQuotedByte(std::string& out, unsigned char c) {
  static constexpr std::string_view kControls = "\a\b\f\n\r\t\v";
  static constexpr std::string_view kLetters = "abfnrtv";
  if (c == '"' || c == '\\') {
    out.append({'\\', static_cast<char>(c)});
  } else if (c >= 0x20 && c < 0x7f) {
    out.push_back(static_cast<char>(c));
  } else if (const size_t control = kControls.find(static_cast<char>(c)); control != std::string_view::npos) {
    out.append({'\\', kLetters[control]});
  } else {
    fmt::format_to(std::back_inserter(out), "\\x{:02x}", c);
  }
}

/// "invalid URL escape \"%zz\"", where the escape is at the front of `text`.
std::string EscapeError(std::string_view text) {
  const std::string_view escape = text.substr(0, 3);
  std::string out = "invalid URL escape \"";
  for (size_t i = 0; i < escape.size(); ++i) {
    const auto c = static_cast<unsigned char>(escape[i]);
    const auto next = static_cast<unsigned char>(i + 1 < escape.size() ? escape[i + 1] : 0);
    if (c < 0xc2 || c > 0xdf || (next & 0xc0) != 0x80) {
      AppendQuotedByte(out, c);
      continue;
    }
    const uint32_t code = (c & 0x1fu) << 6 | (next & 0x3fu);
    if (IsPrintable(code)) {
      out.append(escape.substr(i, 2));
    } else {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", code);
    }
    ++i;
  }
  out.push_back('"');
  return out;
}

// ---- Media types (RFC 2045 §5.1), as Go's mime package reads them.

bool IsSpace(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

void SkipSpace(std::string_view* text) {
  while (!text->empty() && IsSpace(text->front())) text->remove_prefix(1);
}

std::string_view Trimmed(std::string_view text) {
  SkipSpace(&text);
  while (!text.empty() && IsSpace(text.back())) text.remove_suffix(1);
  return text;
}

std::string_view TakeToken(std::string_view* text) {
  size_t n = 0;
  while (n < text->size() && (*text)[n] > 0x20 && (*text)[n] < 0x7f &&
         std::strchr("()<>@,;:\\\"/[]?=", (*text)[n]) == nullptr) {
    ++n;
  }
  const std::string_view token = text->substr(0, n);
  text->remove_prefix(n);
  return token;
}

/// A token or a quoted string. False: there is none.
bool TakeValue(std::string_view* text, std::string* value) {
  if (!text->starts_with('"')) {
    *value = TakeToken(text);
    return !value->empty();
  }
  value->clear();
  for (size_t i = 1; i < text->size(); ++i) {
    const char c = (*text)[i];
    if (c == '"') {
      text->remove_prefix(i + 1);
      return true;
    }
    if (c == '\r' || c == '\n') return false;
    // Only what has to be escaped may be: browsers send paths of Windows as they are.
    if (c == '\\' && i + 1 < text->size() && std::strchr("\"\\", (*text)[i + 1]) != nullptr) ++i;
    value->push_back((*text)[i]);
  }
  return false;
}

/// "; name=value"; leaves `*text` as it is where it fails.
bool TakeParameter(std::string_view* text, std::string* name, std::string* value) {
  std::string_view rest = *text;
  if (!rest.starts_with(';')) return false;
  rest.remove_prefix(1);
  SkipSpace(&rest);
  *name = http::LowerCase(TakeToken(&rest));
  SkipSpace(&rest);
  if (name->empty() || !rest.starts_with('=')) return false;
  rest.remove_prefix(1);
  SkipSpace(&rest);
  if (!TakeValue(&rest, value)) return false;
  *text = rest;
  return true;
}

/// What is wrong with "type/subtype" or "type"; empty: nothing.
std::string_view TypeError(std::string_view type) {
  if (TakeToken(&type).empty()) return "mime: no media type";
  if (type.empty()) return {};
  if (!type.starts_with('/')) return "mime: expected slash after first token";
  type.remove_prefix(1);
  if (TakeToken(&type).empty()) return "mime: expected token after slash";
  return type.empty() ? std::string_view() : "mime: unexpected content after media subtype";
}

/// Takes the encoding of queries and forms off a text where it stands. Null: `*error` says why.
std::optional<std::string_view> DecodeInPlace(std::span<char> text, std::string* error) {
  const std::string_view encoded(text.data(), text.size());
  if (encoded.find('%') == std::string_view::npos && encoded.find('+') == std::string_view::npos)
    return encoded;
  char* out = text.data();
  for (size_t i = 0; i < encoded.size(); ++i) {
    if (encoded[i] == '+') {
      *out++ = ' ';
    } else if (encoded[i] != '%') {
      *out++ = encoded[i];
    } else if (encoded.size() - i < 3 || HexDigit(encoded[i + 1]) < 0 || HexDigit(encoded[i + 2]) < 0) {
      *error = EscapeError(encoded.substr(i));
      return std::nullopt;
    } else {
      *out++ = static_cast<char>(HexDigit(encoded[i + 1]) << 4 | HexDigit(encoded[i + 2]));
      i += 2;
    }
  }
  return encoded.substr(0, static_cast<size_t>(out - text.data()));
}

}  // namespace

std::string ParseForm(std::span<char> text,
                      absl::FunctionRef<void(std::string_view name, std::string_view value)> field) {
  std::string first_error;
  std::string error;
  for (std::span<char> rest = text; !rest.empty();) {
    const std::string_view left(rest.data(), rest.size());
    const size_t end = std::min(left.find('&'), left.size());
    const std::string_view pair = left.substr(0, end);
    const size_t equals = std::min(pair.find('='), pair.size());
    const std::span<char> name_text = rest.first(equals);
    const std::span<char> value_text = rest.first(end).subspan(std::min(equals + 1, end));
    rest = rest.subspan(std::min(end + 1, rest.size()));
    if (pair.find(';') != std::string_view::npos) {
      first_error = "invalid semicolon separator in query";  // replaces what came before
      continue;
    }
    if (pair.empty()) continue;
    const std::optional<std::string_view> name = DecodeInPlace(name_text, &error);
    const std::optional<std::string_view> value = name ? DecodeInPlace(value_text, &error) : std::nullopt;
    if (value) {
      field(*name, *value);
    } else if (first_error.empty()) {
      first_error = error;
    }
  }
  return first_error;
}

MediaType ParseMediaType(std::string_view text) {
  const size_t end = std::min(text.find(';'), text.size());
  const std::string type = http::LowerCase(Trimmed(text.substr(0, end)));
  if (const std::string_view error = TypeError(type); !error.empty()) return {{}, std::string(error)};
  text.remove_prefix(end);
  std::set<std::string> names;
  for (SkipSpace(&text); !text.empty(); SkipSpace(&text)) {
    std::string name;
    std::string value;
    if (!TakeParameter(&text, &name, &value)) {
      if (Trimmed(text) == ";") break;  // one at the end is nothing
      return {type, "mime: invalid media parameter"};
    }
    if (!names.insert(std::move(name)).second) return {{}, "mime: duplicate parameter name"};
  }
  return {type, {}};
}

}  // namespace kvorum::api_v2
