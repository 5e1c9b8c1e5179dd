#pragma once

#include "sim/check/kv_model.h"
#include "sim/history.h"

namespace kvorum::sim {

/// Whether each watcher was told what happened (reference: v3-api.md §6.8).
///
///  - After "created" come the events of its range, its filters applied, of all revisions from its start on
///  (of
///    start 0: after the revision of "created"): in order, each once, none left out, all of one revision in
///    one response or in its fragments, with the previous pair where it was asked for and not compacted. Of a
///    revision that was compacted at, only what was at its end has to come.
///  - A response without events says that everything up to its header's revision has been sent, so that a
///    client can go on from there; it never falls behind what was sent.
///  - The watch ends with a compaction that it was behind of, or because its client asked for that; nothing
///    comes after its end.
///  - A watch that was open to the end has everything.
Violations CheckWatches(const History& history, const KvModel& model);

}  // namespace kvorum::sim
