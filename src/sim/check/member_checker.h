#pragma once

#include "sim/history.h"

namespace kvorum::sim {

/// Whether members agree, and keep what they promised.
///
///  - Members that apply an entry of the same index apply the same entry: of one term, with one content.
///  - Each applies index after index. It goes on elsewhere only after a snapshot, which leads forward, and
///    after a start: not ahead of what it had applied, nor behind what was on its disk.
///  - Stores of equal revision and compacted revision have equal hashes.
///  - What a member told others to have of the log was on its disk by then, and so was its vote; after a
///  write
///    or sync that failed it tells nothing until it has started again.
///  - It votes once in a term.
Violations CheckMembers(const History& history);

}  // namespace kvorum::sim
