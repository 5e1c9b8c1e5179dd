#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

#include "base/clock.h"
#include "raft/types.h"

namespace kvorum::member {

/// What the parts of one member show each other and the outside without a lock. Each field has one writer.
struct SharedState {
  // Written by the raft loop.
  std::atomic<uint64_t> leader{0};
  std::atomic<uint64_t> term{0};
  std::atomic<uint64_t> vote{0};
  std::atomic<uint64_t> committed{0};
  std::atomic<raft::Role> role{raft::Role::kFollower};
  /// The term in which this member leads and is the only one, without learners; 0: it does not.
  std::atomic<uint64_t> lone_leader_term{0};
  /// What was committed when that began; written before it.
  std::atomic<uint64_t> lone_from{0};
  /// When this member was last elected, as the clock's count; 0: never.
  std::atomic<int64_t> elected_at{0};
  /// When the leader known last became known, in Unix nanoseconds.
  std::atomic<int64_t> leader_since{0};

  // Written by the applier.
  std::atomic<uint64_t> applied{0};
  /// The term of that entry; written before `applied`.
  std::atomic<uint64_t> applied_term{0};
  /// The term of the last empty entry applied, the first of its term's leader.
  std::atomic<uint64_t> applied_leader_term{0};

  /// The bytes of the proposals that somebody waits for. Written by proposers and the applier.
  std::atomic<uint64_t> pending_bytes{0};

  // Written by whoever sees it first; never reset.
  std::atomic<bool> failed{false};

  bool is_leader() const { return role.load(std::memory_order_acquire) == raft::Role::kLeader; }

  /// True where a read may be answered from the store at once.
  ///
  /// Such a read is linearizable. As the only member this one commits alone, and a write is acknowledged only
  /// after it was applied here: the store has every write that was acknowledged since then. What others
  /// acknowledged before they left was committed by then, and is applied. A learner is one who may
  /// acknowledge: it may have applied its promotion, and what was committed behind it, before this member
  /// has. Writes of earlier terms and runs lie in the log before the term's first entry, which was applied.
  /// Nobody else can have become leader without this member's vote, and the term is cleared before a vote
  /// leaves.
  bool ReadsAreConfirmed() const {
    const uint64_t lone = lone_leader_term.load(std::memory_order_acquire);
    return lone != 0 && applied_leader_term.load(std::memory_order_acquire) == lone &&
           applied.load(std::memory_order_acquire) >= lone_from.load(std::memory_order_acquire);
  }
};

}  // namespace kvorum::member
