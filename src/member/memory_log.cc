#include "member/memory_log.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "raft/errors.h"

namespace kvorum::member {
namespace {

/// What a member without followers keeps; nobody will ask for it.
constexpr uint64_t kLoneLogBytes = uint64_t{16} << 20;
/// What is kept for followers that take part.
constexpr uint64_t kFollowedLogBytes = uint64_t{128} << 20;
/// What is kept for one that a snapshot is on its way to: the more, the slower its disk and the wire may be.
constexpr uint64_t kPinnedLogBytes = uint64_t{1} << 30;

}  // namespace

void MemoryLog::Append(std::vector<raft::Entry> entries) {
  appended_bytes_ += raft::PayloadSize(entries);
  if (!entries.empty()) storage_->Append(std::move(entries));
}

void MemoryLog::Install(raft::Snapshot snapshot) {
  const absl::Status status = storage_->ApplySnapshot(std::move(snapshot));
  KVORUM_CHECK(status.ok(), "{}", status.ToString());
  marks_.clear();
  pins_.clear();
}

void MemoryLog::Pin(raft::NodeId follower, raft::Index index) { pins_[follower] = {.index = index}; }

void MemoryLog::ArrivedAt(raft::NodeId follower, MonotonicTime deadline) {
  if (const auto it = pins_.find(follower); it != pins_.end()) it->second.until = deadline;
}

/// The oldest mark such that at most `limit` bytes lie behind it, or `cut` where that is later.
uint64_t MemoryLog::CutByBytes(uint64_t cut, uint64_t limit) {
  for (const Mark& mark : marks_) {
    if (appended_bytes_ - mark.bytes <= limit) break;
    cut = std::max(cut, mark.index.value());
  }
  return cut;
}

void MemoryLog::Cut(const SnapshotPoint& point, const Followers& followers, MonotonicTime now) {
  absl::StatusOr<raft::Snapshot> snapshot =
      storage_->CreateSnapshot(point.index, &point.conf_state, point.data);
  if (raft::ErrorCode(snapshot.status()) == raft::Error::kSnapshotOutOfDate) return;
  KVORUM_CHECK(snapshot.ok(), "{}", snapshot.status().ToString());
  marks_.push_back({.index = point.index, .bytes = appended_bytes_});
  std::erase_if(pins_, [now](const auto& pin) { return pin.second.until <= now; });

  const uint64_t applied = point.index.value();
  uint64_t cut = applied > catch_up_entries_ ? applied - catch_up_entries_ : 0;
  uint64_t limit = followers.any ? kFollowedLogBytes : kLoneLogBytes;
  if (followers.needed) cut = std::min(cut, followers.needed->value() - 1);
  for (const auto& [id, pin] : pins_) {
    cut = std::min(cut, pin.index.value());
    limit = kPinnedLogBytes;
  }
  cut = CutByBytes(cut, limit);
  while (!marks_.empty() && marks_.front().index.value() <= cut) marks_.pop_front();
  if (cut < storage_->FirstIndex().value()) return;
  const absl::Status status = storage_->Compact(raft::Index(cut));
  KVORUM_CHECK(status.ok(), "{}", status.ToString());
}

}  // namespace kvorum::member
