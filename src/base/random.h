#pragma once

#include <cstdint>

namespace kvorum {

/// A seeded generator (xoshiro256**): the same seed gives the same numbers on every machine. Not for secrets.
/// Not thread-safe.
class Random {
 public:
  explicit Random(uint64_t seed);

  uint64_t Next();
  /// Uniform in [0, bound). REQUIRES: bound > 0
  uint64_t Below(uint64_t bound);
  /// True with probability numerator/denominator. REQUIRES: denominator > 0
  bool OneIn(uint64_t numerator, uint64_t denominator) { return Below(denominator) < numerator; }

 private:
  uint64_t state_[4];
};

/// 64 bits from the operating system, to seed a Random with. Thread-safe.
uint64_t SystemEntropy();

}  // namespace kvorum
