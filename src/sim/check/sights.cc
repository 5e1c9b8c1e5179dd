#include "sim/check/sights.h"

#include <algorithm>

namespace kvorum::sim {

void Floors::Finish() {
  std::sort(sights_.begin(), sights_.end(), [](const Sight& a, const Sight& b) { return a.when < b.when; });
  for (size_t i = 1; i < sights_.size(); ++i) {
    if (sights_[i].place >= sights_[i - 1].place) continue;
    sights_[i].place = sights_[i - 1].place;
    sights_[i].operation = sights_[i - 1].operation;
  }
}

Sight Floors::Before(Instant when, int64_t first) const {
  const auto after = std::lower_bound(sights_.begin(), sights_.end(), when,
                                      [](const Sight& sight, Instant t) { return sight.when < t; });
  return after == sights_.begin() ? Sight{.when = 0, .place = first, .operation = kNobody} : *(after - 1);
}

std::vector<Sight> Deadlines(const std::vector<Sight>& sights, int64_t last) {
  std::vector<Sight> deadlines(static_cast<size_t>(last + 1), Sight{.when = kNever});
  for (const Sight& sight : sights) {
    Sight& deadline = deadlines[static_cast<size_t>(sight.place)];
    if (sight.when < deadline.when) deadline = sight;
  }
  for (size_t i = deadlines.size() - 1; i > 0; --i) {
    if (deadlines[i].when < deadlines[i - 1].when) deadlines[i - 1] = deadlines[i];
  }
  return deadlines;
}

}  // namespace kvorum::sim
