#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/synchronization/notification.h"
#include "backend/backend_format.h"
#include "backend/lmdb_backend_impl.h"
#include "base/status.h"
#include "fmt/format.h"

namespace kvorum::backend {

void LmdbBackend::Replace(std::unique_ptr<ReadView> /*content*/, AppliedPosition /*position*/, Done done) {
  done(absl::UnimplementedError("not there yet"));
}

void LmdbBackend::Defragment(Done done) {
  absl::MutexLock lock(&mutex_);
  absl::Status refusal;
  if (!failure_.ok()) {
    refusal = failure_;
  } else if (closing_) {
    refusal = absl::CancelledError("the database is being closed");
  } else if (defragmenting_) {
    refusal = absl::FailedPreconditionError("a defragmentation is already running");
  }
  if (!refusal.ok()) {
    calls_.push_back([done = std::move(done), refusal]() mutable { done(refusal); });
    wake_.Signal();
    return;
  }
  defragmenting_ = true;
  if (defragmenter_ == nullptr) defragmenter_ = std::make_unique<ThreadExecutor>("kv-defrag");
  defragmenter_->Post([this, done = std::move(done)]() mutable {
    const MonotonicTime start = SystemClock().Now();
    const Sizes before = sizes();
    KVORUM_LOG(*options_.logger, kInfo, "defragmenting", {"path", options_.directory},
               {"current-db-size-bytes", before.total_bytes},
               {"current-db-size-in-use-bytes", before.in_use_bytes});
    metrics_.defragmenting.Set(1);
    const absl::Status status = RunDefragment();
    metrics_.defragmenting.Set(0);
    const auto took = std::chrono::nanoseconds(SystemClock().Now() - start);
    if (status.ok()) {
      metrics_.defragment.Observe(took);
      KVORUM_LOG(*options_.logger, kInfo, "finished defragmenting directory", {"path", options_.directory},
                 {"current-db-size-bytes-diff", sizes().total_bytes - before.total_bytes},
                 {"current-db-size-bytes", sizes().total_bytes}, {"took", took});
    } else {
      KVORUM_LOG(*options_.logger, kError, "failed to defragment", {"path", options_.directory},
                 {"error", status.ToString()});
    }
    {
      absl::MutexLock lock(&mutex_);
      defragmenting_ = false;
      reap_ = true;  // the old file
      wake_.Signal();
    }
    done(status);
  });
}

absl::Status LmdbBackend::CheckRoomForCopy() const {
  // A copy that fills the disk would make the next commit fail, which is final.
  std::error_code error;
  const std::filesystem::space_info space = std::filesystem::space(options_.directory, error);
  const uint64_t needed = static_cast<uint64_t>(sizes().in_use_bytes) + options_.buffer_limit_bytes;
  if (error || space.available >= needed) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      fmt::format("defragment {}: {} bytes are free on the disk, {} are needed", options_.directory,
                  space.available, needed));
}

absl::Status LmdbBackend::RunDefragment() {
  KVORUM_RETURN_IF_ERROR(CheckRoomForCopy());
  Env& files = PosixEnv();
  const std::string directory = fmt::format("{}/{}", options_.directory, kNewDatabaseDirectory);
  KVORUM_RETURN_IF_ERROR(files.RemoveTree(directory));
  KVORUM_RETURN_IF_ERROR(files.CreateDirectories(directory));
  const absl::Cleanup remove = [&] { files.RemoveTree(directory).IgnoreError(); };

  std::shared_ptr<LmdbEnv> source;
  {
    absl::MutexLock lock(&mutex_);
    source = state_->env;
  }
  KVORUM_ASSIGN_OR_RETURN(auto copy,
                          OnlineCopy::Start(std::move(source), directory, options_.map_size_bytes));
  const absl::Cleanup forget = [&] {
    absl::MutexLock lock(&mutex_);
    copy_.reset();
  };
  // A commit that has begun without the copy ends before the first step sees anything: hand it over between
  // two commits, on the committer's thread.
  absl::Notification handed_over;
  {
    absl::MutexLock lock(&mutex_);
    if (closing_) return absl::CancelledError("the database is being closed");
    calls_.push_back([&] {
      absl::MutexLock lock(&mutex_);
      copy_ = copy;
      if (closing_) copy_->Cancel();
      handed_over.Notify();
    });
    wake_.Signal();
  }
  handed_over.WaitForNotification();
  KVORUM_RETURN_IF_ERROR(copy->Run());

  absl::Status swapped;
  absl::Notification done;
  {
    absl::MutexLock lock(&mutex_);
    calls_.push_back([&] {
      swapped = SwapDatabase(*copy);
      done.Notify();
    });
    wake_.Signal();
  }
  done.WaitForNotification();
  return swapped;
}

absl::Status LmdbBackend::SwapDatabase(OnlineCopy& copy) {
  {
    absl::MutexLock lock(&mutex_);
    KVORUM_RETURN_IF_ERROR(failure_);
    copy_.reset();  // whatever comes of it, no commit goes to the copy as a copy any more
  }
  KVORUM_RETURN_IF_ERROR(copy.mirror_status());
  KVORUM_RETURN_IF_ERROR(copy.target()->BecomeDurable());
  Env& files = PosixEnv();
  const std::string from = fmt::format("{}/{}/", options_.directory, kNewDatabaseDirectory);
  const std::string to = fmt::format("{}/", options_.directory);
  KVORUM_RETURN_IF_ERROR(
      files.Rename(fmt::format("{}{}", from, kDataFile), fmt::format("{}{}", to, kDataFile)));
  // From here on there is no way back: commits to the old file would be lost, and a rename that is not
  // durable could bring it back after a power cut.
  absl::Status moved =
      files.Rename(fmt::format("{}{}", from, kLmdbLockFile), fmt::format("{}{}", to, kLmdbLockFile));
  if (moved.ok()) moved = files.SyncDirectory(options_.directory);
  if (!moved.ok()) {
    Fail(moved);
    return moved;
  }
  copy.target()->Moved(options_.directory);
  {
    absl::MutexLock lock(&mutex_);
    retired_envs_.push_back(state_->env);
    auto state = std::make_shared<DatabaseState>(*state_);
    state->env = copy.target();
    current_state_.store(state.get(), std::memory_order_release);
    state_ = std::move(state);
  }
  UpdateSizes(*copy.target());
  return absl::OkStatus();
}

}  // namespace kvorum::backend
