#include "proxy/grpc/range_cache.h"

#include <algorithm>

namespace kvorum::proxy_grpc {

namespace {

constexpr std::string_view kFromKeyOn("\0", 1);

/// `key` lies before the end of `range`.
bool IsBeforeEnd(const std::string& key, const KeyRange& range) {
  if (range.IsOneKey()) return key <= range.key;
  return range.end == kFromKeyOn || key < range.end;
}

}  // namespace

bool KeyRange::Intersects(const KeyRange& other) const {
  return IsBeforeEnd(key, other) && IsBeforeEnd(other.key, *this);
}

RangeCache::RangeCache(const Options& options, metrics::Registry& metrics)
    : options_(options),
      keys_(metrics.NewGauge("etcd_grpc_proxy_cache_keys_total", "Total number of keys/ranges cached")),
      hits_(metrics.NewCounter("etcd_grpc_proxy_cache_hits_total", "Total number of cache hits",
                               metrics::Declared::kGauge)),
      misses_(metrics.NewCounter("etcd_grpc_proxy_cache_misses_total", "Total number of cache misses",
                                 metrics::Declared::kGauge)) {}

std::optional<Bytes> RangeCache::Find(const std::string& form, MonotonicTime now) {
  absl::MutexLock lock(&mutex_);
  const auto found = by_form_.find(form);
  if (found == by_form_.end()) {
    misses_.Add();
    return std::nullopt;
  }
  const Entries::iterator entry = found->second;
  if (now - entry->since > options_.max_age) {
    Forget(entry);
    SetCounts();
    misses_.Add();
    return std::nullopt;
  }
  hits_.Add();
  entries_.splice(entries_.begin(), entries_, entry);
  return entry->reply;
}

bool RangeCache::Contains(const std::string& form) const {
  if (used_.load() == 0) return false;
  absl::MutexLock lock(&mutex_);
  return by_form_.contains(form);
}

RangeCache::ReadId RangeCache::BeginRead(KeyRange range, bool at_revision) {
  absl::MutexLock lock(&mutex_);
  const ReadId id = next_read_++;
  reads_.emplace(id, Read{std::move(range), at_revision});
  SetCounts();
  return id;
}

void RangeCache::EndRead(ReadId id, std::string form, Bytes reply, MonotonicTime now) {
  absl::MutexLock lock(&mutex_);
  const auto found = reads_.find(id);
  Read read = std::move(found->second);
  reads_.erase(found);
  if (!read.spoiled && reply.size() <= options_.max_reply_bytes) {
    if (const auto old = by_form_.find(form); old != by_form_.end()) Forget(old->second);
    bytes_ += reply.size();
    entries_.push_front({std::move(form), std::move(read.range), read.at_revision, std::move(reply), now});
    Entry& entry = entries_.front();
    by_form_.emplace(entry.form, entries_.begin());
    if (entry.range.IsOneKey()) {
      // The index's key must live as long as its entries do, so it is the first one's.
      by_key_[entry.range.key].push_back(&entry);
    } else {
      ranges_.insert(&entry);
    }
    while (entries_.size() > options_.max_entries || bytes_ > options_.max_bytes) {
      Forget(std::prev(entries_.end()));
    }
  }
  SetCounts();
}

void RangeCache::DropRead(ReadId id) {
  absl::MutexLock lock(&mutex_);
  reads_.erase(id);
  SetCounts();
}

void RangeCache::Forget(Entries::iterator entry) {
  by_form_.erase(entry->form);
  bytes_ -= entry->reply.size();
  if (!entry->range.IsOneKey()) {
    ranges_.erase(&*entry);
  } else {
    const auto found = by_key_.find(entry->range.key);
    std::vector<Entry*> others = std::move(found->second);
    by_key_.erase(found);
    std::erase(others, &*entry);
    if (!others.empty()) {
      const std::string_view key = others.front()->range.key;
      by_key_.emplace(key, std::move(others));
    }
  }
  entries_.erase(entry);
}

void RangeCache::Invalidate(std::span<const KeyRange> ranges) {
  if (used_.load() == 0) return;
  absl::MutexLock lock(&mutex_);
  for (const KeyRange& range : ranges) InvalidateOne(range);
  SetCounts();
}

void RangeCache::InvalidateOne(const KeyRange& range) {
  for (auto& [id, read] : reads_) {
    if (!read.at_revision && !read.spoiled && read.range.Intersects(range)) read.spoiled = true;
  }
  std::vector<std::string_view> forms;
  const auto collect = [&](const Entry* entry) {
    if (!entry->at_revision && entry->range.Intersects(range)) forms.push_back(entry->form);
  };
  for (const Entry* entry : ranges_) collect(entry);
  if (!range.IsOneKey()) {
    for (const auto& [key, entries] : by_key_) std::ranges::for_each(entries, collect);
  } else if (const auto found = by_key_.find(range.key); found != by_key_.end()) {
    std::ranges::for_each(found->second, collect);
  }
  for (const std::string_view form : forms) Forget(by_form_.find(form)->second);
}

void RangeCache::InvalidateAll() {
  static const KeyRange kAll{"", std::string(kFromKeyOn)};
  Invalidate({&kAll, 1});
}

void RangeCache::RaiseFloor(int64_t revision) {
  int64_t floor = floor_.load();
  while (floor < revision && !floor_.compare_exchange_weak(floor, revision)) {
  }
}

void RangeCache::SetCounts() {
  used_.store(entries_.size() + reads_.size());
  keys_.Set(static_cast<int64_t>(entries_.size()));
}

}  // namespace kvorum::proxy_grpc
