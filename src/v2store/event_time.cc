#include <charconv>

#include "fmt/format.h"
#include "v2store/event_json.h"

namespace kvorum::v2store {
namespace {

using std::chrono::nanoseconds;
using std::chrono::seconds;
using std::chrono::sys_days;
using std::chrono::year_month_day;

constexpr int64_t kNanos = 1'000'000'000;
constexpr int64_t kDay = 86'400;

/// Takes `digits` decimal digits and the character after them (none where that is 0); false where others are.
bool TakeNumber(std::string_view* text, size_t digits, char after, int* number) {
  if (text->size() < digits + (after != 0 ? 1 : 0)) return false;
  const char* const end = text->data() + digits;
  if (text->front() < '0' || text->front() > '9') return false;
  const auto [parsed, error] = std::from_chars(text->data(), end, *number);
  if (error != std::errc() || parsed != end || (after != 0 && *end != after)) return false;
  text->remove_prefix(digits + (after != 0 ? 1 : 0));
  return true;
}

/// The digits of a second after the point; false where there is a point and none.
bool TakeFraction(std::string_view* text, int64_t* nanos) {
  *nanos = 0;
  if (!text->starts_with('.')) return true;
  text->remove_prefix(1);
  size_t digits = 0;
  int64_t unit = kNanos;
  for (; digits < text->size() && (*text)[digits] >= '0' && (*text)[digits] <= '9'; ++digits) {
    unit /= 10;
    *nanos += ((*text)[digits] - '0') * unit;
  }
  text->remove_prefix(digits);
  return digits > 0;
}

/// "Z", "+02:00": how many seconds the clock shows more than UTC.
bool TakeOffset(std::string_view text, int64_t* offset) {
  *offset = 0;
  if (text == "Z") return true;
  if (text.empty() || (text.front() != '+' && text.front() != '-')) return false;
  const int sign = text.front() == '-' ? -1 : 1;
  text.remove_prefix(1);
  int hours = 0;
  int minutes = 0;
  if (!TakeNumber(&text, 2, ':', &hours) || !TakeNumber(&text, 2, 0, &minutes) || !text.empty()) return false;
  if (hours > 24 || minutes > 59) return false;
  *offset = sign * (hours * 3600 + minutes * 60);
  return true;
}

}  // namespace

void AppendTime(std::string& out, WallTime time) {
  const auto second = std::chrono::floor<seconds>(time);
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const year_month_day date(day);
  const auto of_day = (second - day).count();
  fmt::format_to(std::back_inserter(out), "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
                 static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                 static_cast<unsigned>(date.day()), of_day / 3600, of_day / 60 % 60, of_day % 60);
  // What is left over the second, counted without the second in nanoseconds, which would not fit everywhere.
  const int64_t rest = time.time_since_epoch().count() % kNanos;
  if (const int64_t nanos = rest < 0 ? rest + kNanos : rest; nanos != 0) {
    fmt::format_to(std::back_inserter(out), ".{:09}", nanos);
    out.resize(out.find_last_not_of('0') + 1);
  }
  out += 'Z';
}

std::optional<WallTime> ParseTime(std::string_view text) {
  int year = 0;
  int month = 0;
  int day = 0;
  int hour = 0;
  int minute = 0;
  int second = 0;
  int64_t nanos = 0;
  int64_t offset = 0;
  if (!TakeNumber(&text, 4, '-', &year) || !TakeNumber(&text, 2, '-', &month) ||
      !TakeNumber(&text, 2, 'T', &day) || !TakeNumber(&text, 2, ':', &hour) ||
      !TakeNumber(&text, 2, ':', &minute) || !TakeNumber(&text, 2, 0, &second) ||
      !TakeFraction(&text, &nanos) || !TakeOffset(text, &offset)) {
    return std::nullopt;
  }
  const year_month_day date{std::chrono::year(year), std::chrono::month(static_cast<unsigned>(month)),
                            std::chrono::day(static_cast<unsigned>(day))};
  if (!date.ok() || hour > 23 || minute > 59 || second > 59) return std::nullopt;
  int64_t count =
      sys_days(date).time_since_epoch().count() * kDay + hour * 3600 + minute * 60 + second - offset;
  // Before 1970 the nanoseconds count back from the next second, so that the product fits where the sum does.
  if (count < 0 && nanos > 0) {
    ++count;
    nanos -= kNanos;
  }
  if (__builtin_mul_overflow(count, kNanos, &count) || __builtin_add_overflow(count, nanos, &count)) {
    return std::nullopt;
  }
  return WallTime(nanoseconds(count));
}

}  // namespace kvorum::v2store
