#include "mvcc/store.h"

#include <algorithm>
#include <numeric>

#include "base/planted_bug.h"
#include "base/status.h"
#include "mvcc/record_format.h"
#include "mvcc/store_impl.h"

namespace kvorum::mvcc {
namespace {

/// How many keys a reader walks over under one hold of the lock: about 100 µs.
constexpr size_t kKeysPerHold = 4096;

}  // namespace

absl::StatusOr<std::unique_ptr<Store>> Store::Open(const StoreOptions& options) {
  auto store = std::make_unique<StoreImpl>(options);
  KVORUM_RETURN_IF_ERROR(store->Restore());
  return store;
}

StoreImpl::StoreImpl(const StoreOptions& options)
    : backend_(options.backend),
      lease_binder_(options.leases),
      logger_(options.logger),
      clock_(options.clock),
      metrics_(options.metrics),
      compactor_(&index_, &mutex_, backend_, clock_, logger_, &metrics_),
      hub_(this, logger_, &metrics_) {
  KVORUM_CHECK(backend_ != nullptr);
}

absl::StatusOr<RangeResult> StoreImpl::Range(const RangeOptions& options) {
  metrics_.ranges.Add();
  return Read(options, std::nullopt);
}

absl::Status StoreImpl::CheckReadable(int64_t at, int64_t newest) const {
  if (at > newest) return FutureRevisionError();
  if (at < compact_revision() && !IsPlanted(PlantedBug::kCompactedReadServed)) return CompactedError();
  return absl::OkStatus();
}

absl::StatusOr<RangeResult> StoreImpl::Read(const RangeOptions& options, std::optional<int64_t> newest) {
  for (;;) {
    absl::StatusOr<Found> found = Search(options, newest);
    // A compaction may pass a read on its way; one that wants the newest begins again.
    if (IsCompacted(found.status()) && options.revision <= 0) continue;
    if (absl::IsAborted(found.status())) continue;
    if (!found.ok()) return found.status();
    RangeResult result{
        .revision = found->current, .count = found->count, .records = {}, .pin = nullptr, .unchecked = {}};
    if (found->revisions.empty()) return result;
    uint64_t generation = 0;
    result.pin = NewView(&generation);
    if (generation != found->generation) continue;
    const absl::StatusOr<bool> complete = options.check_later
                                              ? FetchUnchecked(std::move(found->revisions), &result)
                                              : Fetch(found->revisions, &result);
    if (!complete.ok()) return complete.status();
    if (*complete) return result;
    if (compact_revision() <= found->at) {
      return absl::DataLossError(fmt::format("a record of revision {} or before is missing", found->at));
    }
    if (options.revision > 0) return CompactedError();
  }
}

absl::StatusOr<StoreImpl::Found> StoreImpl::Search(const RangeOptions& options,
                                                   std::optional<int64_t> newest) {
  Found found;
  size_t want = 0;
  {
    absl::ReaderMutexLock lock(&mutex_);
    found.generation = generation_.load(std::memory_order_acquire);
    found.current = newest.value_or(current_revision());
    found.at = options.revision <= 0 ? found.current : options.revision;
    KVORUM_RETURN_IF_ERROR(CheckReadable(found.at, found.current));
    if (options.range.single()) {
      const std::optional<Revision> revision = index_.Find(options.range.key, found.at);
      found.count = revision.has_value() ? 1 : 0;
      if (revision.has_value() && !options.count_only) found.revisions.push_back(*revision);
      return found;
    }
    found.count = index_.Count(options.range, found.at);
    if (options.count_only) return found;
    want = static_cast<size_t>(options.limit > 0 ? std::min(options.limit, found.count) : found.count);
  }
  KVORUM_RETURN_IF_ERROR(CollectAll(options.range, want, &found));
  return found;
}

absl::Status StoreImpl::CollectAll(const KeyRange& range, size_t want, Found* found) {
  found->revisions.reserve(want);
  std::string cursor(range.key);
  while (found->revisions.size() < want) {
    const size_t stop = std::min(want, found->revisions.size() + kKeysPerHold);
    absl::ReaderMutexLock lock(&mutex_);
    if (generation_.load(std::memory_order_acquire) != found->generation) {
      return absl::AbortedError("replaced meanwhile");
    }
    KVORUM_RETURN_IF_ERROR(CheckReadable(found->at, found->current));
    const IndexedKey* last = nullptr;
    index_.ForEach({cursor, range.end}, found->at, [&](const IndexedKey& key, Revision revision) {
      found->revisions.push_back(revision);
      last = &key;
      return found->revisions.size() < stop;
    });
    KVORUM_CHECK(found->revisions.size() == stop, "{} keys of {}", found->revisions.size(), stop);
    cursor.assign(last->view());
    cursor.push_back('\0');
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> StoreImpl::Fetch(const std::vector<Revision>& revisions, RangeResult* result) {
  result->records.reserve(revisions.size());
  for (const Revision& revision : revisions) {
    KVORUM_ASSIGN_OR_RETURN(const std::optional<std::string_view> record,
                            result->pin->Get(backend::Bucket::kKey, RevisionKey(revision).view()));
    if (!record.has_value()) return false;
    result->records.push_back(*record);
  }
  return true;
}

absl::StatusOr<bool> StoreImpl::FetchUnchecked(std::vector<Revision> revisions, RangeResult* result) {
  // In the order in which the database has them, so that it goes from one to the next.
  std::vector<uint32_t> order;
  if (!std::is_sorted(revisions.begin(), revisions.end())) {
    order.resize(revisions.size());
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(),
              [&revisions](uint32_t a, uint32_t b) { return revisions[a] < revisions[b]; });
  }
  result->records.resize(revisions.size());
  for (size_t i = 0; i < revisions.size(); ++i) {
    const size_t at = order.empty() ? i : order[i];
    KVORUM_ASSIGN_OR_RETURN(const std::optional<backend::Located> record,
                            result->pin->Locate(backend::Bucket::kKey, RevisionKey(revisions[at]).view()));
    if (!record.has_value()) return false;
    result->records[at] = record->value;
    if (record->checked) revisions[at] = {};
  }
  result->unchecked = std::move(revisions);
  return true;
}

absl::Status RangeResult::Check(size_t i) const {
  if (unchecked[i] == Revision{}) return absl::OkStatus();
  return pin->Check(backend::Bucket::kKey, RevisionKey(unchecked[i]).view(), records[i]);
}

absl::Status StoreImpl::StartCompaction(int64_t revision) {
  KVORUM_CHECK(!in_txn_);
  if (revision <= compact_revision()) return CompactedError();
  if (revision > current_revision()) return FutureRevisionError();
  backend_->Put(backend::Bucket::kMeta, kScheduledCompactKey, Bytes::Copy(RevisionKey({revision, 0}).view()));
  {
    absl::MutexLock lock(&hashes_mutex_);
    to_hash_.reset();
    if (!compacting()) {
      to_hash_ = {.at = revision,
                  .compacted = compact_revision(),
                  .generation = generation_.load(),
                  .before_compaction = true};
    }
  }
  {
    absl::MutexLock lock(&mutex_);
    compacted_.store(revision, std::memory_order_release);
  }
  metrics_.compact_revision.Set(revision);
  compactor_.Start(revision);
  compacting_.store(true, std::memory_order_release);
  return absl::OkStatus();
}

bool StoreImpl::CompactStep(size_t max_records) {
  KVORUM_CHECK(!in_txn_);
  const bool more = compactor_.Step(max_records);
  compacting_.store(more, std::memory_order_release);
  return more;
}

void StoreImpl::BindLease(const IndexedKey* key, LeaseId lease) {
  if (lease_binder_ == nullptr) return;
  const auto it = leases_.empty() ? leases_.end() : leases_.find(key);
  if (it != leases_.end()) {
    if (it->second == lease) return;
    if (!IsPlanted(PlantedBug::kLeaseKeyKept)) lease_binder_->Detach(it->second, key->view());
    leases_.erase(it);
  }
  if (lease == LeaseId(0)) return;
  KVORUM_CHECK(lease_binder_->Exists(lease), "a key for lease {}", lease);
  lease_binder_->Attach(lease, key->view());
  leases_.emplace(key, lease);
}

absl::StatusOr<int64_t> StoreImpl::ReadChanges(backend::ReadView& view, int64_t from, int64_t to,
                                               size_t max_records, std::vector<HistoryChange>* changes) {
  absl::Status bad;
  int64_t complete = to;
  const auto visit = [&](std::string_view key, std::string_view value) {
    const std::optional<ParsedRevision> parsed = ParseRevisionKey(key);
    const std::optional<Record> record = ParseRecord(value);
    if (!parsed.has_value() || !record.has_value()) {
      bad = absl::DataLossError("a record of the key bucket is malformed");
      return false;
    }
    if (changes->size() >= max_records && changes->back().revision.main != parsed->revision.main) {
      complete = changes->back().revision.main;
      return false;
    }
    changes->push_back({.revision = parsed->revision,
                        .tombstone = parsed->tombstone,
                        .creates = !parsed->tombstone && record->create_revision == record->mod_revision,
                        .key = record->key,
                        .record = value});
    return true;
  };
  KVORUM_RETURN_IF_ERROR(view.Scan(backend::Bucket::kKey, RevisionKey({from, 0}).view(),
                                   RevisionKey({to + 1, 0}).view(), visit));
  KVORUM_RETURN_IF_ERROR(bad);
  return complete;
}

std::optional<std::string_view> StoreImpl::RecordAt(backend::ReadView& view, std::string_view key,
                                                    int64_t revision) {
  std::optional<Revision> found;
  {
    absl::ReaderMutexLock lock(&mutex_);
    if (revision < compact_revision()) return std::nullopt;
    found = index_.Find(key, revision);
  }
  if (!found.has_value()) return std::nullopt;
  const auto record = view.Get(backend::Bucket::kKey, RevisionKey(*found).view());
  return record.ok() ? *record : std::nullopt;
}

void StoreImpl::CheckInvariants() const {
  absl::ReaderMutexLock lock(&mutex_);
  index_.CheckInvariants();
  KVORUM_CHECK(compact_revision() <= current_revision());
  if (in_txn_) return;
  KVORUM_CHECK(index_.live_count() == key_count(), "{} keys, not {}", index_.live_count(), key_count());
  for (const auto& [key, lease] : leases_) {
    KVORUM_CHECK(index_.Find(key->view(), current_revision()).has_value(), "a lease on a deleted key");
  }
}

}  // namespace kvorum::mvcc
