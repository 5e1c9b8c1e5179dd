#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <string_view>

#include "raft/types.h"

namespace kvorum::raft {

/// The append messages that are under way to one follower: the last index and the payload bytes of each.
class Inflights {
 public:
  Inflights() = default;
  /// `max_bytes` 0: no limit. The byte limit is soft: the message that crosses it is still sent.
  Inflights(size_t max_messages, uint64_t max_bytes) : max_messages_(max_messages), max_bytes_(max_bytes) {}

  /// REQUIRES: !full()
  void Add(Index last, uint64_t bytes);
  /// Forgets every message that ends at or before `index`.
  void FreeThrough(Index index);
  void Clear();

  bool full() const { return messages_.size() == max_messages_ || (max_bytes_ != 0 && bytes_ >= max_bytes_); }
  size_t count() const { return messages_.size(); }

 private:
  struct Sent {
    Index last;
    uint64_t bytes;
  };
  size_t max_messages_ = 0;
  uint64_t max_bytes_ = 0;
  uint64_t bytes_ = 0;
  std::deque<Sent> messages_;
};

enum class ProgressState : uint8_t {
  kProbe,      ///< one append at a time, to find where the logs agree
  kReplicate,  ///< appends are sent ahead of their acknowledgements
  kSnapshot,   ///< a snapshot is on its way; no appends
};
/// "StateProbe" and so on.
std::string_view ProgressStateName(ProgressState state);

/// What a leader knows of one follower's log. Source: reference raft.md §5.1.
/// Invariant: match < next
struct Progress {
  Index match;        ///< known to be on the follower's disk
  Index next;         ///< the next entry to send
  Index sent_commit;  ///< the highest commit index that was sent
  ProgressState state = ProgressState::kProbe;
  Index pending_snapshot;  ///< in kSnapshot: the snapshot's index
  bool recent_active = false;
  bool append_flow_paused = false;
  bool is_learner = false;
  Inflights inflights;

  void BecomeProbe();
  void BecomeReplicate();
  void BecomeSnapshot(Index snapshot_index);
  /// `entries` entries with `bytes` of payload were sent.
  void SentEntries(size_t entries, uint64_t bytes);
  /// The follower has everything up to `index`; false where that was known.
  bool MaybeUpdate(Index index);
  /// The follower refused the append after `rejected`; false where the answer is stale.
  bool MaybeDecreaseTo(Index rejected, Index match_hint);
  bool CanBumpCommit(Index commit) const { return commit > sent_commit && sent_commit + 1 < next; }
  bool IsPaused() const;

  /// "StateReplicate match=5 next=6", as scenario files show it.
  std::string ToString() const;

 private:
  void ResetState(ProgressState new_state);
};

/// Ordered, for messages go out in the order of ids.
using ProgressMap = std::map<NodeId, Progress>;
/// A line "1: StateReplicate match=5 next=6" each.
std::string ToString(const ProgressMap& progress);

}  // namespace kvorum::raft
