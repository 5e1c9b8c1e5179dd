#include "backend/memory_backend.h"

#include <algorithm>
#include <array>
#include <map>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "backend/backend_format.h"
#include "base/check.h"

namespace kvorum::backend {
namespace {

using Table = std::map<std::string, Bytes, std::less<>>;
/// The views share a table until the writer changes it.
using Tables = std::array<std::shared_ptr<Table>, kBucketCount>;
using Done = absl::AnyInvocable<void(absl::Status)>;

class MemoryView final : public ReadView {
 public:
  explicit MemoryView(Tables tables) : tables_(std::move(tables)) {}

  absl::StatusOr<std::optional<std::string_view>> Get(Bucket bucket, std::string_view key) override {
    const Table& table = *tables_[static_cast<size_t>(bucket)];
    const auto it = table.find(key);
    if (it == table.end()) return std::nullopt;
    return it->second.view();
  }

  absl::Status Scan(Bucket bucket, std::string_view from, std::string_view to,
                    absl::FunctionRef<bool(std::string_view, std::string_view)> visit) override {
    const Table& table = *tables_[static_cast<size_t>(bucket)];
    for (auto it = table.lower_bound(from); it != table.end(); ++it) {
      if (!to.empty() && it->first >= to) break;
      if (!visit(it->first, it->second.view())) break;
    }
    return absl::OkStatus();
  }

 private:
  const Tables tables_;
};

/// A put, or with a null value a deletion, that was not committed yet.
struct Change {
  Bucket bucket;
  std::string key;
  Bytes value;
};

/// Everything up to the end of an entry, or one write outside of entries.
struct Group {
  std::vector<Change> changes;
  std::optional<AppliedPosition> position;
};

class MemoryBackendImpl final : public MemoryBackend {
 public:
  MemoryBackendImpl(const std::array<Table, kBucketCount>& tables, AppliedPosition applied)
      : committed_(tables), committed_position_(applied), applied_(applied) {
    for (size_t i = 0; i < kBucketCount; ++i) {
      current_[i] = std::make_shared<Table>(tables[i]);
      for (const auto& [key, value] : tables[i]) in_use_ += RecordSize(key, value);
    }
    total_ = in_use_;
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
      open_.position = position;
      pending_.push_back(std::exchange(open_, {}));
      if (!waiting_.empty()) {
        CommitLocked();
        done.swap(waiting_);
      }
    }
    for (Done& d : done) d(absl::OkStatus());
  }

  void Put(Bucket bucket, std::string_view key, Bytes value) override {
    absl::MutexLock lock(&mutex_);
    ChangeLocked(bucket, key, value.is_null() ? Bytes::Copy("") : std::move(value));
  }

  void Delete(Bucket bucket, std::string_view key) override {
    absl::MutexLock lock(&mutex_);
    ChangeLocked(bucket, key, Bytes());
  }

  std::unique_ptr<ReadView> NewReadView() override {
    absl::MutexLock lock(&mutex_);
    return std::make_unique<MemoryView>(current_);
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
    std::array<Table, kBucketCount> tables;
    absl::Status status;
    for (size_t i = 0; i < kBucketCount && status.ok(); ++i) {
      status =
          content->Scan(static_cast<Bucket>(i), "", "", [&](std::string_view key, std::string_view value) {
            tables[i].emplace_hint(tables[i].end(), key, Bytes::Copy(value));
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
  void TakeReplacement(std::array<Table, kBucketCount> tables, AppliedPosition position) {
    absl::MutexLock lock(&mutex_);
    KVORUM_CHECK(!in_entry_, "an entry while the database is replaced");
    PutPosition(position, &tables[static_cast<size_t>(Bucket::kMeta)]);
    pending_.clear();
    in_use_ = 0;
    for (size_t i = 0; i < kBucketCount; ++i) {
      current_[i] = std::make_shared<Table>(tables[i]);
      for (const auto& [key, value] : tables[i]) in_use_ += RecordSize(key, value);
    }
    total_ = in_use_;
    committed_ = std::move(tables);
    committed_position_ = applied_ = position;
  }

  static void PutPosition(AppliedPosition position, Table* meta) {
    meta->insert_or_assign(std::string(kConsistentIndexKey), BigEndian64(position.index));
    meta->insert_or_assign(std::string(kTermKey), BigEndian64(position.term));
  }

  /// A null value deletes.
  void ApplyCurrent(Bucket bucket, std::string_view key, const Bytes& value)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    std::shared_ptr<Table>& table = current_[static_cast<size_t>(bucket)];
    if (table.use_count() > 1) table = std::make_shared<Table>(*table);  // a view has it
    const auto it = table->find(key);
    if (it != table->end()) in_use_ -= RecordSize(key, it->second);
    if (!value.is_null()) {
      in_use_ += RecordSize(key, value);
      table->insert_or_assign(std::string(key), value);
    } else if (it != table->end()) {
      table->erase(it);
    }
    total_ = std::max(total_, in_use_);
  }

  void ChangeLocked(Bucket bucket, std::string_view key, Bytes value) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    ApplyCurrent(bucket, key, value);
    open_.changes.push_back({bucket, std::string(key), std::move(value)});
    if (!in_entry_) pending_.push_back(std::exchange(open_, {}));
  }

  /// Everything but what belongs to an entry that has no end yet.
  void CommitLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    std::optional<AppliedPosition> position;
    for (Group& group : pending_) {
      for (Change& change : group.changes) {
        Table& table = committed_[static_cast<size_t>(change.bucket)];
        if (change.value.is_null()) {
          table.erase(change.key);
        } else {
          table.insert_or_assign(std::move(change.key), std::move(change.value));
        }
      }
      if (group.position) position = group.position;
    }
    pending_.clear();
    if (!position) return;
    committed_position_ = *position;
    PutPosition(*position, &committed_[static_cast<size_t>(Bucket::kMeta)]);
    for (const auto& [key, number] :
         {std::pair(kConsistentIndexKey, position->index), std::pair(kTermKey, position->term)}) {
      ApplyCurrent(Bucket::kMeta, key, BigEndian64(number));
    }
  }

  mutable absl::Mutex mutex_;
  Tables current_ ABSL_GUARDED_BY(mutex_);
  std::array<Table, kBucketCount> committed_ ABSL_GUARDED_BY(mutex_);
  AppliedPosition committed_position_ ABSL_GUARDED_BY(mutex_);
  AppliedPosition applied_ ABSL_GUARDED_BY(mutex_);
  bool in_entry_ ABSL_GUARDED_BY(mutex_) = false;
  Group open_ ABSL_GUARDED_BY(mutex_);
  std::vector<Group> pending_ ABSL_GUARDED_BY(mutex_);
  std::vector<Done> waiting_ ABSL_GUARDED_BY(mutex_);  ///< for the end of the entry
  int64_t in_use_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t total_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace

std::unique_ptr<MemoryBackend> MemoryBackend::Create() {
  return std::make_unique<MemoryBackendImpl>(std::array<Table, kBucketCount>{}, AppliedPosition{});
}

}  // namespace kvorum::backend
