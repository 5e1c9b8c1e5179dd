#include "raft/storage.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/check.h"
#include "raft/errors.h"

namespace kvorum::raft {

size_t CountWithinSize(std::span<const Entry> entries, uint64_t max_bytes) {
  uint64_t size = 0;
  for (size_t i = 0; i < entries.size(); ++i) {
    size += EncodedSize(entries[i]);
    if (size > max_bytes && i > 0) return i;
  }
  return entries.size();
}

MemoryStorage::MemoryStorage() : entries_(1) {}

std::span<const Entry> MemoryStorage::live() const { return std::span(entries_).subspan(front_); }

absl::StatusOr<Storage::InitialState> MemoryStorage::GetInitialState() const {
  return InitialState{.hard_state = hard_state_, .conf_state = snapshot_.metadata.conf_state};
}

absl::StatusOr<std::vector<Entry>> MemoryStorage::Entries(Index low, Index high, uint64_t max_bytes) const {
  const std::span<const Entry> live_entries = live();
  const Index offset = live_entries[0].index;
  if (low <= offset) return MakeError(Error::kCompacted);
  KVORUM_CHECK(high <= LastIndex() + 1, "entries' hi({}) is out of bound lastindex({})", high, LastIndex());
  if (live_entries.size() == 1) return MakeError(Error::kUnavailable);
  const auto wanted = live_entries.subspan(low - offset, high - low);
  const auto given = wanted.first(CountWithinSize(wanted, max_bytes));
  return std::vector<Entry>(given.begin(), given.end());
}

absl::StatusOr<Term> MemoryStorage::GetTerm(Index index) const {
  const Index offset = live()[0].index;
  if (index < offset) return MakeError(Error::kCompacted);
  if (index > LastIndex()) return MakeError(Error::kUnavailable);
  return live()[index - offset].term;
}

Index MemoryStorage::LastIndex() const { return entries_.back().index; }

Index MemoryStorage::FirstIndex() const { return entries_[front_].index + 1; }

absl::StatusOr<Snapshot> MemoryStorage::GetSnapshot() const { return snapshot_; }

void MemoryStorage::Append(std::vector<Entry> entries) {
  if (entries.empty()) return;
  const Index first = FirstIndex();
  if (entries.back().index < first) return;
  auto begin = entries.begin();
  if (begin->index < first) begin += static_cast<ptrdiff_t>(first - begin->index);
  KVORUM_CHECK(begin->index <= LastIndex() + 1, "missing log entry [last: {}, append at: {}]", LastIndex(),
               begin->index);
  entries_.resize(front_ + (begin->index - entries_[front_].index));
  entries_.insert(entries_.end(), std::make_move_iterator(begin), std::make_move_iterator(entries.end()));
}

absl::Status MemoryStorage::ApplySnapshot(Snapshot snapshot) {
  if (snapshot.metadata.index <= snapshot_.metadata.index) return MakeError(Error::kSnapshotOutOfDate);
  snapshot_ = std::move(snapshot);
  entries_.clear();
  front_ = 0;
  entries_.push_back({.term = snapshot_.metadata.term, .index = snapshot_.metadata.index});
  return absl::OkStatus();
}

absl::StatusOr<Snapshot> MemoryStorage::CreateSnapshot(Index index, const ConfState* conf_state, Bytes data) {
  if (index <= snapshot_.metadata.index) return MakeError(Error::kSnapshotOutOfDate);
  KVORUM_CHECK(index <= LastIndex(), "snapshot {} is out of bound lastindex({})", index, LastIndex());
  absl::StatusOr<Term> term = GetTerm(index);
  if (!term.ok()) return term.status();
  snapshot_.metadata.index = index;
  snapshot_.metadata.term = *term;
  if (conf_state != nullptr) snapshot_.metadata.conf_state = *conf_state;
  snapshot_.data = std::move(data);
  return snapshot_;
}

absl::Status MemoryStorage::Compact(Index index) {
  const Index offset = entries_[front_].index;
  if (index <= offset) return MakeError(Error::kCompacted);
  KVORUM_CHECK(index <= LastIndex(), "compact {} is out of bound lastindex({})", index, LastIndex());
  const size_t dropped = index - offset;
  for (size_t i = 0; i <= dropped; ++i) entries_[front_ + i].data = Bytes();
  front_ += dropped;
  entries_[front_].type = EntryType::kNormal;
  // Moving what is left once it is the smaller half costs each entry a constant share.
  if (front_ > entries_.size() - front_) {
    entries_.erase(entries_.begin(), entries_.begin() + static_cast<ptrdiff_t>(front_));
    front_ = 0;
  }
  return absl::OkStatus();
}

}  // namespace kvorum::raft
