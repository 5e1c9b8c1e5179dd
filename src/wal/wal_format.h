#pragma once

#include <cstdint>

namespace kvorum::wal {

// The write-ahead log's files (reference: wal-and-snap.md §2, docs/formats.md).
//
//   frame   := length padding-marked record padding
//   length  := int64, little-endian; low 56 bits: size of the record; top byte: 0, or 0x80 | padding
//   record  := walpb.Record { type = 1, crc = 2, data = 3 }
//   padding := zero bytes up to a multiple of 8
//
// A length of 0 ends a file: the rest is preallocated zeros.

inline constexpr uint64_t kSegmentSizeBytes = 64'000'000;
inline constexpr uint64_t kFrameAlignment = 8;
inline constexpr uint64_t kSectorSizeBytes = 512;

enum class RecordType : int64_t { kMetadata = 1, kEntry = 2, kState = 3, kCrc = 4, kSnapshot = 5 };

}  // namespace kvorum::wal
