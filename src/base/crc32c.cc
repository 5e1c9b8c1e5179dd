#include "base/crc32c.h"

#include <isa-l/crc.h>

#include <algorithm>
#include <climits>

namespace kvorum {

uint32_t Crc32c(uint32_t crc, std::string_view data) {
  crc = ~crc;
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
