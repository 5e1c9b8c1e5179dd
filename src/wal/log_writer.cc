#include "wal/log_writer.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "base/thread_executor.h"

namespace kvorum::wal {

class LogWriter::Impl {
 public:
  Impl(std::unique_ptr<Wal> wal, std::string directory, size_t purge_keep, const Options& options)
      : directory_(std::move(directory)),
        purge_keep_(purge_keep),
        options_(options),
        wal_(std::move(wal)),
        helper_("wal-segments"),
        thread_([this] {
          pthread_setname_np(pthread_self(), "wal-writer");
          Run();
        }) {
    helper_.Post([this] { PurgeSegments(); });
  }

  ~Impl() { Stop(); }

  void Enqueue(Write write) {
    {
      absl::MutexLock lock(&mutex_);
      if (!stopping_) {
        queue_.push_back(std::move(write));
        WakeUp();
        return;
      }
    }
    if (write.done) write.done(absl::CancelledError("the log writer has stopped"));
  }

  void SaveNow(std::vector<Write> writes) {
    bool here = false;
    {
      absl::MutexLock lock(&mutex_);
      here = !writing_ && !stopping_ && queue_.empty();
      writing_ = writing_ || here;
    }
    if (!here) {
      for (Write& write : writes) Enqueue(std::move(write));
      return;
    }
    WriteAll(&writes);
    absl::MutexLock lock(&mutex_);
    writing_ = false;
    if (HasWork()) WakeUp();
  }

  void ReleaseTo(raft::Index index) {
    absl::MutexLock lock(&mutex_);
    if (stopping_) return;
    release_to_ = std::max(release_to_, index);
    WakeUp();
  }

  void Stop() {
    {
      absl::MutexLock lock(&mutex_);
      stopping_ = true;
      WakeUp();
    }
    if (thread_.joinable()) thread_.join();
    stop_helper_ = true;
    helper_.Stop();
  }

 private:
  bool HasWork() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return !queue_.empty() || release_to_ > raft::Index(0) || stopping_;
  }

  /// Whoever is writing looks again when that is done.
  void WakeUp() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (!asleep_ || writing_) return;
    asleep_ = false;
    wake_.Signal();
  }

  void Run() {
    std::vector<Write> writes;
    for (;;) {
      raft::Index release_to;
      {
        absl::MutexLock lock(&mutex_);
        while (writing_ || !HasWork()) {
          asleep_ = true;
          wake_.Wait(&mutex_);
        }
        asleep_ = false;
        if (queue_.empty() && release_to_ == raft::Index(0)) break;
        writing_ = true;
        writes.swap(queue_);
        release_to = std::exchange(release_to_, raft::Index(0));
      }
      if (!writes.empty()) WriteAll(&writes);
      if (release_to > raft::Index(0)) Release(release_to);
      absl::MutexLock lock(&mutex_);
      writing_ = false;
    }
    // A failure has been reported to the write that met it; here only commit indexes are left.
    wal_->Sync().IgnoreError();
  }

  void WriteAll(std::vector<Write>* writes) {
    batches_.clear();
    for (const Write& write : *writes) {
      batches_.push_back(
          {write.hard_state, write.entries, write.snapshot.has_value() ? &*write.snapshot : nullptr});
    }
    const absl::Status status = wal_->Save(batches_);
    for (Write& write : *writes) {
      if (write.done) write.done(status);
    }
    writes->clear();
    if (status.ok() && wal_->WantsNextSegment() && !preparing_.exchange(true)) {
      helper_.Post([this] {
        wal_->PrepareNextSegment(stop_helper_);
        preparing_ = false;
      });
    }
  }

  void Release(raft::Index index) {
    if (wal_->ReleaseTo(index).ok()) helper_.Post([this] { PurgeSegments(); });
  }

  void PurgeSegments() {
    const auto removed = Purge(*options_.env, directory_, purge_keep_);
    if (!removed.ok()) {
      KVORUM_LOG(*options_.logger, kWarn, "failed to purge WAL segments",
                 {"error", std::string(removed.status().message())});
      return;
    }
    for (const std::string& name : *removed) {
      KVORUM_LOG(*options_.logger, kInfo, "purged", {"path", directory_ + "/" + name});
    }
  }

  // Constant after construction.
  const std::string directory_;
  const size_t purge_keep_;
  const Options options_;

  // Owned by the thread that set `writing_`, but for PrepareNextSegment.
  const std::unique_ptr<Wal> wal_;
  std::vector<Batch> batches_;

  std::atomic<bool> preparing_{false};    // a task for the next segment is with the helper
  std::atomic<bool> stop_helper_{false};  // read while that task runs

  absl::Mutex mutex_;
  absl::CondVar wake_;  // signalled only when the writer sleeps
  bool asleep_ ABSL_GUARDED_BY(mutex_) = false;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;  // somebody has wal_
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<Write> queue_ ABSL_GUARDED_BY(mutex_);
  raft::Index release_to_ ABSL_GUARDED_BY(mutex_);  // 0: nothing to release

  ThreadExecutor helper_;
  std::thread thread_;  // last: starts when everything above is ready
};

LogWriter::LogWriter(std::unique_ptr<Wal> wal, std::string directory, size_t purge_keep,
                     const Options& options)
    : impl_(std::make_unique<Impl>(std::move(wal), std::move(directory), purge_keep, options)) {}

LogWriter::~LogWriter() = default;

void LogWriter::Enqueue(Write write) { impl_->Enqueue(std::move(write)); }
void LogWriter::SaveNow(std::vector<Write> writes) { impl_->SaveNow(std::move(writes)); }
void LogWriter::ReleaseTo(raft::Index index) { impl_->ReleaseTo(index); }
void LogWriter::Stop() { impl_->Stop(); }

}  // namespace kvorum::wal
