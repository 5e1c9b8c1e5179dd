#include "base/log_format.h"

#include <time.h>

#include <cmath>

#include "absl/strings/ascii.h"

namespace kvorum {
namespace {

/// Length of the UTF-8 sequence at the start of `text`, 0 where there is none that is well-formed.
size_t Utf8Length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const auto follows = [&](size_t i) { return i < text.size() && (byte(i) & 0xc0) == 0x80; };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first < 0xe0) return follows(1) ? 2 : 0;
  if (first >= 0xe0 && first < 0xf0) {
    if (!follows(1) || !follows(2)) return 0;
    const bool overlong = first == 0xe0 && byte(1) < 0xa0;
    const bool surrogate = first == 0xed && byte(1) >= 0xa0;
    return overlong || surrogate ? 0 : 3;
  }
  if (first >= 0xf0 && first < 0xf5) {
    if (!follows(1) || !follows(2) || !follows(3)) return 0;
    const bool overlong = first == 0xf0 && byte(1) < 0x90;
    const bool too_large = first == 0xf4 && byte(1) >= 0x90;
    return overlong || too_large ? 0 : 4;
  }
  return 0;
}

void AppendEscaped(std::string& out, std::string_view text) {
  while (!text.empty()) {
    const unsigned char c = text[0];
    size_t length = 1;
    if (c == '"' || c == '\\') {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (c < 0x20) {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", c);
    } else if (length = Utf8Length(text); length > 0) {
      out.append(text.substr(0, length));
    } else {
      out += "\\ufffd";
      length = 1;
    }
    text.remove_prefix(length);
  }
}

void AppendQuoted(std::string& out, std::string_view text) {
  out += '"';
  AppendEscaped(out, text);
  out += '"';
}

void AppendDouble(std::string& out, double value) {
  if (std::isnan(value)) {
    out += "\"NaN\"";
  } else if (std::isinf(value)) {
    out += value > 0 ? "\"+Inf\"" : "\"-Inf\"";
  } else {
    fmt::format_to(std::back_inserter(out), "{}", value);
  }
}

void AppendValue(std::string& out, const LogField& field, std::string_view separator) {
  switch (field.kind()) {
    case LogField::Kind::kString:
      return AppendQuoted(out, field.text());
    case LogField::Kind::kRaw:
      out += field.text();
      return;
    case LogField::Kind::kBool:
      out += field.number() != 0 ? "true" : "false";
      return;
    case LogField::Kind::kDouble:
      return AppendDouble(out, field.real());
    case LogField::Kind::kUint:
      fmt::format_to(std::back_inserter(out), "{}", field.number());
      return;
    case LogField::Kind::kInt:
      fmt::format_to(std::back_inserter(out), "{}", static_cast<int64_t>(field.number()));
      return;
    case LogField::Kind::kStrings: {
      out += '[';
      for (size_t i = 0; i < field.list().size(); ++i) {
        if (i > 0) out += separator;
        AppendQuoted(out, field.list()[i]);
      }
      out += ']';
      return;
    }
  }
}

/// The last folder and the name of a source file.
std::string_view ShortFile(std::string_view file) {
  const size_t name = file.rfind('/');
  if (name == std::string_view::npos || name == 0) return file;
  const size_t folder = file.rfind('/', name - 1);
  return folder == std::string_view::npos ? file : file.substr(folder + 1);
}

/// The local time of a second; the text of the last one is kept, for lines come in bursts.
struct SecondText {
  time_t second = -1;
  char date[24] = {};  // 2026-01-31T12:00:00
  char zone[8] = {};   // Z or +0200

  void Set(time_t now) {
    if (now == second) return;
    second = now;
    tm local{};
    localtime_r(&now, &local);
    strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &local);
    strftime(zone, sizeof(zone), local.tm_gmtoff == 0 ? "Z" : "%z", &local);
  }
};

void AppendTime(std::string& out, WallTime time) {
  thread_local SecondText text;
  const auto since_epoch = time.time_since_epoch();
  const auto second = std::chrono::floor<std::chrono::seconds>(since_epoch);
  text.Set(second.count());
  const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(since_epoch - second).count();
  fmt::format_to(std::back_inserter(out), "{}.{:06}{}", text.date, micros, text.zone);
}

}  // namespace

std::string_view LogLevelName(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "debug";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarn:
      return "warn";
    case LogLevel::kError:
      return "error";
    case LogLevel::kPanic:
      return "panic";
    case LogLevel::kFatal:
      return "fatal";
  }
  return "unknown";
}

std::optional<LogLevel> ParseLogLevel(std::string_view name) {
  const std::string lower = absl::AsciiStrToLower(std::string(name));
  for (LogLevel level : {LogLevel::kDebug, LogLevel::kInfo, LogLevel::kWarn, LogLevel::kError,
                         LogLevel::kPanic, LogLevel::kFatal}) {
    if (lower == LogLevelName(level)) return level;
  }
  if (lower == "warning") return LogLevel::kWarn;
  return std::nullopt;
}

std::string FormatLogTime(WallTime time) {
  std::string out;
  AppendTime(out, time);
  return out;
}

std::string FormatLogLine(LogFormat format, WallTime time, LogLevel level, std::string_view file, int line,
                          std::string_view message, std::initializer_list<LogField> fields) {
  const bool json = format == LogFormat::kJson;
  std::string out;
  out.reserve(128 + message.size() + fields.size() * 48);
  const auto append_caller = [&] {
    AppendEscaped(out, ShortFile(file));
    fmt::format_to(std::back_inserter(out), ":{}", line);
  };

  if (json) {
    out += "{\"level\":\"";
    out += LogLevelName(level);
    out += "\",\"ts\":\"";
    AppendTime(out, time);
    out += "\",\"caller\":\"";
    append_caller();
    out += "\",\"msg\":";
    AppendQuoted(out, message);
  } else {
    AppendTime(out, time);
    out += '\t';
    out += LogLevelName(level);
    out += '\t';
    append_caller();
    out += '\t';
    for (char c : message) out += c == '\n' ? ' ' : c;
    if (fields.size() > 0) out += "\t{";
  }

  const std::string_view comma = json ? "," : ", ";
  const std::string_view colon = json ? ":" : ": ";
  bool first = !json;
  for (const LogField& field : fields) {
    if (!first) out += comma;
    first = false;
    AppendQuoted(out, field.key());
    out += colon;
    AppendValue(out, field, comma);
  }
  if (json || fields.size() > 0) out += '}';
  return out;
}

}  // namespace kvorum
