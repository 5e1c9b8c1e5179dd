#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "sim/check/kv_model.h"
#include "sim/check/sights.h"
#include "sim/history.h"

namespace kvorum::sim {

/// A revision that only the end of a lease explains: it deletes all of its keys, and no request did it.
struct LeaseEnd {
  int64_t lease = 0;
  int64_t revision = 0;
};

struct KvVerdict {
  Violations violations;
  std::vector<LeaseEnd> lease_ends;  ///< by revision
  /// Of revision 2, 3, …: the operation that made it, as a place in History::operations; kNobody where a
  /// lease's end did, or where it cannot be told.
  std::vector<size_t> makers;

  size_t maker(int64_t revision) const {
    const auto at = static_cast<size_t>(revision - 2);
    return revision < 2 || at >= makers.size() ? kNobody : makers[at];
  }
};

/// Whether a run's key-value operations are linearizable, and its serializable reads in order. No search is
/// needed: the revision in an answer's header is the witness of its place.
///
///  - Every answered write has a revision of its own, which does just what the request does to the state
///    before; every other answer is what the request gives in the state at its header's revision.
///  - A revision that no answer claims was made by a request of unknown outcome, each of which makes one at
///    most, or by a lease's end.
///  - Of two operations, one of which returned before the other began, the later sees the earlier. No answer
///    shows what was asked for only after it.
///  - A serializable read shows any state that its member can have had: never one older than that member
///    showed before.
///  - A refusal for a compacted or future revision, or for a key that is missing, had its reason.
///
/// Reads that no member but the asked one confirms are serializable ranges, and transactions of nothing else.
KvVerdict CheckKv(const History& history, const KvModel& model);

}  // namespace kvorum::sim
