#include "backend/lmdb_backend.h"

#include <utility>

#include "absl/cleanup/cleanup.h"
#include "backend/backend_format.h"
#include "backend/lmdb_backend_impl.h"
#include "base/check.h"
#include "base/status.h"
#include "fmt/format.h"

namespace kvorum::backend {
namespace {

/// A buffer is rotated when it has this part of what may be buffered.
constexpr uint64_t kBuffersInLimit = 8;

/// Makes the database in a directory of its own and moves it into place, so that a half-made one is never
/// taken for a damaged one.
absl::Status CreateInPlace(const std::string& directory) {
  Env& files = PosixEnv();
  const std::string fresh = fmt::format("{}/{}", directory, kNewDatabaseDirectory);
  KVORUM_RETURN_IF_ERROR(files.CreateDirectories(fresh));
  KVORUM_RETURN_IF_ERROR(LmdbEnv::Create(fresh));
  KVORUM_RETURN_IF_ERROR(
      files.Rename(fmt::format("{}/{}", fresh, kDataFile), fmt::format("{}/{}", directory, kDataFile)));
  KVORUM_RETURN_IF_ERROR(files.RemoveTree(fresh));
  KVORUM_RETURN_IF_ERROR(files.SyncDirectory(directory));
  return files.SyncDirectory(directory + "/..");
}

}  // namespace

absl::StatusOr<std::unique_ptr<Backend>> OpenLmdbBackend(LmdbOptions options) {
  Env& files = PosixEnv();
  const std::string& directory = options.directory;
  const MonotonicTime start = SystemClock().Now();
  KVORUM_RETURN_IF_ERROR(files.CreateDirectories(directory));
  const std::string lock_path = fmt::format("{}/{}", directory, kOwnerLockFile);
  const bool lock_is_new = !files.Exists(lock_path);
  KVORUM_ASSIGN_OR_RETURN(std::unique_ptr<FileLock> lock, files.LockFile(lock_path));

  const bool exists = files.Exists(fmt::format("{}/{}", directory, kDataFile));
  if (exists) {
    const absl::Status valid = LmdbEnv::Validate(directory);
    if (!valid.ok()) {
      // Leave a directory that is not ours as it was.
      if (lock_is_new) files.RemoveFile(lock_path).IgnoreError();
      return valid;
    }
  }
  KVORUM_RETURN_IF_ERROR(files.RemoveTree(fmt::format("{}/{}", directory, kNewDatabaseDirectory)));
  if (!exists) KVORUM_RETURN_IF_ERROR(CreateInPlace(directory));

  KVORUM_ASSIGN_OR_RETURN(auto env,
                          LmdbEnv::Open(directory, options.map_size_bytes, Durability::kEachCommit));
  KVORUM_ASSIGN_OR_RETURN(const AppliedPosition applied, env->ReadPosition());
  KVORUM_ASSIGN_OR_RETURN(std::string last_key, env->LastKey());
  KVORUM_ASSIGN_OR_RETURN(const Sizes sizes, env->ReadSizes());
  KVORUM_LOG(*options.logger, kInfo, "opened backend db", {"path", env->data_path()},
             {"took", std::chrono::nanoseconds(SystemClock().Now() - start)});
  return std::make_unique<LmdbBackend>(std::move(options), std::move(lock), std::move(env),
                                       std::move(last_key), applied, sizes);
}

LmdbBackend::Metrics::Metrics(metrics::Registry& registry)
    : commit(registry.NewHistogram("etcd_disk_backend_commit_duration_seconds",
                                   "The latency distributions of commit called by backend.", 0.001, 2, 14)),
      commit_rebalance(registry.NewHistogram(
          "etcd_debugging_disk_backend_commit_rebalance_duration_seconds",
          "The latency distributions of removing records in a backend commit.", 0.001, 2, 14)),
      commit_spill(registry.NewHistogram("etcd_debugging_disk_backend_commit_spill_duration_seconds",
                                         "The latency distributions of adding records in a backend commit.",
                                         0.001, 2, 14)),
      commit_write(registry.NewHistogram(
          "etcd_debugging_disk_backend_commit_write_duration_seconds",
          "The latency distributions of writing and syncing in a backend commit.", 0.001, 2, 14)),
      defragment(registry.NewHistogram("etcd_disk_backend_defrag_duration_seconds",
                                       "The latency distribution of backend defragmentation.", 0.1, 2, 13)),
      defragmenting(
          registry.NewGauge("etcd_disk_defrag_inflight",
                            "Whether or not defrag is active on the member. 1 means active, 0 means not.")),
      open_views(registry.NewGauge("etcd_mvcc_db_open_read_transactions",
                                   "The number of currently open read transactions.")),
      total_bytes(registry.NewGauge("etcd_mvcc_db_total_size_in_bytes",
                                    "Total size of the underlying database physically allocated in bytes.")),
      in_use_bytes(registry.NewGauge("etcd_mvcc_db_total_size_in_use_in_bytes",
                                     "Total size of the underlying database logically in use in bytes.")) {
  registry.NewHistogram("etcd_disk_backend_snapshot_duration_seconds",
                        "The latency distribution of backend snapshots.", 0.01, 2, 17);
}

LmdbBackend::LmdbBackend(LmdbOptions options, std::unique_ptr<FileLock> lock, std::shared_ptr<LmdbEnv> env,
                         std::string last_key, AppliedPosition applied, Sizes sizes)
    : options_(std::move(options)),
      lock_(std::move(lock)),
      own_registry_(options_.metrics == nullptr ? std::make_unique<metrics::Registry>() : nullptr),
      metrics_(options_.metrics == nullptr ? *own_registry_ : *options_.metrics) {
  auto state = std::make_shared<DatabaseState>();
  state->env = std::move(env);
  state->buffers.push_back(std::make_shared<WriteBuffer>(std::move(last_key)));
  active_ = state->buffers.back().get();
  last_position_ = applied;
  applied_index_ = applied.index;
  applied_term_ = applied.term;
  total_bytes_ = sizes.total_bytes;
  in_use_bytes_ = sizes.in_use_bytes;
  metrics_.total_bytes.Set(sizes.total_bytes);
  metrics_.in_use_bytes.Set(sizes.in_use_bytes);
  {
    absl::MutexLock guard(&mutex_);
    current_state_ = state.get();
    state_ = std::move(state);
  }
  committer_ = std::thread([this] { RunCommitter(); });
}

LmdbBackend::~LmdbBackend() {
  if (committer_.joinable()) Close().IgnoreError();
}

void LmdbBackend::EnterGate() {
  for (;;) {
    int idle = kIdle;
    if (gate_.compare_exchange_strong(idle, kEntry)) return;
    KVORUM_CHECK(idle == kRotating, "a second writer");
    absl::MutexLock wait_for_the_rotation(&mutex_);
  }
}

void LmdbBackend::LeaveGate() {
  gate_.store(kIdle);
  if (!rotation_wanted_.load()) return;
  absl::MutexLock lock(&mutex_);
  if (!rotation_wanted_.load()) return;
  rotation_wanted_.store(false);
  Rotate();
  wake_.Signal();
}

void LmdbBackend::BeginEntry() {
  KVORUM_CHECK(!in_entry_, "an entry inside an entry");
  EnterGate();
  in_entry_ = true;
}

void LmdbBackend::EndEntry(AppliedPosition position) {
  KVORUM_CHECK(in_entry_, "the end of no entry");
  KVORUM_CHECK(position.index >= last_position_.index, "applied {} after {}", position.index,
               last_position_.index);
  active_->SetPosition(position);
  SetApplied(position);
  in_entry_ = false;
  AfterWrites();
}

void LmdbBackend::SetApplied(AppliedPosition position) {
  last_position_ = position;
  const uint64_t version = position_version_.load(std::memory_order_relaxed);
  position_version_.store(version + 1, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_release);
  applied_index_.store(position.index, std::memory_order_relaxed);
  applied_term_.store(position.term, std::memory_order_relaxed);
  position_version_.store(version + 2, std::memory_order_release);
}

void LmdbBackend::Put(Bucket bucket, std::string_view key, Bytes value) {
  KVORUM_CHECK(!key.empty(), "an empty key in bucket {}", BucketName(bucket));
  if (!in_entry_) EnterGate();
  const uint64_t sequence = sequence_.load(std::memory_order_relaxed) + 1;
  active_->Put(bucket, key, std::move(value), sequence);
  sequence_.store(sequence, std::memory_order_release);
  if (!in_entry_) AfterWrites();
}

void LmdbBackend::Delete(Bucket bucket, std::string_view key) {
  KVORUM_CHECK(!key.empty(), "an empty key in bucket {}", BucketName(bucket));
  if (!in_entry_) EnterGate();
  const uint64_t sequence = sequence_.load(std::memory_order_relaxed) + 1;
  active_->Delete(bucket, key, sequence);
  sequence_.store(sequence, std::memory_order_release);
  if (!in_entry_) AfterWrites();
}

void LmdbBackend::AfterWrites() {
  const uint64_t bytes = active_->bytes();
  const uint64_t buffered =
      buffered_bytes_.fetch_add(bytes - counted_bytes_, std::memory_order_relaxed) + bytes - counted_bytes_;
  counted_bytes_ = bytes;
  const bool over_limit = buffered > options_.buffer_limit_bytes;
  const bool full = over_limit || active_->writes() >= options_.batch_limit_writes ||
                    bytes > options_.buffer_limit_bytes / kBuffersInLimit;
  if (full || !dirty_) {
    absl::MutexLock lock(&mutex_);
    if (full) {
      Rotate();
    } else {
      dirty_ = true;
      deadline_ = SystemClock().Now() + options_.batch_interval;
    }
    wake_.Signal();
  }
  LeaveGate();
  if (over_limit) WaitForSpace();
}

void LmdbBackend::WaitForSpace() {
  absl::MutexLock lock(&mutex_);
  while (failure_.ok() && buffered_bytes_.load(std::memory_order_relaxed) > options_.buffer_limit_bytes) {
    space_.Wait(&mutex_);
  }
}

void LmdbBackend::Rotate() {
  deadline_.reset();
  dirty_ = false;
  if (active_->unchanged() && active_->waiters.empty()) return;
  sealed_.push_back(state_->buffers.back());
  auto state = std::make_shared<DatabaseState>(*state_);
  state->buffers.push_back(std::make_shared<WriteBuffer>(active_->last_key()));
  active_ = state->buffers.back().get();
  counted_bytes_ = 0;
  current_state_.store(state.get(), std::memory_order_release);
  state_ = std::move(state);
}

std::unique_ptr<ReadView> LmdbBackend::NewReadView() {
  metrics_.open_views.Add(1);
  std::shared_ptr<const DatabaseState> state;
  absl::StatusOr<MDB_txn*> txn = nullptr;
  uint64_t sequence = 0;
  {
    absl::MutexLock lock(&mutex_);
    state = state_;
    txn = state->env->BeginRead();
    sequence = sequence_.load(std::memory_order_acquire);
  }
  ViewOwner& owner = *this;
  return std::make_unique<LmdbView>(owner, std::move(state), std::move(txn), sequence);
}

void LmdbBackend::ViewClosed(const DatabaseState* state) {
  metrics_.open_views.Add(-1);
  if (state == current_state_.load(std::memory_order_acquire)) return;
  // It may have been the last one with an old buffer or file.
  absl::MutexLock lock(&mutex_);
  reap_ = true;
  wake_.Signal();
}

AppliedPosition LmdbBackend::applied() const {
  for (;;) {
    const uint64_t before = position_version_.load(std::memory_order_acquire);
    const AppliedPosition position = {.index = applied_index_.load(std::memory_order_relaxed),
                                      .term = applied_term_.load(std::memory_order_relaxed)};
    std::atomic_thread_fence(std::memory_order_acquire);
    if (before % 2 == 0 && before == position_version_.load(std::memory_order_relaxed)) return position;
  }
}

void LmdbBackend::Commit(Done done) {
  absl::MutexLock lock(&mutex_);
  if (!failure_.ok()) {
    calls_.push_back([done = std::move(done), status = failure_]() mutable { done(status); });
  } else {
    state_->buffers.back()->waiters.push_back(std::move(done));
    commit_now_ = true;
  }
  wake_.Signal();
}

Sizes LmdbBackend::sizes() const {
  const auto buffered = static_cast<int64_t>(buffered_bytes_.load(std::memory_order_relaxed));
  const int64_t in_use = in_use_bytes_.load(std::memory_order_relaxed) + buffered;
  return {.total_bytes = std::max(total_bytes_.load(std::memory_order_relaxed), in_use),
          .in_use_bytes = in_use};
}

absl::Status LmdbBackend::Close() {
  KVORUM_CHECK(gate_.load() != kEntry, "closed in the middle of an entry");
  std::unique_ptr<ThreadExecutor> rewriter;
  {
    absl::MutexLock lock(&mutex_);
    closing_ = true;
    if (copy_ != nullptr) copy_->Cancel();
    rewriter = std::move(rewriter_);
  }
  if (rewriter != nullptr) rewriter->Stop();  // the committer still runs: a swap may be waiting for it
  {
    absl::MutexLock lock(&mutex_);
    wake_.Signal();
  }
  committer_.join();
  retired_buffers_.clear();
  retired_envs_.clear();
  absl::MutexLock lock(&mutex_);
  state_.reset();
  lock_.reset();
  return failure_;
}

}  // namespace kvorum::backend
