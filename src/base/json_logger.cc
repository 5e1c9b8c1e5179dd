#include "base/json_logger.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "absl/hash/hash.h"
#include "absl/synchronization/mutex.h"

namespace kvorum {
namespace {

/// A buffer that a burst made larger than this is given back.
constexpr size_t kKeptBufferBytes = 256 << 10;

constexpr uint64_t kSampleWindowMillis = 1'000;
constexpr uint64_t kSampleFirst = 100;
constexpr uint64_t kSampleThereafter = 100;
constexpr int kSampleCountBits = 24;
constexpr uint64_t kSampleCountMask = (uint64_t{1} << kSampleCountBits) - 1;

}  // namespace

struct JsonLogger::Shared {
  struct Line {
    uint32_t size = 0;
    LogLevel level = LogLevel::kInfo;
  };
  /// Lines one after another, and where each ends.
  struct Batch {
    std::string text;
    std::vector<Line> lines;
  };

  Shared(const JsonLoggerOptions& options, std::vector<std::unique_ptr<LogSink>> log_sinks)
      : queue_bytes(options.queue_bytes),
        format(options.format),
        clock(options.clock),
        sinks(std::move(log_sinks)) {}

  const size_t queue_bytes;
  const LogFormat format;
  const Clock* const clock;
  const std::vector<std::unique_ptr<LogSink>> sinks;  // used by the writer thread only

  absl::Mutex mutex;
  absl::CondVar wake_writer;
  absl::CondVar flushed;
  Batch pending ABSL_GUARDED_BY(mutex);
  bool writer_asleep ABSL_GUARDED_BY(mutex) = false;
  bool stopping ABSL_GUARDED_BY(mutex) = false;
  uint64_t queued_lines ABSL_GUARDED_BY(mutex) = 0;
  /// Invariant: written_lines <= queued_lines
  uint64_t written_lines ABSL_GUARDED_BY(mutex) = 0;
  uint64_t dropped_unreported ABSL_GUARDED_BY(mutex) = 0;

  std::atomic<uint64_t> dropped{0};  // read by metrics without the lock

  void Enqueue(LogLevel level, std::string_view line) {
    absl::MutexLock lock(&mutex);
    if (pending.text.size() + line.size() + 1 > queue_bytes) {
      ++dropped_unreported;
      dropped.fetch_add(1, std::memory_order_relaxed);
      return;
    }
    pending.text.append(line);
    pending.text.push_back('\n');
    pending.lines.push_back({static_cast<uint32_t>(line.size() + 1), level});
    ++queued_lines;
    if (std::exchange(writer_asleep, false)) wake_writer.Signal();
  }

  void Run() {
    Batch batch;
    while (true) {
      uint64_t dropped_now = 0;
      {
        absl::MutexLock lock(&mutex);
        while (pending.lines.empty() && dropped_unreported == 0 && !stopping) {
          writer_asleep = true;
          wake_writer.Wait(&mutex);
        }
        if (pending.lines.empty() && dropped_unreported == 0) return;
        std::swap(batch, pending);
        std::swap(dropped_now, dropped_unreported);
      }
      WriteBatch(batch, dropped_now);
      absl::MutexLock lock(&mutex);
      written_lines += batch.lines.size();
      flushed.SignalAll();
      if (batch.text.capacity() > kKeptBufferBytes) batch = Batch();
      batch.text.clear();
      batch.lines.clear();
    }
  }

  void WriteBatch(const Batch& batch, uint64_t dropped_now) {
    std::string_view rest = batch.text;
    for (const Line& line : batch.lines) {
      WriteToSinks(line.level, rest.substr(0, line.size));
      rest.remove_prefix(line.size);
    }
    if (dropped_now > 0) {
      WriteToSinks(LogLevel::kWarn,
                   FormatLogLine(format, clock->WallNow(), LogLevel::kWarn, __FILE__, __LINE__,
                                 "dropped log lines because the log queue was full",
                                 {{"dropped-lines", dropped_now}}) +
                       "\n");
    }
    for (const auto& sink : sinks) CountFailure(sink->Flush());
  }

