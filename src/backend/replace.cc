#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/synchronization/notification.h"
#include "backend/backend_format.h"
#include "backend/lmdb_backend_impl.h"
#include "base/check.h"
#include "base/status.h"

namespace kvorum::backend {
namespace {

/// Written out at a time: whoever syncs another file meanwhile, such as the log, may have to wait for it.
constexpr uint64_t kTransactionBytes = 1 << 20;

/// Fills a new database with records in key order, a transaction after the other.
class Filler {
 public:
  explicit Filler(LmdbEnv* env) : env_(env) {}
  ~Filler() {
    if (txn_ != nullptr) mdb_txn_abort(txn_);
  }

  absl::Status Put(Bucket bucket, std::string_view key, std::string_view value) {
    if (txn_ == nullptr) {
      KVORUM_ASSIGN_OR_RETURN(txn_, env_->BeginWrite());
    }
    KVORUM_RETURN_IF_ERROR(PutRecord(env_->TableOf(txn_, bucket), key, value, Place::kBehindAll));
    uncommitted_ += key.size() + value.size();
    return uncommitted_ < kTransactionBytes ? absl::OkStatus() : Commit();
  }

  absl::Status Commit() {
    if (txn_ == nullptr) return absl::OkStatus();
    uncommitted_ = 0;
    KVORUM_RETURN_IF_ERROR(env_->CommitWrite(std::exchange(txn_, nullptr)));
    return env_->WriteOut(WaitFor::kWhatWasBegun);
  }

 private:
  LmdbEnv* const env_;
  MDB_txn* txn_ = nullptr;
  uint64_t uncommitted_ = 0;
};

/// The records of the position; they stand among others.
absl::Status PutPosition(LmdbEnv& env, AppliedPosition position) {
  KVORUM_ASSIGN_OR_RETURN(MDB_txn * txn, env.BeginWrite());
  absl::Cleanup abort = [&] { mdb_txn_abort(txn); };
  for (const auto& [key, number] :
       {std::pair(kConsistentIndexKey, position.index), std::pair(kTermKey, position.term)}) {
    const Bytes value = BigEndian64(number);
    KVORUM_RETURN_IF_ERROR(PutRecord(env.TableOf(txn, Bucket::kMeta), key, value.view(), Place::kAnywhere));
  }
  std::move(abort).Cancel();
  return env.CommitWrite(txn);
}

absl::Status Fill(LmdbEnv& env, ReadView& content, AppliedPosition position,
                  absl::FunctionRef<absl::Status()> may_go_on) {
  Filler filler(&env);
  for (size_t i = 0; i < kBucketCount; ++i) {
    const auto bucket = static_cast<Bucket>(i);
    absl::Status status = may_go_on();
    KVORUM_RETURN_IF_ERROR(status);
    uint64_t records = 0;
    const absl::Status scanned =
        content.Scan(bucket, "", "", [&](std::string_view key, std::string_view value) {
          if (bucket == Bucket::kMeta && (key == kConsistentIndexKey || key == kTermKey)) return true;
          status = filler.Put(bucket, key, value);
          if (status.ok() && ++records % 1024 == 0) status = may_go_on();
          return status.ok();
        });
    KVORUM_RETURN_IF_ERROR(status);
    KVORUM_RETURN_IF_ERROR(scanned);
  }
  KVORUM_RETURN_IF_ERROR(filler.Commit());
  return PutPosition(env, position);
}

}  // namespace

void LmdbBackend::Replace(std::unique_ptr<ReadView> content, AppliedPosition position, Done done) {
  absl::MutexLock lock(&mutex_);
  if (absl::Status status = StatusForRewrite(); !status.ok()) return Refuse(status, std::move(done));
  if (copy_ != nullptr) copy_->Cancel();  // of what is about to go
  PostRewrite([this, content = std::move(content), position, done = std::move(done)]() mutable {
    const MonotonicTime start = SystemClock().Now();
    const absl::Status status = RunReplace(*content, position);
    content.reset();
    if (status.ok()) {
      KVORUM_LOG(*options_.logger, kInfo, "replaced the database", {"path", options_.directory},
                 {"applied-index", position.index}, {"current-db-size-bytes", sizes().total_bytes},
                 {"took", std::chrono::nanoseconds(SystemClock().Now() - start)});
    } else {
      KVORUM_LOG(*options_.logger, kError, "failed to replace the database", {"path", options_.directory},
                 {"error", status.ToString()});
    }
    done(status);
  });
}

absl::Status LmdbBackend::RunReplace(ReadView& content, AppliedPosition position) {
  // What still waits to be committed goes first: should the disk become full now, no commit fails, for there
  // is none meanwhile.
  absl::Status committed;
  absl::Notification done;
  Commit([&](absl::Status status) {
    committed = std::move(status);
    done.Notify();
  });
  done.WaitForNotification();
  KVORUM_RETURN_IF_ERROR(committed);

  KVORUM_ASSIGN_OR_RETURN(const std::string directory, MakeDirectoryForNewDatabase());
  const absl::Cleanup remove = [&] { PosixEnv().RemoveTree(directory).IgnoreError(); };
  KVORUM_RETURN_IF_ERROR(LmdbEnv::Create(directory));
  KVORUM_ASSIGN_OR_RETURN(auto env, LmdbEnv::Open(directory, options_.map_size_bytes, Durability::kOnSync));
  KVORUM_RETURN_IF_ERROR(Fill(*env, content, position, [this] {
    absl::MutexLock lock(&mutex_);
    return StatusForRewrite();
  }));
  KVORUM_RETURN_IF_ERROR(env->Sync());
  KVORUM_ASSIGN_OR_RETURN(std::string last_key, env->LastKey());

  absl::Status taken;
  RunOnCommitter([&] { taken = TakeReplacement(std::move(env), std::move(last_key), position); });
  return taken;
}

absl::Status LmdbBackend::TakeReplacement(std::shared_ptr<LmdbEnv> env, std::string last_key,
                                          AppliedPosition position) {
  {
    absl::MutexLock lock(&mutex_);
    KVORUM_RETURN_IF_ERROR(failure_);
    KVORUM_CHECK(gate_.load() == kIdle, "an entry while the database is replaced");
    for (const auto& buffer : state_->buffers) {
      KVORUM_CHECK(buffer->unchanged(), "a write while the database is replaced");
    }
  }
  KVORUM_RETURN_IF_ERROR(MoveIntoPlace(*env));
  {
    absl::MutexLock lock(&mutex_);
    retired_envs_.push_back(state_->env);
    auto state = std::make_shared<DatabaseState>(*state_);
    state->env = env;
    // Which keys are above all others is another question now.
    auto active = std::make_shared<WriteBuffer>(std::move(last_key));
    active->waiters = std::move(state->buffers.back()->waiters);
    state->buffers.back() = std::move(active);
    active_ = state->buffers.back().get();
    counted_bytes_ = 0;
    current_state_.store(state.get(), std::memory_order_release);
    state_ = std::move(state);
    SetApplied(position);
  }
  UpdateSizes(*env);
  return absl::OkStatus();
}

}  // namespace kvorum::backend
