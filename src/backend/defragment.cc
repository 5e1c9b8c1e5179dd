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

void LmdbBackend::Defragment(Done done) {
  absl::MutexLock lock(&mutex_);
  if (defragmenting_) {
    return Refuse(absl::FailedPreconditionError("a defragmentation is already running"), std::move(done));
  }
  if (absl::Status status = StatusForRewrite(); !status.ok()) return Refuse(status, std::move(done));
  defragmenting_ = true;
  PostRewrite([this, done = std::move(done)]() mutable {
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
    }
    done(status);
  });
}

absl::Status LmdbBackend::StatusForRewrite() const {
  if (!failure_.ok()) return failure_;
  return closing_ ? absl::CancelledError("the database is being closed") : absl::OkStatus();
}

void LmdbBackend::Refuse(absl::Status status, Done done) {
  calls_.push_back([done = std::move(done), status = std::move(status)]() mutable { done(status); });
  wake_.Signal();
}

void LmdbBackend::PostRewrite(absl::AnyInvocable<void()> rewrite) {
  ++rewrites_;
  if (rewriter_ == nullptr) rewriter_ = std::make_unique<ThreadExecutor>("kv-defrag");
  rewriter_->Post([this, rewrite = std::move(rewrite)]() mutable {
    rewrite();
    absl::MutexLock lock(&mutex_);
    --rewrites_;
    reap_ = true;  // the old file
    wake_.Signal();
  });
}

absl::StatusOr<std::string> LmdbBackend::MakeDirectoryForNewDatabase() const {
  std::string directory = fmt::format("{}/{}", options_.directory, kNewDatabaseDirectory);
  KVORUM_RETURN_IF_ERROR(PosixEnv().RemoveTree(directory));
  KVORUM_RETURN_IF_ERROR(PosixEnv().CreateDirectories(directory));
  return directory;
}

void LmdbBackend::RunOnCommitter(absl::AnyInvocable<void()> call) {
  absl::Notification done;
  {
    absl::MutexLock lock(&mutex_);
    calls_.push_back([&] {
      call();
      done.Notify();
    });
    wake_.Signal();
  }
  done.WaitForNotification();
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
  KVORUM_ASSIGN_OR_RETURN(const std::string directory, MakeDirectoryForNewDatabase());
  const absl::Cleanup remove = [&] { PosixEnv().RemoveTree(directory).IgnoreError(); };

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
  RunOnCommitter([&] {
    absl::MutexLock lock(&mutex_);
    copy_ = copy;
    if (closing_ || rewrites_ > 1) copy_->Cancel();
  });
  KVORUM_RETURN_IF_ERROR(copy->Run());

  absl::Status swapped;
  RunOnCommitter([&] { swapped = SwapDatabase(*copy); });
  return swapped;
}

absl::Status LmdbBackend::SwapDatabase(OnlineCopy& copy) {
  {
    absl::MutexLock lock(&mutex_);
    KVORUM_RETURN_IF_ERROR(failure_);
    copy_.reset();  // whatever comes of it, no commit goes to the copy as a copy any more
  }
  KVORUM_RETURN_IF_ERROR(copy.mirror_status());
  KVORUM_RETURN_IF_ERROR(MoveIntoPlace(*copy.target()));
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

absl::Status LmdbBackend::MoveIntoPlace(LmdbEnv& env) {
  KVORUM_RETURN_IF_ERROR(env.BecomeDurable());
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
  env.Moved(options_.directory);
  return absl::OkStatus();
}

}  // namespace kvorum::backend
