#include <algorithm>

#include "base/crc32c.h"
#include "base/status.h"
#include "mvcc/record_format.h"
#include "mvcc/store_impl.h"

namespace kvorum::mvcc {
namespace {

constexpr size_t kKeysPerHold = 2048;
/// A view is let go after this many records, so that a long hash keeps no old pages in use.
constexpr size_t kRecordsPerView = 10'000;

}  // namespace

/// Which of the records up to the compacted revision are hashed (reference: backend-schema.md §7, v3-api.md
/// §6.11 HashKV).
struct StoreImpl::KeepSet {
  /// No key lives at the revision: then etcd hashes every such record that its compaction left.
  bool nothing_lives = true;
  std::vector<Revision> kept;  ///< ascending
};

absl::StatusOr<StoreImpl::KeepSet> StoreImpl::CollectKeepSet(const ToHash& what) {
  const int64_t compacted = what.compacted;
  KeepSet keep;
  std::vector<Revision> survivors;  // of the compaction itself
  std::string cursor;
  for (bool more = true; more;) {
    absl::ReaderMutexLock lock(&mutex_);
    if (!Stands(what)) return absl::AbortedError("compacted meanwhile");
    std::string from = cursor;
    more = index_.NewestSome(what.at, kKeysPerHold, &cursor, [&](KeyHistory::Item item) {
      // A compaction keeps a tombstone at its own revision.
      if (item.tombstone != 0 && what.before_compaction && item.main == what.at) keep.nothing_lives = false;
      if (item.tombstone != 0) return;
      keep.nothing_lives = false;
      if (item.main <= compacted) keep.kept.push_back(item.revision());
    });
    if (!keep.nothing_lives || compacted < 0) continue;
    index_.NewestSome(compacted, kKeysPerHold, &from, [&](KeyHistory::Item item) {
      if (item.tombstone == 0) survivors.push_back(item.revision());
    });
  }
  if (keep.nothing_lives) keep.kept = std::move(survivors);
  std::sort(keep.kept.begin(), keep.kept.end());
  return keep;
}

absl::StatusOr<uint32_t> StoreImpl::HashRecords(const ToHash& what, const KeepSet& keep) {
  const int64_t compacted = what.compacted;
  uint32_t crc = Crc32c(0, backend::BucketName(backend::Bucket::kKey));
  auto kept = keep.kept.begin();
  absl::Status bad;
  std::string next(RevisionKey({0, 0}).view());
  const std::string end(RevisionKey({what.at + 1, 0}).view());
  for (bool more = true; more;) {
    more = false;
    size_t seen = 0;
    const auto visit = [&](std::string_view key, std::string_view value) {
      if (seen++ == kRecordsPerView) {
        next.assign(key);
        more = true;
        return false;
      }
      const std::optional<ParsedRevision> parsed = ParseRevisionKey(key);
      if (!parsed.has_value()) {
        bad = absl::DataLossError("a key in the key bucket is no revision");
        return false;
      }
      if (parsed->revision.main <= compacted) {
        while (kept != keep.kept.end() && *kept < parsed->revision) ++kept;
        if (parsed->tombstone || kept == keep.kept.end() || *kept != parsed->revision) return true;
      }
      crc = Crc32c(Crc32c(crc, key), value);
      return true;
    };
    uint64_t generation = 0;
    const std::unique_ptr<backend::ReadView> view = NewView(&generation);
    if (generation != what.generation) return absl::AbortedError("replaced meanwhile");
    KVORUM_RETURN_IF_ERROR(view->Scan(backend::Bucket::kKey, next, end, visit));
    KVORUM_RETURN_IF_ERROR(bad);
  }
  if (!Stands(what)) return absl::AbortedError("compacted meanwhile");
  return crc;
}

absl::StatusOr<uint32_t> StoreImpl::HashAsOf(const ToHash& what) {
  KVORUM_ASSIGN_OR_RETURN(const KeepSet keep, CollectKeepSet(what));
  return HashRecords(what, keep);
}

absl::StatusOr<HashResult> StoreImpl::Hash(int64_t revision) {
  const MonotonicTime start = clock_ == nullptr ? MonotonicTime() : clock_->Now();
  for (HashResult kept : compaction_hashes()) {
    if (kept.revision != revision) continue;
    kept.current_revision = current_revision();
    return kept;
  }
  for (;;) {
    HashResult result;
    ToHash what;
    {
      absl::ReaderMutexLock lock(&mutex_);
      what.generation = generation_.load();
      result.current_revision = current_revision();
      result.compact_revision = compact_revision();
      result.revision = revision <= 0 ? result.current_revision : revision;
      KVORUM_RETURN_IF_ERROR(CheckReadable(result.revision, result.current_revision));
    }
    what.at = result.revision;
    what.compacted = result.compact_revision;
    const absl::StatusOr<uint32_t> hash = HashAsOf(what);
    if (absl::IsAborted(hash.status())) continue;
    KVORUM_RETURN_IF_ERROR(hash.status());
    result.hash = *hash;
    if (clock_ != nullptr) metrics_.hash_duration.Observe(clock_->Now() - start);
    return result;
  }
}

absl::Status StoreImpl::HashCompaction() {
  std::optional<ToHash> what;
  {
    absl::MutexLock lock(&hashes_mutex_);
    what = std::exchange(to_hash_, std::nullopt);
  }
  if (!what) return absl::OkStatus();
  const absl::StatusOr<uint32_t> hash = HashAsOf(*what);
  if (absl::IsAborted(hash.status())) return absl::OkStatus();  // another database is there
  KVORUM_RETURN_IF_ERROR(hash.status());
  absl::MutexLock lock(&hashes_mutex_);
  if (!Stands(*what)) return absl::OkStatus();
  hashes_.push_front({.hash = *hash, .revision = what->at, .compact_revision = what->compacted});
  if (hashes_.size() > kCompactionHashes) hashes_.pop_back();
  KVORUM_LOG(*logger_, kInfo, "storing new hash", {"hash", uint64_t{*hash}}, {"revision", what->at},
             {"compact-revision", what->compacted});
  return absl::OkStatus();
}

std::vector<HashResult> StoreImpl::compaction_hashes() const {
  absl::MutexLock lock(&hashes_mutex_);
  return {hashes_.begin(), hashes_.end()};
}

}  // namespace kvorum::mvcc
