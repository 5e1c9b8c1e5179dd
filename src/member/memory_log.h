#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "raft/storage.h"
#include "raft/types.h"

namespace kvorum::member {

/// A point at which the log in memory may be cut: what a raft snapshot at `index` says.
struct SnapshotPoint {
  raft::Index index;
  raft::Term term;
  raft::ConfState conf_state;
  Bytes data;
};

/// The log in memory and how much of it is kept: for followers that are connected but behind what they still
/// need, and always the catch-up entries, but never more than a fixed number of bytes. Not thread-safe: the
/// raft loop's own.
class MemoryLog {
 public:
  MemoryLog(std::unique_ptr<raft::MemoryStorage> storage, uint64_t catch_up_entries)
      : storage_(std::move(storage)), catch_up_entries_(catch_up_entries) {}

  const raft::MemoryStorage& storage() const { return *storage_; }

  void Append(std::vector<raft::Entry> entries);
  /// What came from the leader in the place of everything.
  void Install(raft::Snapshot snapshot);

  /// A snapshot up to `index` is on its way to `follower`, who will go on from there.
  void Pin(raft::NodeId follower, raft::Index index);
  /// It arrived: the follower gets until `deadline` to ask for what comes next.
  void ArrivedAt(raft::NodeId follower, MonotonicTime deadline);
  void Unpin(raft::NodeId follower) { pins_.erase(follower); }
  void UnpinAll() { pins_.clear(); }

  /// Who else has the log.
  struct Followers {
    bool any = false;
    /// The first entry that a connected follower does not have, where the log still has it.
    std::optional<raft::Index> needed;
  };
  /// Everything up to the point is in the database: drops what nobody will ask for.
  void Cut(const SnapshotPoint& point, const Followers& followers, MonotonicTime now);

 private:
  uint64_t CutByBytes(uint64_t cut, uint64_t limit);

  const std::unique_ptr<raft::MemoryStorage> storage_;
  const uint64_t catch_up_entries_;

  /// How many payload bytes the log had got by an index, at each cut of it.
  struct Mark {
    raft::Index index;
    uint64_t bytes = 0;
  };
  std::deque<Mark> marks_;
  uint64_t appended_bytes_ = 0;

  struct Kept {
    raft::Index index;
    MonotonicTime until = MonotonicTime::max();
  };
  std::map<raft::NodeId, Kept> pins_;
};

}  // namespace kvorum::member
