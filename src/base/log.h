#pragma once

#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kvorum {

enum class LogLevel : uint8_t { kDebug, kInfo, kWarn, kError, kPanic, kFatal };

/// One `"key": value` of a log line.
class LogField {
 public:
  enum class Kind : uint8_t { kString, kInt, kUint, kBool, kDouble, kStrings, kRaw };

  LogField(std::string_view key, std::string_view value) : key_(key), kind_(Kind::kString), text_(value) {}
  LogField(std::string_view key, const char* value) : LogField(key, std::string_view(value)) {}
  LogField(std::string_view key, std::string value)
      : key_(key), kind_(Kind::kString), text_(std::move(value)) {}
  LogField(std::string_view key, bool value) : key_(key), kind_(Kind::kBool), number_(value) {}
  LogField(std::string_view key, int32_t value) : LogField(key, int64_t{value}) {}
  LogField(std::string_view key, int64_t value)
      : key_(key), kind_(Kind::kInt), number_(static_cast<uint64_t>(value)) {}
  LogField(std::string_view key, uint32_t value) : LogField(key, uint64_t{value}) {}
  LogField(std::string_view key, uint64_t value) : key_(key), kind_(Kind::kUint), number_(value) {}
  LogField(std::string_view key, double value) : key_(key), kind_(Kind::kDouble), real_(value) {}
  LogField(std::string_view key, std::vector<std::string> value)
      : key_(key), kind_(Kind::kStrings), list_(std::move(value)) {}
  /// Written as etcd writes durations: "1.5s", "100ms", "2m0s".
  LogField(std::string_view key, std::chrono::nanoseconds value);

  /// A member, cluster or lease id: lower-case hex without leading zeros.
  static LogField Id(std::string_view key, uint64_t id);
  /// `json` stands in the line as it is.
  static LogField Raw(std::string_view key, std::string json);

  std::string_view key() const { return key_; }
  Kind kind() const { return kind_; }
  const std::string& text() const { return text_; }
  uint64_t number() const { return number_; }
  double real() const { return real_; }
  const std::vector<std::string>& list() const { return list_; }

 private:
  std::string_view key_;  // of static lifetime
  Kind kind_;
  uint64_t number_ = 0;
  double real_ = 0;
  std::string text_;
  std::vector<std::string> list_;
};

/// Where the parts write their log lines. Thread-safe. `Write` never waits for the disk or for another
/// thread: the real logger queues the line, and drops and counts it where the queue is full.
class Logger {
 public:
  virtual ~Logger() = default;
  virtual bool Enabled(LogLevel level) const = 0;
  /// `file` as `__FILE__` gives it; `message` is the plain text of the line.
  virtual void Write(LogLevel level, const char* file, int line, std::string_view message,
                     std::initializer_list<LogField> fields) = 0;
};

/// Drops everything; for tests and tools. Lives for the whole process.
Logger& NullLogger();

/// Go's text of a duration ("1.5s", "1m30s", "0s").
std::string FormatDuration(std::chrono::nanoseconds duration);

}  // namespace kvorum

/// KVORUM_LOG(logger, kInfo, "opened backend db", {"path", path}, {"took", elapsed});
#define KVORUM_LOG(logger, level, message, ...)                                                   \
  do {                                                                                            \
    ::kvorum::Logger& kvorum_logger = (logger);                                                   \
    if (kvorum_logger.Enabled(::kvorum::LogLevel::level)) {                                       \
      kvorum_logger.Write(::kvorum::LogLevel::level, __FILE__, __LINE__, message, {__VA_ARGS__}); \
    }                                                                                             \
  } while (false)
