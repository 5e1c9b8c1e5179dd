#include "backend/memory_backend.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "backend/backend_format.h"
#include "backend/memory_table.h"
#include "base/check.h"
#include "base/planted_bug.h"

namespace kvorum::backend {
namespace {

/// Views, what was committed and what is current share a table until it is changed.
using Tables = std::array<std::shared_ptr<MemoryTable>, kBucketCount>;
using Done = absl::AnyInvocable<void(absl::Status)>;

Tables NewTables() {
  Tables tables;
  for (std::shared_ptr<MemoryTable>& table : tables) table = std::make_shared<MemoryTable>();
  return tables;
}

MemoryTable& Own(Tables& tables, Bucket bucket) {
  std::shared_ptr<MemoryTable>& table = tables[static_cast<size_t>(bucket)];
  if (table.use_count() > 1) table = std::make_shared<MemoryTable>(*table);
  return *table;
}

class MemoryView final : public ReadView {
 public:
  explicit MemoryView(std::shared_ptr<const Tables> tables) : tables_(std::move(tables)) {}

  absl::StatusOr<std::optional<std::string_view>> Get(Bucket bucket, std::string_view key) override {
    const Bytes* const value = (*tables_)[static_cast<size_t>(bucket)]->Find(key);
    if (value == nullptr) return std::nullopt;
    return value->view();
  }

  absl::Status Scan(Bucket bucket, std::string_view from, std::string_view to,
                    absl::FunctionRef<bool(std::string_view, std::string_view)> visit) override {
    (*tables_)[static_cast<size_t>(bucket)]->Scan(from, to, [visit](const MemoryTable::Record& record) {
      return visit(record.key.view(), record.value.view());
    });
    return absl::OkStatus();
  }

 private:
  const std::shared_ptr<const Tables> tables_;
};

/// What a change of an entry that has no end yet took away; null: nothing was there.
struct Undo {
  Bucket bucket;
  Bytes key;
  Bytes value;
};

class MemoryBackendImpl final : public MemoryBackend {
 public:
  MemoryBackendImpl(Tables tables, AppliedPosition applied)
      : current_(tables), committed_(std::move(tables)), committed_position_(applied), applied_(applied) {
    CountLocked();
  }

  void BeginEntry() override {
    absl::MutexLock lock(&mutex_);
    KVORUM_CHECK(!in_entry_, "an entry inside an entry");
    in_entry_ = true;
  }

  void EndEntry(AppliedPosition position) override {
    std::vector<Done> done;
    {
      absl::MutexLock lock(&mutex_);
      KVORUM_CHECK(in_entry_, "the end of no entry");
      KVORUM_CHECK(position.index >= applied_.index, "applied {} after {}", position.index, applied_.index);
      in_entry_ = false;
      applied_ = position;
      applied_more_ = true;
      undo_.clear();
      if (!waiting_.empty()) {
        CommitLocked();
        done.swap(waiting_);
      }
    }
    for (Done& d : done) d(absl::OkStatus());
  }

  void Put(Bucket bucket, std::string_view key, Bytes value) override {
    absl::MutexLock lock(&mutex_);
    ChangeLocked(bucket, Bytes::Copy(key), value.is_null() ? Bytes::Copy("") : std::move(value));
  }

  void Delete(Bucket bucket, std::string_view key) override {
    absl::MutexLock lock(&mutex_);
    ChangeLocked(bucket, Bytes::Copy(key), Bytes());
  }

  std::unique_ptr<ReadView> NewReadView() override {
    absl::MutexLock lock(&mutex_);
    if (shown_ == nullptr) shown_ = std::make_shared<const Tables>(current_);
    return std::make_unique<MemoryView>(shown_);
  }

  AppliedPosition applied() const override {
    absl::MutexLock lock(&mutex_);
    return applied_;
  }

  void Commit(Done done) override {
    {
      absl::MutexLock lock(&mutex_);
      if (in_entry_) {
        waiting_.push_back(std::move(done));
        return;
      }
      CommitLocked();
    }
    done(absl::OkStatus());
  }

  Sizes sizes() const override {
    absl::MutexLock lock(&mutex_);
    return {.total_bytes = total_, .in_use_bytes = in_use_};
  }

