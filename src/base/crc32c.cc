#include "base/crc32c.h"

#include <isa-l/crc.h>
#include <nmmintrin.h>

#include <algorithm>
#include <climits>
#include <cstring>

namespace kvorum {
namespace {

/// Below this the library's set-up costs more than its speed gains.
constexpr size_t kShort = 64;

uint32_t ShortCrc(uint32_t crc, std::string_view data) {
  uint64_t wide = crc;
  for (; data.size() >= 8; data.remove_prefix(8)) {
    uint64_t word;
    std::memcpy(&word, data.data(), 8);
    wide = _mm_crc32_u64(wide, word);
  }
  crc = static_cast<uint32_t>(wide);
  for (const char c : data) crc = _mm_crc32_u8(crc, static_cast<uint8_t>(c));
  return crc;
}

}  // namespace

uint32_t Crc32c(uint32_t crc, std::string_view data) {
  crc = ~crc;
  if (data.size() < kShort) return ~ShortCrc(crc, data);
  while (!data.empty()) {
    // The library takes an int length and does not write through its pointer.
    const size_t n = std::min<size_t>(data.size(), INT_MAX);
    crc = crc32_iscsi(reinterpret_cast<unsigned char*>(const_cast<char*>(data.data())), static_cast<int>(n),
                      crc);
    data.remove_prefix(n);
  }
  return ~crc;
}

}  // namespace kvorum
