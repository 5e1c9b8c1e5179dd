#include "base/status.h"
#include "mvcc/record_format.h"
#include "mvcc/store_impl.h"

namespace kvorum::mvcc {

using backend::Bucket;

absl::StatusOr<int64_t> StoreImpl::ReadCompactKey(std::string_view name, int64_t missing) {
  const std::unique_ptr<backend::ReadView> view = backend_->NewReadView();
  KVORUM_ASSIGN_OR_RETURN(const std::optional<std::string_view> value, view->Get(Bucket::kMeta, name));
  if (!value.has_value()) return missing;
  const std::optional<ParsedRevision> parsed = ParseRevisionKey(*value);
  if (!parsed.has_value()) return absl::DataLossError(fmt::format("meta record {} is malformed", name));
  return parsed->revision.main;
}

absl::Status StoreImpl::Restore() {
  KVORUM_ASSIGN_OR_RETURN(const int64_t finished, ReadCompactKey(kFinishedCompactKey, -1));
  KVORUM_ASSIGN_OR_RETURN(const int64_t scheduled, ReadCompactKey(kScheduledCompactKey, -1));
  KVORUM_RETURN_IF_ERROR(RestoreRecords());
  AttachLeases();

  int64_t current = current_revision();
  current = std::max({current, finished, scheduled});
  current_.store(current, std::memory_order_release);
  const int64_t compacted = std::max(finished, scheduled);
  {
    absl::MutexLock lock(&mutex_);
    compacted_.store(compacted, std::memory_order_release);
    live_keys_.store(index_.live_count(), std::memory_order_relaxed);
  }
  hub_.Start(current);
  metrics_.keys.Set(key_count());
  metrics_.current_revision.Set(current);
  metrics_.compact_revision.Set(compacted);
  if (finished > 0) {
    KVORUM_LOG(*logger_, kInfo, "restored last compact revision", {"restored-compact-revision", finished});
  }
  if (scheduled > finished) {
    KVORUM_LOG(*logger_, kInfo, "resume scheduled compaction", {"scheduled-compact-revision", scheduled});
    compactor_.Start(scheduled);
    compacting_.store(true, std::memory_order_release);
  }
  return absl::OkStatus();
}

struct StoreImpl::RestoredRecord {
  ParsedRevision at;
  Record record;
};

absl::Status StoreImpl::RestoreRecords() {
  constexpr size_t kBatch = 256;
  absl::Status status;
  std::vector<RestoredRecord> batch;
  const std::unique_ptr<backend::ReadView> view = backend_->NewReadView();
  const auto visit = [&](std::string_view key, std::string_view value) {
    absl::StatusOr<RestoredRecord> parsed = ParseRestored(key, value);
    if (!parsed.ok()) {
      status = parsed.status();
      return false;
    }
    batch.push_back(*std::move(parsed));
    if (batch.size() == kBatch) {
      RestoreBatch(batch);
      batch.clear();
    }
    return true;
  };
  KVORUM_RETURN_IF_ERROR(view->Scan(Bucket::kKey, RevisionKey({1, 0}).view(), "", visit));
  KVORUM_RETURN_IF_ERROR(status);
  RestoreBatch(batch);
  return absl::OkStatus();
}

absl::StatusOr<StoreImpl::RestoredRecord> StoreImpl::ParseRestored(std::string_view key,
                                                                   std::string_view value) {
  const std::optional<ParsedRevision> at = ParseRevisionKey(key);
  if (!at.has_value()) {
    return absl::DataLossError(fmt::format("a key of {} bytes in the key bucket is no revision", key.size()));
  }
  const std::optional<Record> record = ParseRecord(value);
  if (!record.has_value() || at->revision.sub > INT32_MAX) {
    return absl::DataLossError(fmt::format("the record of revision {} is malformed", at->revision.main));
  }
  return RestoredRecord{*at, *record};
}

void StoreImpl::RestoreBatch(const std::vector<RestoredRecord>& batch) {
  if (batch.empty()) return;
  current_.store(batch.back().at.revision.main, std::memory_order_relaxed);
  std::vector<std::string_view> keys;
  keys.reserve(batch.size());
  for (const RestoredRecord& restored : batch) keys.push_back(restored.record.key);
  absl::MutexLock lock(&mutex_);
  index_.Prefetch(keys);
  for (const auto& [at, record] : batch) {
    const IndexedKey* key =
        at.tombstone ? index_.RestoreTombstone(record.key, at.revision)
                     : index_.RestorePut(record.key, at.revision, {record.create_revision, record.version});
    if (lease_binder_ == nullptr || key == nullptr) continue;
    if (!at.tombstone && record.lease != LeaseId(0)) {
      leases_[key] = record.lease;
    } else if (!leases_.empty()) {
      leases_.erase(key);
    }
  }
}

void StoreImpl::AttachLeases() {
  if (leases_.empty()) return;
  constexpr std::string_view kFromStart("\0", 1);
  absl::ReaderMutexLock lock(&mutex_);
  index_.ForEach({kFromStart, kFromStart}, current_revision(), [&](const IndexedKey& key, Revision) {
    const auto it = leases_.find(&key);
    if (it == leases_.end()) return true;
    if (lease_binder_->Exists(it->second)) {
      lease_binder_->Attach(it->second, key.view());
      return true;
    }
    KVORUM_LOG(*logger_, kError, "failed to attach a lease",
               {"lease-id", fmt::format("{:016x}", static_cast<uint64_t>(it->second.value()))},
               {"error", "lease not found"});
    leases_.erase(it);
    return true;
  });
}

}  // namespace kvorum::mvcc
