#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/synchronization/mutex.h"
#include "backend/lmdb_env.h"
#include "backend/write_buffer.h"

namespace kvorum::backend {

/// A lock that is given in the order in which it was asked for: a committer that is never idle does not keep
/// the copier out.
class ABSL_LOCKABLE TurnLock {
 public:
  void Lock() ABSL_EXCLUSIVE_LOCK_FUNCTION();
  void Unlock() ABSL_UNLOCK_FUNCTION();
  /// Tells the compiler, where it cannot see it, that the caller has the lock.
  void AssertHeld() const ABSL_ASSERT_EXCLUSIVE_LOCK() {}

 private:
  absl::Mutex mutex_;
  absl::CondVar turn_;
  uint64_t next_ticket_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t serving_ ABSL_GUARDED_BY(mutex_) = 0;
};

class ABSL_SCOPED_LOCKABLE TurnLockHolder {
 public:
  explicit TurnLockHolder(TurnLock& lock) ABSL_EXCLUSIVE_LOCK_FUNCTION(lock) : lock_(lock) { lock.Lock(); }
  ~TurnLockHolder() ABSL_UNLOCK_FUNCTION() { lock_.Unlock(); }
  TurnLockHolder(const TurnLockHolder&) = delete;
  TurnLockHolder& operator=(const TurnLockHolder&) = delete;

 private:
  TurnLock& lock_;
};

/// A copy of a database, made in steps while commits to the source go on. Each step copies the next few
/// records of a fresh transaction, so that no long-lived transaction keeps the source's free pages from being
/// used again; each commit between two steps is repeated in the copy as far as the copy has come.
///
///     copier's thread:    Run ── step ── step ──────────── step ── (complete)
///     committer's thread:                  Commit (source, then copy)      Commit …
class OnlineCopy {
 public:
  /// `directory` exists and is empty.
  static absl::StatusOr<std::shared_ptr<OnlineCopy>> Start(std::shared_ptr<LmdbEnv> source,
                                                           std::string directory, uint64_t map_size_bytes);

  /// Copies everything; afterwards the copy follows the source. DataLoss where a record is damaged, Cancelled
  /// after Cancel. On the copier's thread.
  absl::Status Run();
  /// Any thread.
  void Cancel() { cancelled_.store(true, std::memory_order_relaxed); }

  /// Runs `commit`, which moves `buffers` into the source, and where it succeeds repeats them in the copy.
  /// The status of `commit`: an error in the copy ends the copy only. On the committer's thread.
  absl::Status Commit(absl::FunctionRef<absl::Status()> commit,
                      const std::vector<std::shared_ptr<WriteBuffer>>& buffers);

  /// Whether a commit could not be repeated.
  absl::Status mirror_status() const;
  const std::shared_ptr<LmdbEnv>& target() const { return target_; }

 private:
  OnlineCopy(std::shared_ptr<LmdbEnv> source, std::shared_ptr<LmdbEnv> target)
      : source_(std::move(source)), target_(std::move(target)) {}

  /// Copies a step's worth; the bytes copied.
  absl::Status Step() ABSL_EXCLUSIVE_LOCKS_REQUIRED(turn_);
  absl::Status Mirror(const std::vector<std::shared_ptr<WriteBuffer>>& buffers)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(turn_);
  bool Reached(Bucket bucket, std::string_view key) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(turn_);

  const std::shared_ptr<LmdbEnv> source_;
  const std::shared_ptr<LmdbEnv> target_;
  std::atomic<bool> cancelled_{false};

  /// Held for a step, and for a commit; neither readers nor the writer ever need it.
  mutable TurnLock turn_;
  size_t bucket_ ABSL_GUARDED_BY(turn_) = 0;     ///< being copied; kBucketCount when complete
  std::string last_key_ ABSL_GUARDED_BY(turn_);  ///< the last one copied of it; empty: none
  absl::Status mirror_status_ ABSL_GUARDED_BY(turn_);
};

}  // namespace kvorum::backend
