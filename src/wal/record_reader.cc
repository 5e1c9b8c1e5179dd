#include "wal/record_reader.h"

#include <algorithm>
#include <cstring>

#include "absl/status/status.h"
#include "base/crc32c.h"
#include "base/planted_bug.h"
#include "base/wire.h"
#include "fmt/format.h"

namespace kvorum::wal {
namespace {

bool AllZero(std::string_view bytes) {
  return bytes.empty() ||
         (bytes[0] == '\0' && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

bool ParseRecord(std::string_view body, Record* record) {
  *record = Record();
  wire::Reader reader(body);
  for (wire::Field field; reader.Next(&field);) {
    switch (field.number) {
      case kTypeField:
        if (field.type != wire::Type::kVarint) return false;
        record->type = static_cast<int64_t>(field.varint);
        break;
      case kCrcField:
        if (field.type != wire::Type::kVarint || field.varint > UINT32_MAX) return false;
        record->crc = static_cast<uint32_t>(field.varint);
        break;
      case kDataField:
        if (field.type != wire::Type::kLength) return false;
        record->data = field.bytes;
        break;
      default:
        break;
    }
  }
  return reader.ok();
}

uint64_t RecordSize(uint64_t length) { return length & kRecordSizeMask; }

bool TakeByte(std::string_view* in, uint8_t* byte) {
  if (in->empty()) return false;
  *byte = static_cast<uint8_t>(in->front());
  in->remove_prefix(1);
  return true;
}

/// Whether `start`, the first bytes of a record, is how a record of this size begins: the sizes inside it and
/// around it agree.
bool BeginsARecord(std::string_view start, uint64_t record_size) {
  const size_t available = start.size();
  uint8_t byte = 0;
  uint64_t value = 0;
  if (!TakeByte(&start, &byte)) return true;
  if (byte != wire::Tag(kTypeField, wire::Type::kVarint)) return false;
  if (!TakeByte(&start, &byte)) return true;
  const auto type = static_cast<RecordType>(byte);
  if (type < RecordType::kMetadata || type > RecordType::kSnapshot) return false;
  if (!TakeByte(&start, &byte)) return true;
  if (byte != wire::Tag(kCrcField, wire::Type::kVarint)) return false;
  if (!wire::TakeVarint(&start, &value)) return start.size() < wire::kMaxVarintBytes;
  if (value > UINT32_MAX) return false;
  if (type == RecordType::kCrc) return available - start.size() == record_size;
  if (!TakeByte(&start, &byte)) return true;
  if (byte != wire::Tag(kDataField, wire::Type::kLength)) return false;
  if (!wire::TakeVarint(&start, &value)) return start.size() < wire::kMaxVarintBytes;
  return value <= record_size && available - start.size() + value == record_size;
}

}  // namespace

uint64_t FrameBytes(std::string_view rest) {
  uint64_t length = 0;
  if (rest.size() < kLengthBytes) return 0;
  std::memcpy(&length, rest.data(), kLengthBytes);
  const uint64_t size = RecordSize(length);
  if (length == 0) return 0;
  return kLengthBytes + size + (length == size ? 0 : PaddingBytes(size));
}

// An unfinished write leaves sectors as they should be and sectors as they were before, which is zero, in any
// order; or the file ends early. So, of a frame that does not read, either
//   - nothing follows its length field but zeros: nothing was there ever, or nothing of it arrived; or
//   - the length field is one that a writer writes, what can be read of the record's head agrees with it, and
//     a sector of the record is all zero or beyond the end of the file.
// Anything else is damage to what was there.
bool RecordReader::IsTorn(uint64_t length) const {
  const uint64_t body_offset = offset_ + kLengthBytes;
  if (content_.size() < body_offset) return true;
  if (AllZero(content_.substr(body_offset))) return true;
  const uint64_t size = RecordSize(length);
  if (length != LengthField(size)) return false;

  const std::string_view body = content_.substr(body_offset, size + PaddingBytes(size));
  bool sector_missing = body.size() < size + PaddingBytes(size);
  std::string_view start;  // what is there of the record's first bytes
  for (uint64_t done = 0; done < body.size();) {
    const uint64_t to_boundary = kSectorSizeBytes - (body_offset + done) % kSectorSizeBytes;
    const std::string_view sector = body.substr(done, to_boundary);
    const bool is_missing = AllZero(sector);
    sector_missing |= is_missing;
    if (!is_missing && start.size() == done) start = body.substr(0, done + sector.size());
    done += sector.size();
  }
  return sector_missing && BeginsARecord(start, size);
}

absl::Status RecordReader::Damage(std::string_view why) const {
  return absl::DataLossError(fmt::format("{}: in file '{}' at position: {}", why, path_, offset_));
}

absl::StatusOr<RecordReader::Outcome> RecordReader::Broken(uint64_t length, std::string_view why) const {
  if (place_ == Place::kLast && IsTorn(length)) return Outcome::kTorn;
  return Damage(why);
}

// A length of zero is the end where zeros follow it. In the last segment an unfinished write may have left
// this sector as it was and written later ones; but a sector that begins with zeros from here on and goes on
// otherwise has lost its length field.
absl::StatusOr<RecordReader::Outcome> RecordReader::End() const {
  const uint64_t sector_rest = kSectorSizeBytes - offset_ % kSectorSizeBytes;
  const std::string_view rest = content_.substr(offset_);
  if (AllZero(place_ == Place::kLast ? rest.substr(0, sector_rest) : rest)) return Outcome::kEnd;
  return Damage("wal: a record has lost its length");
}

absl::StatusOr<RecordReader::Outcome> RecordReader::Next(Record* record) {
  const std::string_view rest = content_.substr(offset_);
  if (rest.empty()) return Outcome::kEnd;
  if (rest.size() < kLengthBytes) return Broken(0, "unexpected EOF");
  uint64_t length = 0;
  std::memcpy(&length, rest.data(), kLengthBytes);
  if (length == 0) return End();

  const uint64_t size = RecordSize(length);
  if (length != LengthField(size) && length != size) return Broken(length, "wal: malformed length");
  const uint64_t frame_bytes = FrameBytes(rest);
  if (frame_bytes > rest.size()) {
    return Broken(length, fmt::format("wal: max entry size limit exceeded, recBytes: {}", size));
  }
  if (!ParseRecord(rest.substr(kLengthBytes, size), record)) {
    return Broken(length, "walpb: malformed record");
  }
  const bool carries_crc = record->type == static_cast<int64_t>(RecordType::kCrc);
  const uint32_t computed = carries_crc ? crc_ : Crc32c(crc_, record->data);
  const bool unchecked = carries_crc && crc_ == 0;  // the start of reading
  if (record->crc != computed && !unchecked && !IsPlanted(PlantedBug::kCrcIgnored)) {
    return Broken(length,
                  fmt::format("walpb: crc mismatch: expected: {:x} computed: {:x}", record->crc, computed));
  }
  crc_ = record->crc;
  offset_ += frame_bytes;
  return Outcome::kRecord;
}

}  // namespace kvorum::wal
