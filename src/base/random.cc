#include "base/random.h"

#include <sys/random.h>

#include <bit>

#include "base/check.h"

namespace kvorum {

Random::Random(uint64_t seed) {
  // SplitMix64 spreads the seed over the state, which must not be all zero.
  for (uint64_t& word : state_) {
    seed += 0x9e3779b97f4a7c15;
    uint64_t z = seed;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    word = z ^ (z >> 31);
  }
}

uint64_t Random::Next() {
  const uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
  const uint64_t t = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= t;
  state_[3] = std::rotl(state_[3], 45);
  return result;
}

uint64_t Random::Below(uint64_t bound) {
  KVORUM_CHECK(bound > 0, "an empty range");
  // Numbers under 2^64 mod bound would favour the low results.
  const uint64_t biased = (0 - bound) % bound;
  uint64_t x = Next();
  while (x < biased) x = Next();
  return x % bound;
}

uint64_t SystemEntropy() {
  uint64_t value = 0;
  const ssize_t n = getrandom(&value, sizeof(value), 0);
  KVORUM_CHECK(n == sizeof(value), "getrandom gave {} bytes", n);
  return value;
}

}  // namespace kvorum
