#pragma once

#include "sim/history.h"

namespace kvorum::sim {

/// What is to be expected of the times at which nodes of one run expire.
struct V2Rules {
  int64_t unix_at_start = 0;   ///< nanoseconds of Unix time when the run began
  Instant clock_ahead = 0;     ///< how far the clock of any leader was ahead of the true one at most
  Instant clock_behind = 0;    ///< how far it was behind it since `healthy`; negative: ahead
  Instant most_late = kNever;  ///< how long after its time by the leader's clock a node may be there still
  /// From when on there was a leader all the time: before, nothing is late.
  Instant healthy = 0;
  Instant end_of_run = 0;
  /// v2_events has every index up to the last one, refreshes and hidden names too.
  bool every_index_told = false;
};

/// Whether a run's operations on the v2 API are linearizable, and its watches exact (reference: v2-keys.md
/// §3, §8). The index of an answer is the witness of its place: every answered write is replayed at the index
/// that it took, every other answer is compared with the tree at its index, errors by their codes (CAS and
/// CAD among them).
///
///  - An index that no answer claims was taken by a request of unknown outcome, which takes one at most, or
///    by the end of a node by time: one that has such an end, that came, and before which no other was due.
///    Of hidden nodes, of which no watch of the whole is told, the next one due is taken for the one that
///    ended.
///  - Of two operations, one of which returned before the other began, the later sees the earlier. A GET
///    without quorum sees any state that its member can have had, and never an older one than before.
///  - Keys made in order have the index of their making as their name, so they rise.
///  - A watch is told of just what it waits for, from its index on: the first such change, or as a stream
///    all; of the past only what the last 1,000 changes hold, and error 401 is given where they do not reach.
///    Where its member installs a snapshot it goes on with the snapshot's history, or ends.
///
/// REQUIRES: v2_events has at least what a recursive watch of the whole store is told. Changes outside of
/// "/1" are nobody's here.
Violations CheckV2(const History& history, const V2Rules& rules);

}  // namespace kvorum::sim
