#pragma once

#include "sim/history.h"

namespace kvorum::sim {

/// Whether the members' logs and leaders kept the five properties of figure 3 of the Raft paper.
///
///  - Election safety: of a term only one member sends a leader's messages.
///  - Leader append-only: a member that leads never replaces an entry of its log.
///  - Log matching: an entry of an index and a term is the same in every log, and stands behind an entry of
///    the same term; terms do not fall along a log.
///  - Leader completeness: who begins to lead has every entry that a leader of an earlier term told to be
///    committed.
///  - State machine safety: of one index only one entry is committed, and that one is applied (CheckMembers
///    compares what members applied with each other).
Violations CheckRaft(const History& history);

}  // namespace kvorum::sim