  void Replace(std::unique_ptr<ReadView> content, AppliedPosition position, Done done) override {
    Tables tables = NewTables();
    absl::Status status;
    for (size_t i = 0; i < kBucketCount && status.ok(); ++i) {
      status =
          content->Scan(static_cast<Bucket>(i), "", "", [&](std::string_view key, std::string_view value) {
            tables[i]->Put(Bytes::Copy(key), Bytes::Copy(value));
            return true;
          });
    }
    content.reset();
    if (status.ok()) TakeReplacement(std::move(tables), position);
    done(status);
  }
  void Defragment(Done done) override {
    {
      absl::MutexLock lock(&mutex_);
      total_ = in_use_;
    }
    done(absl::OkStatus());
  }

  absl::Status Close() override {
    CommitNow();
    return absl::OkStatus();
  }

  void CommitNow() override {
    absl::MutexLock lock(&mutex_);
    CommitLocked();
  }

  std::unique_ptr<MemoryBackend> Crash() override {
    absl::MutexLock lock(&mutex_);
    return std::make_unique<MemoryBackendImpl>(committed_, committed_position_);
  }

 private:
  static int64_t RecordSize(std::string_view key, const Bytes& value) {
    return static_cast<int64_t>(key.size() + value.size());
  }

  /// Committed when this returns; before, nothing of it is.
  void TakeReplacement(Tables tables, AppliedPosition position) {
    absl::MutexLock lock(&mutex_);
    KVORUM_CHECK(!in_entry_, "an entry while the database is replaced");
    shown_.reset();
    current_ = std::move(tables);
    applied_ = position;
    total_ = 0;
    CountLocked();
    applied_more_ = true;
    CommitLocked();
  }

  void CountLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    in_use_ = 0;
    for (const std::shared_ptr<MemoryTable>& table : current_) {
      table->Scan("", "", [this](const MemoryTable::Record& record) ABSL_NO_THREAD_SAFETY_ANALYSIS {
        in_use_ += RecordSize(record.key.view(), record.value);
        return true;
      });
    }
    total_ = std::max(total_, in_use_);
  }

  /// A null value deletes.
  void ChangeLocked(Bucket bucket, Bytes key, Bytes value) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    shown_.reset();
    MemoryTable& table = Own(current_, bucket);
    if (!value.is_null()) in_use_ += RecordSize(key.view(), value);
    Bytes before = value.is_null() ? table.Remove(key.view()) : table.Put(key, std::move(value));
    if (!before.is_null()) in_use_ -= RecordSize(key.view(), before);
    total_ = std::max(total_, in_use_);
    if (in_entry_) undo_.push_back({bucket, std::move(key), std::move(before)});
  }

  /// Everything but what belongs to an entry that has no end yet.
  void CommitLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (std::exchange(applied_more_, false)) {
      if (!IsPlanted(PlantedBug::kPositionNotCommitted)) committed_position_ = applied_;
      ChangeLocked(Bucket::kMeta, Bytes::Copy(kConsistentIndexKey), BigEndian64(applied_.index));
      ChangeLocked(Bucket::kMeta, Bytes::Copy(kTermKey), BigEndian64(applied_.term));
      if (in_entry_) undo_.resize(undo_.size() - 2);
    }
    committed_ = current_;
    for (auto undo = undo_.rbegin(); undo != undo_.rend(); ++undo) {
      MemoryTable& table = Own(committed_, undo->bucket);
      undo->value.is_null() ? table.Remove(undo->key.view()) : table.Put(undo->key, undo->value);
    }
  }

  mutable absl::Mutex mutex_;
  Tables current_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<const Tables> shown_ ABSL_GUARDED_BY(mutex_);  ///< current_, for views; null: none had it
  Tables committed_ ABSL_GUARDED_BY(mutex_);
  AppliedPosition committed_position_ ABSL_GUARDED_BY(mutex_);
  AppliedPosition applied_ ABSL_GUARDED_BY(mutex_);
  bool applied_more_ ABSL_GUARDED_BY(mutex_) = false;  ///< than was committed
  bool in_entry_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<Undo> undo_ ABSL_GUARDED_BY(mutex_);     ///< of the open entry
  std::vector<Done> waiting_ ABSL_GUARDED_BY(mutex_);  ///< for the end of the entry
  int64_t in_use_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t total_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace

std::unique_ptr<MemoryBackend> MemoryBackend::Create() {
  return std::make_unique<MemoryBackendImpl>(NewTables(), AppliedPosition{});
}

}  // namespace kvorum::backend
