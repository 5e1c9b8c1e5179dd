#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/log_format.h"
#include "base/log_sink.h"

namespace kvorum {

struct JsonLoggerOptions {
  LogLevel level = LogLevel::kInfo;
  LogFormat format = LogFormat::kJson;
  /// More than this many bytes of lines that wait are not taken: the line is dropped and counted.
  size_t queue_bytes = 8 << 20;
  const Clock* clock = &SystemClock();  ///< borrowed
};

/// Opens "stderr", "stdout", "default" (the journal under systemd with a journal, else standard error),
/// "systemd/journal" or a file. `rotation` is for files.
absl::StatusOr<std::unique_ptr<LogSink>> OpenLogOutput(const std::string& output,
                                                       const std::optional<LogRotation>& rotation);

/// The server's log: lines are formatted by the caller, queued in memory, and written by a thread of their
/// own. `Write` never waits for a sink: where the queue is full the line is dropped, and a later line says
/// how many were. A line that repeats (same level and message) more than 100 times within a second is written
/// only every 100th time. A fatal line is on its way to the system when `Write` returns.
///
/// Thread-safe.
class JsonLogger final : public Logger {
 public:
  JsonLogger(JsonLoggerOptions options, std::vector<std::unique_ptr<LogSink>> sinks);
  /// Writes what is queued; gives up after a second where a sink does not take it.
  ~JsonLogger() override;

  bool Enabled(LogLevel level) const override { return level >= level_.load(std::memory_order_relaxed); }
  void Write(LogLevel level, const char* file, int line, std::string_view message,
             std::initializer_list<LogField> fields) override;

  void SetLevel(LogLevel level) { level_.store(level, std::memory_order_relaxed); }
  LogLevel level() const { return level_.load(std::memory_order_relaxed); }

  /// Waits until everything queued before the call was given to the sinks; false after `limit`.
  bool Flush(std::chrono::nanoseconds limit = std::chrono::seconds(1));

  /// Lines that were not written: the queue was full, or a sink failed.
  uint64_t dropped_lines() const;

 private:
  /// What the writer thread shares with the logger; outlives it where a sink hangs.
  struct Shared;

  /// True for a line that repeats too often to be written.
  bool SampledOut(LogLevel level, std::string_view message);

  const LogFormat format_;
  const Clock* const clock_;
  std::atomic<LogLevel> level_;  // set by an operator at any time, read before every line

  static constexpr size_t kSamplesPerLevel = 1024;
  /// A window of a second each: its start in milliseconds (40 bits) and the lines in it (24 bits).
  std::array<std::atomic<uint64_t>, 6 * kSamplesPerLevel> samples_{};

  std::shared_ptr<Shared> shared_;  // with the writer thread
  std::thread writer_;              // last: starts when everything above is ready
};

}  // namespace kvorum
