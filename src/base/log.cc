#include "base/log.h"

namespace kvorum {
namespace {

class DroppingLogger final : public Logger {
 public:
  bool Enabled(LogLevel) const override { return false; }
  void Write(LogLevel, const char*, int, std::string_view, std::initializer_list<LogField>) override {}
};

/// `value` with `decimals` digits behind the point, trailing zeros and a trailing point left out.
std::string TrimmedDecimal(uint64_t value, int decimals) {
  uint64_t scale = 1;
  for (int i = 0; i < decimals; ++i) scale *= 10;
  std::string text = fmt::format("{}.{:0{}}", value / scale, value % scale, decimals);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text;
}

}  // namespace

LogField::LogField(std::string_view key, std::chrono::nanoseconds value)
    : LogField(key, FormatDuration(value)) {}

LogField LogField::Id(std::string_view key, uint64_t id) { return {key, fmt::format("{:x}", id)}; }

LogField LogField::Raw(std::string_view key, std::string json) {
  LogField field(key, std::move(json));
  field.kind_ = Kind::kRaw;
  return field;
}

Logger& NullLogger() {
  static auto* const logger = new DroppingLogger();
  return *logger;
}

std::string FormatDuration(std::chrono::nanoseconds duration) {
  constexpr uint64_t kMicrosecond = 1'000;
  constexpr uint64_t kMillisecond = 1'000'000;
  constexpr uint64_t kSecond = 1'000'000'000;

  const int64_t count = duration.count();
  if (count == 0) return "0s";
  const std::string sign = count < 0 ? "-" : "";
  const uint64_t ns = count < 0 ? 0 - static_cast<uint64_t>(count) : static_cast<uint64_t>(count);

  if (ns < kMicrosecond) return fmt::format("{}{}ns", sign, ns);
  if (ns < kMillisecond) return sign + TrimmedDecimal(ns, 3) + "µs";
  if (ns < kSecond) return sign + TrimmedDecimal(ns, 6) + "ms";

  const uint64_t minutes = ns / kSecond / 60;
  std::string text = sign;
  if (minutes >= 60) text += fmt::format("{}h", minutes / 60);
  if (minutes > 0) text += fmt::format("{}m", minutes % 60);
  return text + TrimmedDecimal(ns % (60 * kSecond), 9) + "s";
}

}  // namespace kvorum
