#pragma once

#include <cstdint>

namespace kvorum::wal {

// The write-ahead log's files (reference: wal-and-snap.md §2, docs/formats.md).
//
//   segment := frame* (zero bytes to the end)
//   frame   := length record padding
//   length  := int64, little-endian; low 56 bits: size of the record; top byte: 0, or 0x80 | size of padding
//   record  := walpb.Record { type = 1, crc = 2, data = 3 }
//   padding := zero bytes up to a multiple of 8
//
// A length of 0 ends a file: the rest is preallocated zeros.

/// Size at which a segment is full; also what is reserved on disk for one.
inline constexpr uint64_t kSegmentSizeBytes = 64'000'000;
inline constexpr uint64_t kLengthBytes = 8;
inline constexpr uint64_t kFrameAlignment = 8;
inline constexpr uint64_t kRecordSizeMask = (uint64_t{1} << 56) - 1;
inline constexpr uint64_t kPaddedMark = uint64_t{0x80} << 56;
/// What a disk writes whole or not at all.
inline constexpr uint64_t kSectorSizeBytes = 512;

/// Zero bytes behind a record of this size.
constexpr uint64_t PaddingBytes(uint64_t record_size) {
  return (kFrameAlignment - record_size % kFrameAlignment) % kFrameAlignment;
}

/// The length field of a record of this size.
constexpr uint64_t LengthField(uint64_t record_size) {
  const uint64_t padding = PaddingBytes(record_size);
  return padding == 0 ? record_size : record_size | kPaddedMark | padding << 56;
}

enum class RecordType : int64_t { kMetadata = 1, kEntry = 2, kState = 3, kCrc = 4, kSnapshot = 5 };

// Fields of walpb.Record.
inline constexpr uint32_t kTypeField = 1;
inline constexpr uint32_t kCrcField = 2;
inline constexpr uint32_t kDataField = 3;

}  // namespace kvorum::wal
