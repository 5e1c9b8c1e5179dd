#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/log.h"

namespace kvorum {

enum class LogFormat : uint8_t {
  kJson,     ///< one JSON object a line, the keys in etcd's order
  kConsole,  ///< tab-separated, for people
};

/// "debug" … "fatal".
std::string_view LogLevelName(LogLevel level);
/// The level of that name, in any case; "warning" too.
std::optional<LogLevel> ParseLogLevel(std::string_view name);

/// `2026-01-31T12:00:00.000000Z`, or with `+0200` for another local zone: microseconds.
std::string FormatLogTime(WallTime time);

/// One line without its newline: level, ts, caller, msg, then the fields. Bytes that are no UTF-8 become
/// U+FFFD. `file` is cut to its folder and name.
std::string FormatLogLine(LogFormat format, WallTime time, LogLevel level, std::string_view file, int line,
                          std::string_view message, std::initializer_list<LogField> fields);

}  // namespace kvorum
