#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "backend/lmdb_backend.h"
#include "backend/lmdb_env.h"
#include "backend/lmdb_view.h"
#include "backend/online_copy.h"
#include "backend/write_buffer.h"
#include "base/env.h"
#include "base/thread_executor.h"

namespace kvorum::backend {

/// The backend over LMDB. Three kinds of threads:
///
///     writer:     BeginEntry, Put…, EndEntry: into the active buffer, without a lock
///     readers:    NewReadView: shares the buffers and a read transaction, under a short lock
///     committer:  waits for the interval, a full buffer or a Commit; rotates (the active buffer is sealed
///     and
///                 a new one takes its place), moves sealed buffers into LMDB, commits, drops them
///
/// A view takes the buffers and its transaction in one turn of `mutex_`, so what LMDB has by then is in the
/// buffers or older; a transaction taken after the lock could have changes that were made after the view.
///
/// Rotation happens between entries only: `gate_` is kEntry from BeginEntry to EndEntry, and the committer
/// passes it with kRotating. Where it finds an entry it leaves `rotation_wanted_` behind and the writer
/// rotates at the entry's end. Both sides first write their own word and then read the other's, so one of
/// them sees it.
class LmdbBackend final : public Backend, private ViewOwner {
 public:
  using Done = absl::AnyInvocable<void(absl::Status)>;

  LmdbBackend(LmdbOptions options, std::unique_ptr<FileLock> lock, std::shared_ptr<LmdbEnv> env,
              std::string last_key, AppliedPosition applied, Sizes sizes);
  ~LmdbBackend() override;

  void BeginEntry() override;
  void EndEntry(AppliedPosition position) override;
  void Put(Bucket bucket, std::string_view key, Bytes value) override;
  void Delete(Bucket bucket, std::string_view key) override;
  std::unique_ptr<ReadView> NewReadView() override;
  AppliedPosition applied() const override;
  void Commit(Done done) override;
  Sizes sizes() const override;
  void Replace(std::unique_ptr<ReadView> content, AppliedPosition position, Done done) override;
  void Defragment(Done done) override;
  absl::Status Close() override;

 private:
  using Buffers = std::vector<std::shared_ptr<WriteBuffer>>;

  struct Metrics {
    explicit Metrics(metrics::Registry& registry);
    metrics::Histogram& commit;
    metrics::Histogram& commit_rebalance;
    metrics::Histogram& commit_spill;
    metrics::Histogram& commit_write;
    metrics::Histogram& defragment;
    metrics::Gauge& defragmenting;
    metrics::Gauge& open_views;
    metrics::Gauge& total_bytes;
    metrics::Gauge& in_use_bytes;
  };

  // The writer's side (lmdb_backend.cc).
  void EnterGate() ABSL_LOCKS_EXCLUDED(mutex_);
  void LeaveGate() ABSL_LOCKS_EXCLUDED(mutex_);
  /// After each entry, and each write outside of one.
  void AfterWrites() ABSL_LOCKS_EXCLUDED(mutex_);
  void WaitForSpace() ABSL_LOCKS_EXCLUDED(mutex_);
  void SetApplied(AppliedPosition position);
  void Rotate() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ViewClosed(const DatabaseState* state) override ABSL_LOCKS_EXCLUDED(mutex_);

  // The committer's side (committer.cc).
  void RunCommitter() ABSL_LOCKS_EXCLUDED(mutex_);
  /// Waits until there is something to do; false when there is nothing more and the backend is closing.
  bool WaitForWork() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  /// Rotates where an interval is over, or a Commit or Close wants it. Where an entry is under way it is the
  /// writer who rotates, a little later.
  void RotateIfDue() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CommitSealed() ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status Write(LmdbEnv& env, const Buffers& batch);
  void Fail(absl::Status status) ABSL_LOCKS_EXCLUDED(mutex_);
  void UpdateSizes(LmdbEnv& env);
  /// Drops buffers and environments that no view has any more.
  void Reap() ABSL_LOCKS_EXCLUDED(mutex_);
  void RunCalls() ABSL_LOCKS_EXCLUDED(mutex_);

