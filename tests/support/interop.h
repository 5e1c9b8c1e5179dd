#pragma once

#include <string>

#include "support/server.h"

namespace kvorum::test {

// A store with something of everything, and what clients see of it, for tests that hand data from one program
// to another.

/// Versions, deletions, a compaction, a lease, a transaction, an empty value, and one of many pages. Fails
/// the test where a command fails.
void FillStore(const Server& server);

/// All keys with their revisions, versions and leases, the hash of all revisions, and the leases.
std::string StoreOf(const Server& server);

}  // namespace kvorum::test
