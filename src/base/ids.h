#pragma once

#include <cstdint>

#include "base/strong_int.h"

namespace kvorum {

/// A lease; positive where one is meant, 0 for none.
using LeaseId = StrongInt<struct LeaseIdTag, int64_t>;
using MemberId = StrongInt<struct MemberIdTag, uint64_t>;
using ClusterId = StrongInt<struct ClusterIdTag, uint64_t>;

}  // namespace kvorum
