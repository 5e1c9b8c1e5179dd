#pragma once

#include <vector>

#include "sim/check/kv_checker.h"
#include "sim/check/kv_model.h"
#include "sim/history.h"

namespace kvorum::sim {

/// From `begin` to `end`.
struct Interval {
  Instant begin = 0;
  Instant end = 0;
};

/// What is to be expected of the leases of one run.
struct LeaseRules {
  /// How fast or slow members' clocks may go: a second of theirs lasts between 1 / (1 + drift) and 1 + drift
  /// seconds.
  double clock_drift = 0;
  /// How long after its time a lease may still be there, in a cluster that has a leader: the leader's rounds,
  /// the log, what a new leader adds to spread ends.
  Instant most_late = 0;
  /// Times without a leader, or in which it changed (or its clock jumped): a lease that lived then may be
  /// counted anew from their end on. By `begin`.
  std::vector<Interval> disturbances;
  /// For how long a request without an answer may still take effect.
  Instant request_lifetime = 0;
  Instant end_of_run = 0;
};

/// Whether leases live as long as they were granted and renewed, and their keys as long as they (reference:
/// v3-api.md §6.9).
///
///  - A lease that nobody revoked does not end before its time after the last renewal that was answered.
///  - It does not outlive that time by more than `most_late`: not by its keys, nor by a renewal or an
///    attachment that is still accepted.
///  - At the revision of a revocation's answer no key is attached any more, and none ever after; nor after an
///    end by time.
///  - What is over stays over: a renewal that was told so, or was refused, had a reason, and none is accepted
///    later.
///
/// An end that a request of unknown outcome may have been is none. REQUIRES: each lease has an id of its own.
Violations CheckLeases(const History& history, const KvModel& model, const KvVerdict& verdict,
                       const LeaseRules& rules);

}  // namespace kvorum::sim
