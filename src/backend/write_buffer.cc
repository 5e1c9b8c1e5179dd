#include "backend/write_buffer.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <new>

#include "backend/backend_format.h"
#include "base/status.h"

namespace kvorum::backend {
namespace {

/// Counted for each change, beside its key and value.
constexpr uint64_t kOverheadBytes = 64;
constexpr uint64_t kEverything = std::numeric_limits<uint64_t>::max();

}  // namespace

AppendLog::~AppendLog() {
  const size_t size = this->size();
  for (size_t i = 0; i < size; ++i) at(i).~Record();
  for (auto& chunk : chunks_) ::operator delete(chunk.load(std::memory_order_relaxed));
}

const AppendLog::Record& AppendLog::at(size_t i) const {
  const size_t chunk = std::bit_width(i / kFirstChunk + 1) - 1;
  const size_t start = kFirstChunk * ((size_t{1} << chunk) - 1);
  return chunks_[chunk].load(std::memory_order_relaxed)[i - start];
}

void AppendLog::Append(std::string_view key, Bytes value) {
  const size_t i = size_.load(std::memory_order_relaxed);
  KVORUM_CHECK(i == 0 || at(i - 1).key.view() < key, "records out of order");
  const size_t chunk = std::bit_width(i / kFirstChunk + 1) - 1;
  const size_t start = kFirstChunk * ((size_t{1} << chunk) - 1);
  KVORUM_CHECK(chunk < kMaxChunks, "{} records in one buffer", i);
  if (i == start) {
    void* memory = ::operator new((kFirstChunk << chunk) * sizeof(Record));
    chunks_[chunk].store(static_cast<Record*>(memory), std::memory_order_relaxed);
  }
  new (chunks_[chunk].load(std::memory_order_relaxed) + (i - start)) Record{InlineKey(key), std::move(value)};
  size_.store(i + 1, std::memory_order_release);
}

size_t AppendLog::LowerBound(std::string_view key, size_t count) const {
  size_t low = 0;
  size_t high = count;
  if (count > 0 && key.size() >= 8 && at(0).key.view().size() >= 8) {
    // Revisions have few gaps: the distance of the first eight bytes says at least how far to go.
    const uint64_t first = DecodeBigEndian64(at(0).key.view().substr(0, 8));
    const uint64_t wanted = DecodeBigEndian64(key.substr(0, 8));
    if (wanted < first) return 0;
    const uint64_t guess = wanted - first;
    if (guess < count && at(guess).key.view() <= key) {
      low = guess;
      for (size_t step = 1; low + step < count; step *= 2) {
        if (at(low + step).key.view() > key) {
          high = low + step;
          break;
        }
        low += step;
      }
    }
  }
  while (low < high) {
    const size_t middle = low + (high - low) / 2;
    if (at(middle).key.view() < key) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

void OrderedLog::Change(std::string_view key, Bytes value, uint64_t sequence) {
  absl::MutexLock lock(&mutex_);
  auto it = changes_.lower_bound(key);
  if (it == changes_.end() || it->first != key) {
    it = changes_.emplace_hint(it, std::string(key), absl::InlinedVector<Version, 1>());
  }
  it->second.push_back({sequence, std::move(value)});
  empty_.store(false, std::memory_order_release);
}

Finding OrderedLog::At(const absl::InlinedVector<Version, 1>& versions, uint64_t sequence) {
  for (auto it = versions.rbegin(); it != versions.rend(); ++it) {
    if (it->sequence > sequence) continue;
    if (it->value.is_null()) return {.kind = Finding::Kind::kDeleted, .value = {}};
    return {.kind = Finding::Kind::kPresent, .value = it->value.view()};
  }
  return {};
}

Finding OrderedLog::Find(std::string_view key, uint64_t sequence) const {
  if (empty()) return {};
  absl::MutexLock lock(&mutex_);
  const auto it = changes_.find(key);
  return it == changes_.end() ? Finding() : At(it->second, sequence);
}

void OrderedLog::Overlay(std::string_view from, std::string_view to, uint64_t sequence,
                         std::map<std::string_view, Finding>& onto) const {
  if (empty()) return;
  absl::MutexLock lock(&mutex_);
  for (auto it = changes_.lower_bound(from); it != changes_.end(); ++it) {
    if (!to.empty() && it->first >= to) break;
    const Finding finding = At(it->second, sequence);
    if (finding.kind != Finding::Kind::kUnknown) onto.insert_or_assign(it->first, finding);
  }
}

void WriteBuffer::Count(std::string_view key, size_t value_size) {
  ++writes_;
  bytes_ += key.size() + value_size + kOverheadBytes;
}

void WriteBuffer::Put(Bucket bucket, std::string_view key, Bytes value, uint64_t sequence) {
  Count(key, value.size());
  if (value.is_null()) value = Bytes::Copy("");
  if (bucket == Bucket::kKey) {
    const bool rises = key > last_key_;
    if (rises) last_key_ = key;
    if (rises && key.size() <= InlineKey::kMaxSize && (deleted_.empty() || key > highest_deleted_)) {
      appended_.Append(key, std::move(value));
      return;
    }
  }
  ordered_[static_cast<size_t>(bucket)].Change(key, std::move(value), sequence);
}

void WriteBuffer::Delete(Bucket bucket, std::string_view key, uint64_t sequence) {
  Count(key, 0);
  OrderedLog& ordered = ordered_[static_cast<size_t>(bucket)];
  // Deletions in the list are applied before the ordered changes, so a key that has one of these goes there.
  if (bucket == Bucket::kKey && key.size() <= InlineKey::kMaxSize &&
      ordered.Find(key, kEverything).kind == Finding::Kind::kUnknown) {
    deleted_.emplace_back(key);
    if (key > highest_deleted_) highest_deleted_ = key;
    return;
  }
  ordered.Change(key, Bytes(), sequence);
}

Finding WriteBuffer::Find(Bucket bucket, std::string_view key, uint64_t sequence, size_t appended) const {
  Finding finding = ordered(bucket).Find(key, sequence);
  if (finding.kind != Finding::Kind::kUnknown || bucket != Bucket::kKey || appended == 0) return finding;
  if (key < appended_.at(0).key.view() || key > appended_.at(appended - 1).key.view()) return finding;
  const size_t i = appended_.LowerBound(key, appended);
  if (i == appended || appended_.at(i).key.view() != key) return finding;
  return {.kind = Finding::Kind::kPresent, .value = appended_.at(i).value.view()};
}

absl::Status WriteBuffer::ForEachChange(absl::FunctionRef<absl::Status(const BufferedChange&)> apply) const {
  const size_t appended = appended_.size();
  for (size_t i = 0; i < appended; ++i) {
    const AppendLog::Record& record = appended_.at(i);
    KVORUM_RETURN_IF_ERROR(apply(
        {.bucket = Bucket::kKey, .key = record.key.view(), .value = record.value.view(), .appended = true}));
  }
  for (const InlineKey& key : deleted_) {
    KVORUM_RETURN_IF_ERROR(apply({.bucket = Bucket::kKey, .key = key.view(), .value = std::nullopt}));
  }
  for (size_t i = 0; i < kBucketCount; ++i) {
    std::map<std::string_view, Finding> changes;
    ordered_[i].Overlay("", "", kEverything, changes);
    for (const auto& [key, finding] : changes) {
      std::optional<std::string_view> value;
      if (finding.kind == Finding::Kind::kPresent) value = finding.value;
      KVORUM_RETURN_IF_ERROR(apply({.bucket = static_cast<Bucket>(i), .key = key, .value = value}));
    }
  }
  if (!position_) return absl::OkStatus();
  for (const auto& [key, number] :
       {std::pair(kConsistentIndexKey, position_->index), std::pair(kTermKey, position_->term)}) {
    char value[8];
    EncodeBigEndian64(number, value);
    KVORUM_RETURN_IF_ERROR(
        apply({.bucket = Bucket::kMeta, .key = key, .value = std::string_view(value, sizeof(value))}));
  }
  return absl::OkStatus();
}

}  // namespace kvorum::backend
