#include "base/planted_bug.h"
#include "base/status.h"
#include "mvcc/record_format.h"
#include "mvcc/store_impl.h"

namespace kvorum::mvcc {

using backend::Bucket;

namespace {

absl::StatusOr<int64_t> ReadCompactKey(backend::ReadView& view, std::string_view name) {
  KVORUM_ASSIGN_OR_RETURN(const std::optional<std::string_view> value, view.Get(Bucket::kMeta, name));
  if (!value.has_value()) return -1;
  const std::optional<ParsedRevision> parsed = ParseRevisionKey(*value);
  if (!parsed.has_value()) return absl::DataLossError(fmt::format("meta record {} is malformed", name));
  return parsed->revision.main;
}

}  // namespace

/// One view for all who read while the backend's content is replaced.
class FrozenContent {
 public:
  explicit FrozenContent(std::unique_ptr<backend::ReadView> view) : view_(std::move(view)) {}

  static std::unique_ptr<backend::ReadView> NewView(std::shared_ptr<FrozenContent> content) {
    return std::make_unique<View>(std::move(content));
  }

 private:
  class View final : public backend::ReadView {
   public:
    explicit View(std::shared_ptr<FrozenContent> content) : content_(std::move(content)) {}
    absl::StatusOr<std::optional<std::string_view>> Get(Bucket bucket, std::string_view key) override {
      absl::MutexLock lock(&content_->mutex_);
      return content_->view_->Get(bucket, key);
    }
    absl::Status Scan(Bucket bucket, std::string_view from, std::string_view to,
                      absl::FunctionRef<bool(std::string_view, std::string_view)> visit) override {
      absl::MutexLock lock(&content_->mutex_);
      return content_->view_->Scan(bucket, from, to, visit);
    }

   private:
    const std::shared_ptr<FrozenContent> content_;  // shared with the store and other views
  };

