#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "wal/wal_format.h"

namespace kvorum::wal {

struct Record {
  int64_t type = 0;  ///< a RecordType, if the writer is of our time
  uint32_t crc = 0;
  std::string_view data;  ///< a view into the segment
};

/// Walks over the records of one segment and checks the checksum chain (reference: wal-and-snap.md §2.11).
/// Trusts no byte. Not thread-safe.
class RecordReader {
 public:
  /// Whether a write may have been under way in the segment when the machine stopped.
  enum class Place : uint8_t { kEarlier, kLast };

  /// `content` is the segment, which must outlive this; `path` is for messages; `crc` is the running checksum
  /// of what was read before, 0 at the start of reading. Begins with the frame at `offset`.
  RecordReader(std::string_view content, std::string path, Place place, uint32_t crc, uint64_t offset = 0)
      : content_(content), path_(std::move(path)), place_(place), offset_(offset), crc_(crc) {}

  enum class Outcome : uint8_t {
    kRecord,
    kEnd,   ///< the end of the segment
    kTorn,  ///< what a write leaves that the machine did not finish; never in an earlier segment
  };
  /// DataLoss, with path and offset, where something is damaged in another way than by an unfinished write.
  absl::StatusOr<Outcome> Next(Record* record);

  /// Where the frame begins that Next reads next, or could not read.
  uint64_t offset() const { return offset_; }
  uint32_t crc() const { return crc_; }

 private:
  absl::StatusOr<Outcome> End() const;
  bool IsTorn(uint64_t length) const;
  absl::StatusOr<Outcome> Broken(uint64_t length, std::string_view why) const;
  absl::Status Damage(std::string_view why) const;

  const std::string_view content_;
  const std::string path_;
  const Place place_;
  uint64_t offset_;
  uint32_t crc_;
};

/// Where the frame after the one at the front of `rest` begins, counted from there, if the length field is to
/// be believed; 0 where the segment ends here.
uint64_t FrameBytes(std::string_view rest);

}  // namespace kvorum::wal
