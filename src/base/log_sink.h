#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/log.h"

namespace kvorum {

/// Where finished log lines end. Used by one thread at a time; may block.
class LogSink {
 public:
  virtual ~LogSink() = default;
  /// One line with its newline. Errors: what the system says; the line is lost then.
  virtual absl::Status Write(LogLevel level, std::string_view line) = 0;
  /// Gives what was written to the system.
  virtual absl::Status Flush() { return absl::OkStatus(); }
};

/// How a log file is rotated: the settings of --log-rotation-config-json, with lumberjack's meaning.
struct LogRotation {
  uint64_t max_size_bytes = 100 << 20;  ///< a line that would cross it goes to a new file
  uint32_t max_age_days = 0;            ///< older backups are removed; 0: none
  uint32_t max_backups = 0;             ///< more backups are removed, oldest first; 0: none
  bool local_time = false;              ///< backups are named by local time, else UTC
  bool compress = false;                ///< backups are gzipped
};

/// Writes to a file descriptor, in pieces of up to 64 KiB. Does not close it.
std::unique_ptr<LogSink> NewDescriptorSink(int fd);

/// Appends to a file, made where it is missing.
absl::StatusOr<std::unique_ptr<LogSink>> OpenFileSink(const std::string& path);

/// Appends to a file that becomes `name-2006-01-02T15-04-05.000.ext` when it is full.
absl::StatusOr<std::unique_ptr<LogSink>> OpenRotatingSink(const std::string& path,
                                                          const LogRotation& rotation);

/// Sends lines to the systemd journal. NotFound where none listens at `socket_path`.
absl::StatusOr<std::unique_ptr<LogSink>> OpenJournalSink(
    const std::string& socket_path = "/run/systemd/journal/socket");

}  // namespace kvorum
