#pragma once

#include <deque>
#include <map>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "raft/quorum.h"
#include "raft/types.h"

namespace kvorum::raft {

/// A leader's reads that wait for a round of heartbeats to confirm its leadership (thesis §6.4). Each request
/// has a round of its own, whose number the heartbeats carry as their context and their answers echo. No
/// number is given twice: a request that comes again, repeated by who asks or by the network, may come when
/// acknowledgements of its first round are still under way, and they say nothing of any read since then.
class ReadIndexQueue {
 public:
  struct Read {
    /// What was committed when the request came: what the read has to see.
    Index index;
    Message request;
  };

  /// Takes a request; false where one with the same context waits already.
  bool Add(Index committed, Message request);
  /// `from` follows this leader as of the round of `context`, a heartbeat's. Gives the votes that the round
  /// has so far, or null where there is no such round.
  const Votes* Acknowledge(NodeId from, const Bytes& context);
  /// The round of `context` is confirmed, and with it every one before: gives and forgets their reads in
  /// order.
  std::vector<Read> Confirm(const Bytes& context);
  /// What heartbeats carry: the newest round's; null where none waits.
  const Bytes& LastContext() const { return last_context_; }

  void Clear();
  bool empty() const { return rounds_.empty(); }

 private:
  struct Round {
    Read read;
    Votes acknowledged;
  };
  static std::string_view ContextOf(const Message& request) { return request.entries.front().data.view(); }
  Round* Find(const Bytes& context);

  /// Oldest first; the first one has the number first_.
  std::deque<Round> rounds_;
  uint64_t first_ = 1;
  Bytes last_context_;
  /// Of the requests that wait; the keys point into them.
  absl::flat_hash_set<std::string_view> contexts_;
};

}  // namespace kvorum::raft
