#pragma once

#include <cstdint>
#include <string_view>

#include "base/bytes.h"

namespace kvorum::backend {

// What the backend itself writes (docs/formats.md, "Database directory").

/// Keys of Bucket::kMeta that hold the applied position, each 8 bytes big-endian (reference:
/// backend-schema.md §3). The backend writes them with each commit; nobody else does.
inline constexpr std::string_view kConsistentIndexKey = "consistent_index";
inline constexpr std::string_view kTermKey = "term";

/// Behind each stored value: CRC-32C of key and value, little-endian.
inline constexpr size_t kChecksumBytes = 4;

inline void EncodeBigEndian64(uint64_t v, char* out) {
  for (int i = 7; i >= 0; --i, v >>= 8) out[i] = static_cast<char>(v);
}
inline uint64_t DecodeBigEndian64(std::string_view in) {
  uint64_t v = 0;
  for (const char c : in) v = v << 8 | static_cast<uint8_t>(c);
  return v;
}
inline Bytes BigEndian64(uint64_t v) {
  return Bytes::Build(8, [v](char* out) { EncodeBigEndian64(v, out); });
}

}  // namespace kvorum::backend