  absl::Mutex mutex_;  // a view is for one thread at a time
  const std::unique_ptr<backend::ReadView> view_ ABSL_PT_GUARDED_BY(mutex_);
};

StoreImpl::~StoreImpl() = default;

std::unique_ptr<backend::ReadView> StoreImpl::NewView(uint64_t* generation) {
  for (;;) {
    *generation = generation_.load(std::memory_order_acquire);
    std::unique_ptr<backend::ReadView> view;
    if (frozen_.load(std::memory_order_acquire)) {
      absl::MutexLock lock(&frozen_mutex_);
      if (frozen_content_ != nullptr) view = FrozenContent::NewView(frozen_content_);
    } else {
      view = backend_->NewReadView();
    }
    if (view != nullptr && generation_.load(std::memory_order_acquire) == *generation) return view;
  }
}

absl::Status StoreImpl::Restore() {
  Content content;
  KVORUM_RETURN_IF_ERROR(Load(&content));
  {
    absl::MutexLock lock(&mutex_);
    Take(&content);
  }
  AttachLeases();
  hub_.Start(current_revision());
  ResumeCompaction(content);
  return absl::OkStatus();
}

void StoreImpl::BeginReload() {
  KVORUM_CHECK(!in_txn_);
  auto content = std::make_shared<FrozenContent>(backend_->NewReadView());
  {
    absl::MutexLock lock(&frozen_mutex_);
    KVORUM_CHECK(frozen_content_ == nullptr, "a reload inside a reload");
    frozen_content_ = std::move(content);
  }
  frozen_.store(true, std::memory_order_release);
  generation_.fetch_add(1, std::memory_order_release);
}

absl::Status StoreImpl::Reload() {
  KVORUM_CHECK(frozen_.load() && !in_txn_);
  Content content;
  KVORUM_RETURN_IF_ERROR(Load(&content));
  std::shared_ptr<FrozenContent> released;
  {
    absl::MutexLock lock(&mutex_);
    Take(&content);
    // Between the two nobody looks at the index, so no view of then fits: it may be an old or a new one.
    generation_.fetch_add(1, std::memory_order_release);
    frozen_.store(false, std::memory_order_release);
    {
      absl::MutexLock frozen_lock(&frozen_mutex_);
      released = std::move(frozen_content_);
    }
    generation_.fetch_add(1, std::memory_order_release);
  }
  {
    absl::MutexLock lock(&hashes_mutex_);
    to_hash_.reset();
    hashes_.clear();
  }
  AttachLeases();
  compactor_.Cancel();
  compacting_.store(false, std::memory_order_release);
  ResumeCompaction(content);
  hub_.Restart(current_revision());
  return absl::OkStatus();
}

void StoreImpl::Take(Content* content) {
  int64_t compacted = std::max(content->finished_compaction, content->scheduled_compaction);
  if (IsPlanted(PlantedBug::kCompactionForgotten)) compacted = content->finished_compaction;
  index_.Swap(content->index);
  leases_.swap(content->leases);
  current_.store(std::max(content->current, compacted), std::memory_order_release);
  compacted_.store(compacted, std::memory_order_release);
  live_keys_.store(index_.live_count(), std::memory_order_relaxed);
  metrics_.keys.Set(key_count());
  metrics_.current_revision.Set(current_revision());
  metrics_.compact_revision.Set(compacted);
}

void StoreImpl::ResumeCompaction(const Content& content) {
  const int64_t finished = content.finished_compaction;
  const int64_t scheduled = content.scheduled_compaction;
  if (finished > 0) {
    KVORUM_LOG(*logger_, kInfo, "restored last compact revision", {"restored-compact-revision", finished});
  }
  if (scheduled <= finished) return;
  KVORUM_LOG(*logger_, kInfo, "resume scheduled compaction", {"scheduled-compact-revision", scheduled});
  compactor_.Start(scheduled);
  compacting_.store(true, std::memory_order_release);
}

struct StoreImpl::RestoredRecord {
  ParsedRevision at;
  Record record;
};

absl::Status StoreImpl::Load(Content* content) const {
  constexpr size_t kBatch = 256;
  absl::Status status;
  std::vector<RestoredRecord> batch;
  const std::unique_ptr<backend::ReadView> view = backend_->NewReadView();
  KVORUM_ASSIGN_OR_RETURN(content->finished_compaction, ReadCompactKey(*view, kFinishedCompactKey));
  KVORUM_ASSIGN_OR_RETURN(content->scheduled_compaction, ReadCompactKey(*view, kScheduledCompactKey));
  const auto visit = [&](std::string_view key, std::string_view value) {
    absl::StatusOr<RestoredRecord> parsed = ParseRestored(key, value);
    if (!parsed.ok()) {
      status = parsed.status();
      return false;
    }
    batch.push_back(*std::move(parsed));
    if (batch.size() == kBatch) {
      LoadBatch(batch, content);
      batch.clear();
    }
    return true;
  };
  KVORUM_RETURN_IF_ERROR(view->Scan(Bucket::kKey, RevisionKey({1, 0}).view(), "", visit));
  KVORUM_RETURN_IF_ERROR(status);
  LoadBatch(batch, content);
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

void StoreImpl::LoadBatch(const std::vector<RestoredRecord>& batch, Content* content) const {
  if (batch.empty()) return;
  content->current = batch.back().at.revision.main;
  std::vector<std::string_view> keys;
  keys.reserve(batch.size());
  for (const RestoredRecord& restored : batch) keys.push_back(restored.record.key);
  KeyIndex& index = content->index;
  index.Prefetch(keys);
  for (const auto& [at, record] : batch) {
    if (IsPlanted(PlantedBug::kTombstoneLost) && at.tombstone && &at == &batch.front().at) continue;
    const IndexedKey* key =
        at.tombstone ? index.RestoreTombstone(record.key, at.revision)
                     : index.RestorePut(record.key, at.revision, {record.create_revision, record.version});
    if (lease_binder_ == nullptr || key == nullptr) continue;
    if (!at.tombstone && record.lease != LeaseId(0)) {
      content->leases[key] = record.lease;
    } else if (!content->leases.empty()) {
      content->leases.erase(key);
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