  // Rewriting the file (defragment.cc, replace.cc), on `rewriter_` but for the swap.
  /// OK where one may begin.
  absl::Status StatusForRewrite() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  /// Calls `done` on the committer's thread.
  void Refuse(absl::Status status, Done done) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void PostRewrite(absl::AnyInvocable<void()> rewrite) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  /// An empty one.
  absl::StatusOr<std::string> MakeDirectoryForNewDatabase() const;
  /// Runs `call` between two commits and waits for it.
  void RunOnCommitter(absl::AnyInvocable<void()> call) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status CheckRoomForCopy() const;
  absl::Status RunDefragment() ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status SwapDatabase(OnlineCopy& copy) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status RunReplace(ReadView& content, AppliedPosition position) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status TakeReplacement(std::shared_ptr<LmdbEnv> env, std::string last_key, AppliedPosition position)
      ABSL_LOCKS_EXCLUDED(mutex_);
  /// Makes the new database the one that is found at the next start. On the committer's thread.
  absl::Status MoveIntoPlace(LmdbEnv& env) ABSL_LOCKS_EXCLUDED(mutex_);

  // Constant, but for `on_failure`, which is the committer's.
  LmdbOptions options_;
  std::unique_ptr<FileLock> lock_;                   ///< until closed
  std::unique_ptr<metrics::Registry> own_registry_;  ///< where the options bring none
  Metrics metrics_;

  // The writer's; the committer's while it holds `gate_` as kRotating.
  enum Gate : int { kIdle, kEntry, kRotating };
  WriteBuffer* active_ = nullptr;  ///< the last buffer of `state_`
  bool in_entry_ = false;
  bool dirty_ = false;          ///< the committer knows that the active buffer has changes
  uint64_t counted_bytes_ = 0;  ///< of the active buffer, in `buffered_bytes_`
  AppliedPosition last_position_;

  // Atomics: written by one side while others look.
  std::atomic<int> gate_{kIdle};
  std::atomic<bool> rotation_wanted_{false};
  std::atomic<uint64_t> sequence_{0};
  std::atomic<uint64_t> buffered_bytes_{0};
  std::atomic<uint64_t> position_version_{0};  ///< odd while the position is being written
  std::atomic<uint64_t> applied_index_{0};
  std::atomic<uint64_t> applied_term_{0};
  std::atomic<int64_t> total_bytes_{0};
  std::atomic<int64_t> in_use_bytes_{0};
  std::atomic<const DatabaseState*> current_state_{nullptr};  ///< `state_`, to compare with

  mutable absl::Mutex mutex_;
  absl::CondVar wake_;   ///< the committer
  absl::CondVar space_;  ///< the writer, when the buffers are over their limit
  std::shared_ptr<const DatabaseState> state_ ABSL_GUARDED_BY(mutex_);
  std::deque<std::shared_ptr<WriteBuffer>> sealed_ ABSL_GUARDED_BY(mutex_);
  std::optional<MonotonicTime> deadline_ ABSL_GUARDED_BY(mutex_);  ///< of the active buffer
  bool commit_now_ ABSL_GUARDED_BY(mutex_) = false;
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  bool reap_ ABSL_GUARDED_BY(mutex_) = false;
  bool defragmenting_ ABSL_GUARDED_BY(mutex_) = false;
  int rewrites_ ABSL_GUARDED_BY(mutex_) = 0;  ///< posted to `rewriter_` and not finished
  absl::Status failure_ ABSL_GUARDED_BY(mutex_);
  std::deque<absl::AnyInvocable<void()>> calls_ ABSL_GUARDED_BY(mutex_);  ///< for the committer's thread
  std::shared_ptr<OnlineCopy> copy_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<ThreadExecutor> rewriter_ ABSL_GUARDED_BY(mutex_);

  // The committer's.
  Buffers retired_buffers_;
  std::vector<std::shared_ptr<LmdbEnv>> retired_envs_;

  std::thread committer_;  // last: starts when everything above is ready
};

}  // namespace kvorum::backend
