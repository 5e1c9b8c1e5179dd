#include "wal/segment_maker.h"

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "fmt/format.h"
#include "wal/segments.h"

namespace kvorum::wal {
namespace {

// Small enough not to hold up the writer's syncs for long.
constexpr uint64_t kFillBytes = uint64_t{1} << 20;

}  // namespace

SegmentMaker::SegmentMaker(std::string directory, const Options& options)
    : directory_(std::move(directory)), options_(options) {}

SegmentMaker::~SegmentMaker() {
  absl::MutexLock lock(&mutex_);
  if (state_ != State::kReady) return;
  ready_.file.reset();
  // What stays behind is cut to nothing when the name is used again.
  options_.env->RemoveFile(ready_.path).IgnoreError();
}

bool SegmentMaker::IsIdle() const {
  absl::MutexLock lock(&mutex_);
  return state_ == State::kIdle;
}

absl::StatusOr<NewSegment> SegmentMaker::Make(uint64_t number) {
  NewSegment segment;
  segment.path = PathOf(directory_, fmt::format("{}.tmp", number % 2));
  KVORUM_ASSIGN_OR_RETURN(segment.file,
                          options_.env->OpenForWriting(segment.path, Env::Create::kTruncate, 0600));
  KVORUM_ASSIGN_OR_RETURN(segment.lock, options_.env->LockFile(segment.path));
  if (const absl::Status status = segment.file->Allocate(options_.segment_size_bytes); !status.ok()) {
    options_.env->RemoveFile(segment.path).IgnoreError();
    return status;
  }
  return segment;
}

absl::Status SegmentMaker::FillWithZeros(NewSegment& segment, const std::atomic<bool>& stop) {
  WritableFile& file = *segment.file;
  if (options_.unsafe_no_fsync) return absl::OkStatus();
  const std::string zeros(std::min(kFillBytes, options_.segment_size_bytes), '\0');
  while (file.position() < options_.segment_size_bytes && !stop && !wanted_) {
    const uint64_t left = options_.segment_size_bytes - file.position();
    KVORUM_RETURN_IF_ERROR(file.Append(std::string_view(zeros).substr(0, left)));
    KVORUM_RETURN_IF_ERROR(file.Sync());
  }
  segment.zeros_end = file.position();
  return file.Seek(0);
}

void SegmentMaker::Prepare(const std::atomic<bool>& stop) {
  uint64_t number = 0;
  {
    absl::MutexLock lock(&mutex_);
    if (state_ != State::kIdle) return;
    state_ = State::kMaking;
    number = made_++;
  }
  absl::StatusOr<NewSegment> segment = Make(number);
  if (segment.ok()) {
    if (const absl::Status status = FillWithZeros(*segment, stop); !status.ok()) {
      options_.env->RemoveFile(segment->path).IgnoreError();
      segment = status;
    }
  }
  absl::MutexLock lock(&mutex_);
  if (segment.ok()) {
    ready_ = *std::move(segment);
    state_ = State::kReady;
  } else {
    KVORUM_LOG(*options_.logger, kWarn, "failed to preallocate space when creating a new WAL",
               {"size", options_.segment_size_bytes}, {"error", std::string(segment.status().message())});
    state_ = State::kIdle;
  }
}

absl::StatusOr<NewSegment> SegmentMaker::Take() {
  uint64_t number = 0;
  {
    wanted_ = true;
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(
        +[](State* state) { return *state != State::kMaking; }, &state_));
    wanted_ = false;
    if (state_ == State::kReady) {
      state_ = State::kIdle;
      return std::move(ready_);
    }
    number = made_++;
  }
  return Make(number);
}

}  // namespace kvorum::wal