  void WriteToSinks(LogLevel level, std::string_view line) {
    for (const auto& sink : sinks) CountFailure(sink->Write(level, line));
  }

  void CountFailure(const absl::Status& status) {
    if (!status.ok()) dropped.fetch_add(1, std::memory_order_relaxed);
  }
};

absl::StatusOr<std::unique_ptr<LogSink>> OpenLogOutput(const std::string& output,
                                                       const std::optional<LogRotation>& rotation) {
  if (output == "stdout") return NewDescriptorSink(STDOUT_FILENO);
  if (output == "stderr") return NewDescriptorSink(STDERR_FILENO);
  if (output == "systemd/journal") return OpenJournalSink();
  if (output == "default") {
    // A service of systemd: its standard error is the journal already, but priorities get lost there.
    const char* stream = getenv("JOURNAL_STREAM");
    if (getppid() == 1 && stream != nullptr && *stream != '\0') {
      if (auto journal = OpenJournalSink(); journal.ok()) return journal;
    }
    return NewDescriptorSink(STDERR_FILENO);
  }
  return rotation.has_value() ? OpenRotatingSink(output, *rotation) : OpenFileSink(output);
}

JsonLogger::JsonLogger(JsonLoggerOptions options, std::vector<std::unique_ptr<LogSink>> sinks)
    : format_(options.format),
      clock_(options.clock),
      level_(options.level),
      shared_(std::make_shared<Shared>(options, std::move(sinks))),
      writer_([shared = shared_] {
        pthread_setname_np(pthread_self(), "log");
        shared->Run();
      }) {}

JsonLogger::~JsonLogger() {
  const bool written = Flush();
  {
    absl::MutexLock lock(&shared_->mutex);
    shared_->stopping = true;
    shared_->wake_writer.Signal();
  }
  if (written) {
    writer_.join();
  } else {
    writer_.detach();  // it hangs in a sink; what it uses is shared
  }
}

void JsonLogger::Write(LogLevel level, const char* file, int line, std::string_view message,
                       std::initializer_list<LogField> fields) {
  if (SampledOut(level, message)) return;
  shared_->Enqueue(level, FormatLogLine(format_, clock_->WallNow(), level, file, line, message, fields));
  if (level == LogLevel::kFatal) Flush();
}

bool JsonLogger::SampledOut(LogLevel level, std::string_view message) {
  const uint64_t now =
      std::chrono::duration_cast<std::chrono::milliseconds>(clock_->Now().time_since_epoch()).count() &
      (~uint64_t{0} >> kSampleCountBits);
  const size_t slot = absl::HashOf(message) % kSamplesPerLevel;
  std::atomic<uint64_t>& sample = samples_[static_cast<size_t>(level) * kSamplesPerLevel + slot];
  uint64_t old = sample.load(std::memory_order_relaxed);
  uint64_t count = 0;
  uint64_t next = 0;
  do {
    const uint64_t start = old >> kSampleCountBits;
    const bool same_window = old != 0 && now - start < kSampleWindowMillis;
    count = same_window ? std::min((old & kSampleCountMask) + 1, kSampleCountMask) : 1;
    next = (same_window ? start : now) << kSampleCountBits | count;
  } while (!sample.compare_exchange_weak(old, next, std::memory_order_relaxed));
  return count > kSampleFirst && (count - kSampleFirst) % kSampleThereafter != 0;
}

bool JsonLogger::Flush(std::chrono::nanoseconds limit) {
  const absl::Time deadline = absl::Now() + absl::FromChrono(limit);
  absl::MutexLock lock(&shared_->mutex);
  const uint64_t target = shared_->queued_lines;
  while (shared_->written_lines < target) {
    if (shared_->flushed.WaitWithDeadline(&shared_->mutex, deadline)) {
      return shared_->written_lines >= target;
    }
  }
  return true;
}

uint64_t JsonLogger::dropped_lines() const { return shared_->dropped.load(std::memory_order_relaxed); }

}  // namespace kvorum
