#include "raft/unstable_log.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/check.h"

namespace kvorum::raft {
namespace {

// An empty list gives its memory back once it is beyond what a usual batch needs.
constexpr size_t kKeptCapacity = 4096;

}  // namespace

std::optional<Index> UnstableLog::FirstIndex() const {
  if (!snapshot_) return std::nullopt;
  return snapshot_->metadata.index + 1;
}

std::optional<Index> UnstableLog::LastIndex() const {
  if (!entries_.empty()) return entries_.back().index;
  if (snapshot_) return snapshot_->metadata.index;
  return std::nullopt;
}

std::optional<Term> UnstableLog::TermAt(Index index) const {
  if (index < offset_) {
    if (snapshot_ && snapshot_->metadata.index == index) return snapshot_->metadata.term;
    return std::nullopt;
  }
  if (index >= end()) return std::nullopt;
  return entries_[index - offset_].term;
}

std::span<const Entry> UnstableLog::Slice(Index low, Index high) const {
  KVORUM_CHECK(low <= high, "invalid unstable.slice {} > {}", low, high);
  KVORUM_CHECK(low >= offset_ && high <= end(), "unstable.slice[{},{}) out of bound [{},{}]", low, high,
               offset_, end());
  return std::span(entries_).subspan(low - offset_, high - low);
}

std::span<const Entry> UnstableLog::NextEntries() const {
  return std::span(entries_).subspan(offset_in_progress_ - offset_);
}

void UnstableLog::AcceptInProgress() {
  offset_in_progress_ = end();
  if (snapshot_) snapshot_in_progress_ = true;
}

void UnstableLog::StableTo(Index index, Term term) {
  const std::optional<Term> known = TermAt(index);
  if (!known) {
    KVORUM_LOG(*logger_, kInfo, fmt::format("entry at index {} missing from unstable log; ignoring", index));
    return;
  }
  if (index < offset_) {
    KVORUM_LOG(*logger_, kInfo, fmt::format("entry at index {} matched unstable snapshot; ignoring", index));
    return;
  }
  if (*known != term) {
    KVORUM_LOG(*logger_, kInfo,
               fmt::format("entry at (index,term)=({},{}) mismatched with entry at ({},{}) in unstable log; "
                           "ignoring",
                           index, term, index, *known));
    return;
  }
  entries_.erase(entries_.begin(), entries_.begin() + static_cast<ptrdiff_t>(index + 1 - offset_));
  if (entries_.empty() && entries_.capacity() > kKeptCapacity) entries_.shrink_to_fit();
  offset_ = index + 1;
  offset_in_progress_ = std::max(offset_in_progress_, offset_);
}

void UnstableLog::StableSnapshotTo(Index index) {
  if (!snapshot_ || snapshot_->metadata.index != index) return;
  snapshot_.reset();
  snapshot_in_progress_ = false;
}

void UnstableLog::Restore(Snapshot snapshot) {
  offset_ = snapshot.metadata.index + 1;
  offset_in_progress_ = offset_;
  entries_.clear();
  snapshot_ = std::move(snapshot);
  snapshot_in_progress_ = false;
}

void UnstableLog::TruncateAndAppend(std::vector<Entry> entries) {
  KVORUM_CHECK(!entries.empty(), "nothing to append");
  const Index from = entries.front().index;
  KVORUM_CHECK(from <= end(), "a gap before {} in an unstable log that ends before {}", from, end());
  if (from == end() && entries_.empty()) {
    entries_ = std::move(entries);
    return;
  }
  if (from < end() && from <= offset_) {
    KVORUM_LOG(*logger_, kInfo, fmt::format("replace the unstable entries from index {}", from));
    entries_ = std::move(entries);
    offset_ = from;
    offset_in_progress_ = from;
    return;
  }
  if (from < end()) {
    KVORUM_LOG(*logger_, kInfo, fmt::format("truncate the unstable entries before index {}", from));
    entries_.resize(from - offset_);
    offset_in_progress_ = std::min(offset_in_progress_, from);
  }
  entries_.insert(entries_.end(), std::make_move_iterator(entries.begin()),
                  std::make_move_iterator(entries.end()));
}

void UnstableLog::CheckInvariants() const {
  KVORUM_CHECK(offset_ <= offset_in_progress_ && offset_in_progress_ <= end(),
               "offset {}, in progress {}, end {}", offset_, offset_in_progress_, end());
  for (size_t i = 0; i < entries_.size(); ++i) {
    KVORUM_CHECK(entries_[i].index == offset_ + i, "entry {} of [{},{}) has the index {}", i, offset_, end(),
                 entries_[i].index);
    KVORUM_CHECK(i == 0 || entries_[i - 1].term <= entries_[i].term, "the term falls at {}",
                 entries_[i].index);
  }
}

}  // namespace kvorum::raft
