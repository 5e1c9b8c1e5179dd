#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "base/env.h"
#include "wal/wal.h"

namespace kvorum::wal {

/// A sync that only overwrites blocks needs no entry in the file system's journal (measured on ext4: 90 µs
/// instead of 145 µs for 8 KiB). The next segment is therefore filled with zeros ahead of need; where that
/// was not done, as in the first one, so many zeros are written along with the records now and then.
inline constexpr uint64_t kZerosAheadBytes = 128 << 10;

/// A file that becomes the next segment: reserved, locked, at position 0, still named `N.tmp`.
struct NewSegment {
  std::unique_ptr<WritableFile> file;
  std::unique_ptr<FileLock> lock;
  std::string path;
  uint64_t zeros_end = 0;  ///< up to here it is filled with zeros that are on disk
};

/// Makes the next segment's file ahead of need. Thread-safe.
class SegmentMaker {
 public:
  /// What is borrowed by `options` must outlive this.
  SegmentMaker(std::string directory, const Options& options);
  /// Removes the file that nobody took. REQUIRES: no Prepare is running
  ~SegmentMaker();

  /// True where no file is ready or being made.
  bool IsIdle() const;

  /// Makes a file unless there is one, and fills it with zeros that are on disk, see kZerosAheadBytes. Gives
  /// up when `stop` is set, and stops filling when somebody waits for the file. Errors are forgotten.
  void Prepare(const std::atomic<bool>& stop);

  /// The prepared file, or a new one.
  absl::StatusOr<NewSegment> Take();

 private:
  enum class State : uint8_t { kIdle, kMaking, kReady };

  absl::StatusOr<NewSegment> Make(uint64_t number);
  absl::Status FillWithZeros(NewSegment& segment, const std::atomic<bool>& stop);

  const std::string directory_;
  const Options options_;
  std::atomic<bool> wanted_{false};  // ends the filling early; order with other memory does not matter

  mutable absl::Mutex mutex_;
  State state_ ABSL_GUARDED_BY(mutex_) = State::kIdle;
  uint64_t made_ ABSL_GUARDED_BY(mutex_) = 0;
  NewSegment ready_ ABSL_GUARDED_BY(mutex_);  // where kReady
};

}  // namespace kvorum::wal
