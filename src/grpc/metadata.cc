#include "grpc/metadata.h"

#include <array>

#include "fmt/format.h"
#include "http/text.h"

namespace kvorum::grpc {

namespace {

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

bool IsPlain(char c) { return c >= ' ' && c <= '~' && c != '%'; }

constexpr std::string_view kBase64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

constexpr std::array<int8_t, 256> kBase64Values = [] {
  std::array<int8_t, 256> values{};
  for (int8_t& v : values) v = -1;
  for (size_t i = 0; i < kBase64.size(); ++i) {
    values[static_cast<unsigned char>(kBase64[i])] = static_cast<int8_t>(i);
  }
  return values;
}();

struct Unit {
  char name;
  int64_t nanoseconds;
};
constexpr Unit kUnits[] = {{'n', 1},
                           {'u', 1'000},
                           {'m', 1'000'000},
                           {'S', 1'000'000'000},
                           {'M', 60'000'000'000},
                           {'H', 3'600'000'000'000}};

}  // namespace

std::string PercentEncode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    if (IsPlain(c)) {
      out.push_back(c);
    } else {
      fmt::format_to(std::back_inserter(out), "%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

std::string PercentDecode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && HexDigit(text[i + 1]) >= 0 && HexDigit(text[i + 2]) >= 0) {
      out.push_back(static_cast<char>(HexDigit(text[i + 1]) * 16 + HexDigit(text[i + 2])));
      i += 2;
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

std::optional<std::chrono::nanoseconds> ParseTimeout(std::string_view text) {
  if (text.size() < 2 || text.size() > 9) return std::nullopt;  // at most eight digits
  uint64_t value;
  if (!http::ParseDecimal(text.substr(0, text.size() - 1), &value)) return std::nullopt;
  for (const Unit& unit : kUnits) {
    if (unit.name != text.back()) continue;
    const auto limit = static_cast<uint64_t>(INT64_MAX / unit.nanoseconds);
    if (value > limit) return std::chrono::nanoseconds(INT64_MAX);
    return std::chrono::nanoseconds(static_cast<int64_t>(value) * unit.nanoseconds);
  }
  return std::nullopt;
}

std::string FormatTimeout(std::chrono::nanoseconds timeout) {
  constexpr int64_t kMaxValue = 99'999'999;
  const int64_t count = std::max<int64_t>(0, timeout.count());
  for (const Unit& unit : kUnits) {
    const int64_t value = count / unit.nanoseconds + (count % unit.nanoseconds != 0);
    if (value <= kMaxValue) return fmt::format("{}{}", value, unit.name);
  }
  return fmt::format("{}H", kMaxValue);
}

std::optional<std::string> DecodeBase64(std::string_view text) {
  if (text.size() % 4 == 0) {
    for (int i = 0; i < 2 && text.ends_with('='); ++i) text.remove_suffix(1);
  }
  if (text.size() % 4 == 1) return std::nullopt;
  std::string out;
  out.reserve(text.size() * 3 / 4);
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const int8_t value = kBase64Values[static_cast<unsigned char>(c)];
    if (value < 0) return std::nullopt;
    bits = bits << 6 | static_cast<uint32_t>(value);
    count += 6;
    if (count >= 8) {
      count -= 8;
      out.push_back(static_cast<char>(bits >> count));
      bits &= (1U << count) - 1;
    }
  }
  return out;
}

std::string EncodeBase64(std::string_view data) {
  std::string out;
  out.reserve((data.size() * 4 + 2) / 3);
  uint32_t bits = 0;
  int count = 0;
  for (const char c : data) {
    bits = bits << 8 | static_cast<unsigned char>(c);
    count += 8;
    while (count >= 6) {
      count -= 6;
      out.push_back(kBase64[bits >> count & 63]);
    }
    bits &= (1U << count) - 1;
  }
  if (count > 0) out.push_back(kBase64[bits << (6 - count) & 63]);
  return out;
}

bool IsReserved(std::string_view name) {
  return name.starts_with("grpc-") || name == "te" || name == "content-type";
}

http::Headers StatusTrailers(const absl::Status& status) {
  http::Headers trailers{{"grpc-status", fmt::format_int(static_cast<int>(status.code())).str()}};
  if (!status.message().empty()) trailers.emplace_back("grpc-message", PercentEncode(Message(status)));
  return trailers;
}

}  // namespace kvorum::grpc
