#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "sim/history.h"

namespace kvorum::sim {

inline constexpr size_t kNobody = static_cast<size_t>(-1);

/// Something that shows that a place in the order of changes, a revision or an index, was there by some time.
struct Sight {
  Instant when = 0;
  int64_t place = 0;
  size_t operation = kNobody;  ///< the answer that shows it; kNobody: it was seen elsewhere
};

/// Which place was certainly reached at a time.
class Floors {
 public:
  void Add(Sight sight) { sights_.push_back(sight); }
  /// To be called after the last Add.
  void Finish();
  /// The furthest of what was shown before `when`; without any, `first`.
  Sight Before(Instant when, int64_t first) const;

 private:
  std::vector<Sight> sights_;
};

/// Of each place up to `last` the earliest sight of it or of a later one: by then it was there.
std::vector<Sight> Deadlines(const std::vector<Sight>& sights, int64_t last);

}  // namespace kvorum::sim
