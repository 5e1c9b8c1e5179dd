#pragma once

#include <deque>
#include <map>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "raft/quorum.h"
#include "raft/types.h"

namespace kvorum::raft {

/// A leader's reads that wait for a round of heartbeats to confirm its leadership (thesis §6.4). The rounds
/// are told apart by the context of the request, which the heartbeats carry and their answers echo.
class ReadIndexQueue {
 public:
  struct Read {
    /// What was committed when the request came: what the read has to see.
    Index index;
    Message request;
  };

  /// Takes a request; false where one with the same context waits already.
  bool Add(Index committed, Message request);
  /// `from` follows this leader as of the round of `context`. Gives the votes that the round has so far, or
  /// null where there is no such round.
  const Votes* Acknowledge(NodeId from, const Bytes& context);
  /// The round of `context` is confirmed, and with it every one before: gives and forgets their reads in
  /// order.
  std::vector<Read> Confirm(const Bytes& context);
  /// The newest round's; null where none waits.
  Bytes LastContext() const;

  void Clear();
  bool empty() const { return rounds_.empty(); }

 private:
  struct Round {
    Read read;
    Votes acknowledged;
  };
  static const Bytes& ContextOf(const Message& request) { return request.entries.front().data; }
  Round* Find(const Bytes& context);

  /// Oldest first; the first one has the number first_.
  std::deque<Round> rounds_;
  uint64_t first_ = 0;
  /// Number of a round by its context; the keys point into the requests.
  absl::flat_hash_map<std::string_view, uint64_t> numbers_;
};

}  // namespace kvorum::raft
