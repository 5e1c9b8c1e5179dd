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

/// The record in LMDB's unnamed table that marks a file as ours, and tells the version of these formats.
inline constexpr std::string_view kFormatKey = "format";
inline constexpr std::string_view kFormatValue = "kvorum-backend 1";

/// LMDB takes keys of at most 511 bytes. Longer keys of ours that agree in their first 510 bytes are kept in
/// one bag, stored under these 510 bytes and a zero byte: behind the key that is just these bytes, before
/// every other, so that the order of the bytes is kept. No other record has a key of 511 bytes. A bag is a
/// row of keys and values in key order, each with its size before it, 4 bytes little-endian.
inline constexpr size_t kMaxPlainKeyBytes = 510;

inline constexpr std::string_view kDataFile = "data.mdb";
inline constexpr std::string_view kLmdbLockFile = "lock.mdb";
/// Held with flock by the process that has the database open.
inline constexpr std::string_view kOwnerLockFile = "lock";
/// A database that is being made (at the first start, or by a defragmentation). Removed when the database is
/// opened.
inline constexpr std::string_view kNewDatabaseDirectory = "new.tmp";

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
