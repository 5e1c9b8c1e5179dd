#include "backend/online_copy.h"

#include <utility>

#include "absl/cleanup/cleanup.h"
#include "base/status.h"

namespace kvorum::backend {
namespace {

/// A step holds up a commit for a few milliseconds at most.
constexpr uint64_t kStepBytes = 1 << 20;

}  // namespace

void TurnLock::Lock() {
  absl::MutexLock lock(&mutex_);
  const uint64_t ticket = next_ticket_++;
  while (serving_ != ticket) turn_.Wait(&mutex_);
}

void TurnLock::Unlock() {
  absl::MutexLock lock(&mutex_);
  ++serving_;
  turn_.SignalAll();
}

absl::StatusOr<std::shared_ptr<OnlineCopy>> OnlineCopy::Start(std::shared_ptr<LmdbEnv> source,
                                                              std::string directory,
                                                              uint64_t map_size_bytes) {
  KVORUM_RETURN_IF_ERROR(LmdbEnv::Create(directory));
  KVORUM_ASSIGN_OR_RETURN(auto target, LmdbEnv::Open(directory, map_size_bytes, Durability::kOnSync));
  return std::shared_ptr<OnlineCopy>(new OnlineCopy(std::move(source), std::move(target)));
}

absl::Status OnlineCopy::Run() {
  for (;;) {
    if (cancelled_.load(std::memory_order_relaxed)) return absl::CancelledError("defragmentation cancelled");
    {
      const TurnLockHolder turn(turn_);
      KVORUM_RETURN_IF_ERROR(mirror_status_);
      if (bucket_ == kBucketCount) break;
      KVORUM_RETURN_IF_ERROR(Step());
    }
    // Whoever syncs another file meanwhile, such as the log, may have to wait for what is being written here:
    // the file system orders new data before its journal. So never much at a time.
    KVORUM_RETURN_IF_ERROR(target_->WriteOut(WaitFor::kAll));
  }
  return target_->Sync();
}

absl::Status OnlineCopy::Step() {
  KVORUM_ASSIGN_OR_RETURN(MDB_txn * read, source_->BeginRead());
  const absl::Cleanup end = [&] { source_->EndRead(read); };
  KVORUM_ASSIGN_OR_RETURN(MDB_txn * write, target_->BeginWrite());
  absl::Cleanup abort = [&] { mdb_txn_abort(write); };
  uint64_t copied = 0;
  while (bucket_ < kBucketCount && copied < kStepBytes) {
    const auto bucket = static_cast<Bucket>(bucket_);
    RecordCursor cursor(source_->TableOf(read, bucket));
    KVORUM_RETURN_IF_ERROR(cursor.Seek(last_key_));
    if (cursor.valid() && cursor.key() == last_key_) KVORUM_RETURN_IF_ERROR(cursor.Next());
    std::string_view last;
    while (cursor.valid() && copied < kStepBytes) {
      KVORUM_RETURN_IF_ERROR(
          PutRecord(target_->TableOf(write, bucket), cursor.key(), cursor.value(), Place::kBehindAll));
      copied += cursor.key().size() + cursor.value().size();
      last = cursor.key();
      KVORUM_RETURN_IF_ERROR(cursor.Next());
    }
    if (cursor.valid()) {
      last_key_ = std::string(last);
    } else {
      ++bucket_;
      last_key_.clear();
    }
  }
  std::move(abort).Cancel();
  return target_->CommitWrite(write);
}

bool OnlineCopy::Reached(Bucket bucket, std::string_view key) const {
  const auto b = static_cast<size_t>(bucket);
  return b < bucket_ || (b == bucket_ && !last_key_.empty() && key <= last_key_);
}

absl::Status OnlineCopy::Commit(absl::FunctionRef<absl::Status()> commit,
                                const std::vector<std::shared_ptr<WriteBuffer>>& buffers) {
  const TurnLockHolder turn(turn_);
  KVORUM_RETURN_IF_ERROR(commit());
  if (mirror_status_.ok()) mirror_status_ = Mirror(buffers);
  return absl::OkStatus();
}

absl::Status OnlineCopy::Mirror(const std::vector<std::shared_ptr<WriteBuffer>>& buffers) {
  KVORUM_ASSIGN_OR_RETURN(MDB_txn * txn, target_->BeginWrite());
  absl::Cleanup abort = [&] { mdb_txn_abort(txn); };
  for (const auto& buffer : buffers) {
    const auto apply = [&](const BufferedChange& change) {
      turn_.AssertHeld();
      if (!Reached(change.bucket, change.key)) return absl::OkStatus();
      const Table table = target_->TableOf(txn, change.bucket);
      if (!change.value) return DeleteRecord(table, change.key);
      return PutRecord(table, change.key, *change.value,
                       change.appended ? Place::kBehindAll : Place::kAnywhere);
    };
    KVORUM_RETURN_IF_ERROR(buffer->ForEachChange(apply));
  }
  std::move(abort).Cancel();
  return target_->CommitWrite(txn);
}

absl::Status OnlineCopy::mirror_status() const {
  const TurnLockHolder turn(turn_);
  return mirror_status_;
}

}  // namespace kvorum::backend
