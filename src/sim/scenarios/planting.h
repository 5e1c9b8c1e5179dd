#pragma once

#include "base/planted_bug.h"

#if KVORUM_PLANTED_BUGS

namespace kvorum::sim {

/// While this lives a bug is there: a scenario has to come to another end with it.
class Planting {
 public:
  explicit Planting(PlantedBug bug) { planted_bug = bug; }
  ~Planting() { planted_bug = PlantedBug::kNone; }
  Planting(const Planting&) = delete;
  Planting& operator=(const Planting&) = delete;
};

}  // namespace kvorum::sim

#endif
