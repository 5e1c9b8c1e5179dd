#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sim/history.h"

namespace kvorum::sim {

/// A change of the v2 store as watches need it.
struct V2Change {
  V2Event event;
  bool refresh = false;
  std::vector<std::string> removed;  ///< every path that went with it
};

/// Whether the watches were told just what they waited for, and whether their refusals were right. `changes`:
/// of every index in turn, from 1 on.
Violations CheckV2Watches(const std::vector<V2WatchHistory>& watches, const std::vector<V2Change>& changes);

}  // namespace kvorum::sim
