#include "mvcc/write_txn.h"

#include "mvcc/record_format.h"

namespace kvorum::mvcc {
namespace {

/// How many keys are deleted under one hold of the lock.
constexpr size_t kKeysPerHold = 256;

}  // namespace

std::unique_ptr<WriteTxn> StoreImpl::Begin() { return std::make_unique<Txn>(this); }

StoreImpl::Txn::Txn(StoreImpl* store) : store_(*store), begin_(store->current_revision()) {
  KVORUM_CHECK(!store_.in_txn_, "a transaction inside a transaction");
  store_.in_txn_ = true;
}

absl::StatusOr<RangeResult> StoreImpl::Txn::Range(const RangeOptions& options) {
  ++ranges_;
  return store_.Read(options, revision());
}

void StoreImpl::Txn::Put(std::string_view key, std::string_view value, LeaseId lease) {
  KVORUM_CHECK(!ended_);
  const Revision revision = NextRevision();
  KeyIndex::PutResult put{};
  {
    absl::MutexLock lock(&store_.mutex_);
    put = store_.index_.Put(key, revision);
  }
  Bytes record = EncodeRecord({.key = key,
                               .create_revision = put.life.created,
                               .mod_revision = revision.main,
                               .version = put.life.version,
                               .value = value,
                               .lease = lease});
  store_.backend_->Put(backend::Bucket::kKey, RevisionKey(revision).view(), record);
  store_.BindLease(put.key, lease);
  ++puts_;
  if (put.life.version == 1) ++live_delta_;
  store_.metrics_.put_bytes.Add(key.size() + value.size());
  store_.changes_.push_back({.key = put.key->view(),
                             .record = std::move(record),
                             .tombstone = false,
                             .creates = put.life.created == revision.main});
}

std::vector<const IndexedKey*> StoreImpl::Txn::LiveKeys(const KeyRange& range) {
  std::vector<const IndexedKey*> keys;
  absl::ReaderMutexLock lock(&store_.mutex_);
  store_.index_.ForEach(range, revision(), [&](const IndexedKey& key, Revision) {
    keys.push_back(&key);
    return true;
  });
  return keys;
}

int64_t StoreImpl::Txn::DeleteRange(const KeyRange& range) {
  KVORUM_CHECK(!ended_);
  ++deletes_;
  const std::vector<const IndexedKey*> keys = LiveKeys(range);
  for (size_t done = 0; done < keys.size();) {
    const size_t stop = std::min(keys.size(), done + kKeysPerHold);
    const size_t first = done;
    const int64_t first_sub = next_sub_;
    {
      absl::MutexLock lock(&store_.mutex_);
      for (; done < stop; ++done) {
        KVORUM_CHECK(store_.index_.Tombstone(keys[done]->view(), NextRevision()) == keys[done]);
      }
    }
    for (size_t i = first; i < stop; ++i) {
      const Revision revision{begin_ + 1, first_sub + static_cast<int64_t>(i - first)};
      Bytes record = EncodeTombstone(keys[i]->view());
      store_.backend_->Put(backend::Bucket::kKey, RevisionKey(revision, true).view(), record);
      store_.BindLease(keys[i], LeaseId(0));
      store_.changes_.push_back(
          {.key = keys[i]->view(), .record = std::move(record), .tombstone = true, .creates = false});
    }
  }
  live_delta_ -= static_cast<int64_t>(keys.size());
  return static_cast<int64_t>(keys.size());
}

void StoreImpl::Txn::End() {
  if (ended_) return;
  ended_ = true;
  StoreMetrics& metrics = store_.metrics_;
  if (puts_ > 0) metrics.puts.Add(puts_);
  if (ranges_ > 0) metrics.ranges.Add(ranges_);
  if (deletes_ > 0) metrics.deletes.Add(deletes_);
  if (puts_ + ranges_ + deletes_ > 1) metrics.txns.Add();
  if (changed()) {
    store_.live_keys_.fetch_add(live_delta_, std::memory_order_relaxed);
    store_.current_.store(revision(), std::memory_order_release);
    metrics.keys.Set(store_.key_count());
    metrics.current_revision.Set(revision());
    store_.hub_.Publish(revision(), store_.changes_);
    store_.changes_.clear();
    if (store_.changes_.capacity() > 4096) store_.changes_.shrink_to_fit();
  }
  store_.in_txn_ = false;
}

}  // namespace kvorum::mvcc
