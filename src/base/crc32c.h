#pragma once

#include <cstdint>
#include <string_view>

namespace kvorum {

/// CRC-32C (Castagnoli) of what `crc` covers followed by `data`; start with 0. `crc` is a finished value, as
/// in Go's `crc32.Update`: Crc32c(0, "123456789") is 0xe3069283.
uint32_t Crc32c(uint32_t crc, std::string_view data);

}  // namespace kvorum
