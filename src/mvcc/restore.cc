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

absl::Status StoreImpl::RestoreRecords() {
  absl::Status status;
  const std::unique_ptr<backend::ReadView> view = backend_->NewReadView();
  KVORUM_RETURN_IF_ERROR(view->Scan(Bucket::kKey, RevisionKey({1, 0}).view(), "",
                                    [&](std::string_view key, std::string_view value) {
                                      status = RestoreRecord(key, value);
                                      return status.ok();
                                    }));
  return status;
}

absl::Status StoreImpl::RestoreRecord(std::string_view key, std::string_view value) {
  const std::optional<ParsedRevision> parsed = ParseRevisionKey(key);
  if (!parsed.has_value()) {
    return absl::DataLossError(fmt::format("a key of {} bytes in the key bucket is no revision", key.size()));
  }
  const Revision revision = parsed->revision;
  const bool tombstone = parsed->tombstone;
  const std::optional<Record> record = ParseRecord(value);
  if (!record.has_value() || revision.sub > INT32_MAX) {
    return absl::DataLossError(fmt::format("the record of revision {} is malformed", revision.main));
  }
  current_.store(revision.main, std::memory_order_relaxed);
  const IndexedKey* indexed = nullptr;
  {
    absl::MutexLock lock(&mutex_);
    indexed = tombstone
                  ? index_.RestoreTombstone(record->key, revision)
                  : index_.RestorePut(record->key, revision, {record->create_revision, record->version});
  }
  if (lease_binder_ == nullptr || indexed == nullptr) return absl::OkStatus();
  if (!tombstone && record->lease != LeaseId(0)) {
    leases_[indexed] = record->lease;
  } else if (!leases_.empty()) {
    leases_.erase(indexed);
  }
  return absl::OkStatus();
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
