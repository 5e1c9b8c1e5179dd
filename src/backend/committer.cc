#include <pthread.h>

#include <algorithm>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/time/time.h"
#include "backend/lmdb_backend_impl.h"
#include "base/status.h"

namespace kvorum::backend {
namespace {

/// Buffers that one commit takes when several wait: enough to catch up with a slow disk, few enough that a
/// commit stays short.
constexpr size_t kBuffersInCommit = 4;

}  // namespace

void LmdbBackend::RunCommitter() {
  pthread_setname_np(pthread_self(), "kv-commit");
  for (;;) {
    {
      absl::MutexLock lock(&mutex_);
      if (!WaitForWork()) return;
    }
    RunCalls();
    CommitSealed();
    Reap();
  }
}

bool LmdbBackend::WaitForWork() {
  for (;;) {
    RotateIfDue();
    if (!calls_.empty() || reap_ || (!sealed_.empty() && failure_.ok())) return true;
    if (closing_ && rewriter_ == nullptr && rewrites_ == 0) {
      if (!rotation_wanted_.load()) return false;
    }
    if (deadline_ && failure_.ok()) {
      const auto left = *deadline_ - SystemClock().Now();
      if (left > std::chrono::nanoseconds(0)) wake_.WaitWithTimeout(&mutex_, absl::FromChrono(left));
    } else {
      wake_.Wait(&mutex_);
    }
  }
}

void LmdbBackend::RotateIfDue() {
  const bool due = deadline_ && SystemClock().Now() >= *deadline_;
  if (!due && !commit_now_ && !closing_) return;
  commit_now_ = false;
  deadline_.reset();
  rotation_wanted_.store(true);
  int idle = kIdle;
  if (!gate_.compare_exchange_strong(idle, kRotating)) return;  // the writer rotates at its entry's end
  rotation_wanted_.store(false);
  Rotate();
  gate_.store(kIdle);
}

void LmdbBackend::CommitSealed() {
  Buffers batch;
  std::shared_ptr<LmdbEnv> env;
  std::shared_ptr<OnlineCopy> copy;
  {
    absl::MutexLock lock(&mutex_);
    if (sealed_.empty() || !failure_.ok()) return;
    batch.assign(sealed_.begin(), sealed_.begin() + std::min(sealed_.size(), kBuffersInCommit));
    env = state_->env;
    copy = copy_;
  }
  const auto write = [&] { return Write(*env, batch); };
  const absl::Status status = copy == nullptr ? write() : copy->Commit(write, batch);
  if (!status.ok()) return Fail(status);
  UpdateSizes(*env);

  std::vector<Done> waiters;
  uint64_t bytes = 0;
  {
    absl::MutexLock lock(&mutex_);
    sealed_.erase(sealed_.begin(), sealed_.begin() + batch.size());
    auto state = std::make_shared<DatabaseState>(*state_);
    state->buffers.erase(state->buffers.begin(), state->buffers.begin() + batch.size());
    current_state_.store(state.get(), std::memory_order_release);
    state_ = std::move(state);
    for (const auto& buffer : batch) {
      bytes += buffer->bytes();
      std::move(buffer->waiters.begin(), buffer->waiters.end(), std::back_inserter(waiters));
      buffer->waiters.clear();
    }
    buffered_bytes_.fetch_sub(bytes, std::memory_order_relaxed);
    space_.SignalAll();
  }
  std::move(batch.begin(), batch.end(), std::back_inserter(retired_buffers_));
  for (Done& done : waiters) done(absl::OkStatus());
}

absl::Status LmdbBackend::Write(LmdbEnv& env, const Buffers& batch) {
  if (std::all_of(batch.begin(), batch.end(), [](const auto& buffer) { return buffer->unchanged(); })) {
    return absl::OkStatus();
  }
  const MonotonicTime start = SystemClock().Now();
  KVORUM_ASSIGN_OR_RETURN(MDB_txn * txn, env.BeginWrite());
  absl::Cleanup abort = [&] { mdb_txn_abort(txn); };
  MonotonicTime last = start;
  std::chrono::nanoseconds deleting{0};
  bool in_deletions = false;
  // Deletions stand together in a buffer: the clock is read where a run of them begins and ends.
  const auto switch_to = [&](bool deletions) {
    if (deletions == in_deletions) return;
    const MonotonicTime now = SystemClock().Now();
    if (in_deletions) deleting += now - last;
    last = now;
    in_deletions = deletions;
  };
  for (const auto& buffer : batch) {
    KVORUM_RETURN_IF_ERROR(buffer->ForEachChange([&](const BufferedChange& change) {
      switch_to(!change.value);
      const Table table = env.TableOf(txn, change.bucket);
      if (!change.value) return DeleteRecord(table, change.key);
      return PutRecord(table, change.key, *change.value,
                       change.appended ? Place::kBehindAll : Place::kAnywhere);
    }));
  }
  switch_to(false);
  const MonotonicTime written = SystemClock().Now();
  std::move(abort).Cancel();
  KVORUM_RETURN_IF_ERROR(env.CommitWrite(txn));
  const MonotonicTime end = SystemClock().Now();
  metrics_.commit_rebalance.Observe(deleting);
  metrics_.commit_spill.Observe(written - start - deleting);
  metrics_.commit_write.Observe(end - written);
  metrics_.commit.Observe(end - start);
  return absl::OkStatus();
}

void LmdbBackend::Fail(absl::Status status) {
  KVORUM_LOG(*options_.logger, kError, "failed to commit backend", {"error", status.ToString()});
  std::vector<Done> waiters;
  {
    absl::MutexLock lock(&mutex_);
    failure_ = status;
    for (const auto& buffer : state_->buffers) {
      std::move(buffer->waiters.begin(), buffer->waiters.end(), std::back_inserter(waiters));
      buffer->waiters.clear();
    }
    space_.SignalAll();
  }
  for (Done& done : waiters) done(status);
  if (options_.on_failure) options_.on_failure(status);
}

void LmdbBackend::UpdateSizes(LmdbEnv& env) {
  const absl::StatusOr<Sizes> sizes = env.ReadSizes();
  if (!sizes.ok()) {
    KVORUM_LOG(*options_.logger, kWarn, "failed to read backend sizes", {"error", sizes.status().ToString()});
    return;
  }
  total_bytes_.store(sizes->total_bytes, std::memory_order_relaxed);
  in_use_bytes_.store(sizes->in_use_bytes, std::memory_order_relaxed);
  metrics_.total_bytes.Set(sizes->total_bytes);
  metrics_.in_use_bytes.Set(sizes->in_use_bytes);
}

void LmdbBackend::Reap() {
  {
    absl::MutexLock lock(&mutex_);
    reap_ = false;
  }
  // What is retired is in no new view: a count of one cannot rise again.
  std::erase_if(retired_buffers_, [](const auto& buffer) { return buffer.use_count() == 1; });
  std::erase_if(retired_envs_, [](const auto& env) { return env.use_count() == 1; });
}

void LmdbBackend::RunCalls() {
  std::deque<absl::AnyInvocable<void()>> calls;
  {
    absl::MutexLock lock(&mutex_);
    calls.swap(calls_);
  }
  for (auto& call : calls) call();
}

}  // namespace kvorum::backend
