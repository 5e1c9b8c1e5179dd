#pragma once

#include <string>

#include "support/server.h"

namespace kvorum::test {

// A store with something of everything, and what clients see of it, for tests that hand data from one program
// to another.

/// Versions, deletions, a compaction, a lease, a transaction, an empty value, and one of many pages. Fails
/// the test where a command fails.
void FillStore(const Server& server);

/// Keys of the v2 API: files and directories, hidden ones, in order, deleted, compared, with hours to live
/// and one that is gone after a second; more than one snapshot of a short log. Fails the test where a request
/// fails.
void FillV2Store(const Server& server);

/// The whole tree of the v2 API as a client sees it, with its indexes, but for the seconds that are left.
std::string V2StoreOf(const Server& server);

/// All keys with their revisions, versions and leases, the hash of all revisions, and the leases.
std::string StoreOf(const Server& server);

}  // namespace kvorum::test
