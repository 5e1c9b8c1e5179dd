#include "mvcc/record_format.h"

#include <cstring>

#include "base/check.h"
#include "base/wire.h"

namespace kvorum::mvcc {
namespace {

using wire::PutVarint;
using wire::VarintSize;

// Every field of mvccpb.KeyValue and mvccpb.Event has a one-byte tag.
constexpr char kKeyTag = wire::Tag(1, wire::Type::kLength);
constexpr char kCreateTag = wire::Tag(2, wire::Type::kVarint);
constexpr char kModTag = wire::Tag(3, wire::Type::kVarint);
constexpr char kVersionTag = wire::Tag(4, wire::Type::kVarint);
constexpr char kValueTag = wire::Tag(5, wire::Type::kLength);
constexpr char kLeaseTag = wire::Tag(6, wire::Type::kVarint);
constexpr char kEventTypeTag = wire::Tag(1, wire::Type::kVarint);
constexpr char kEventKvTag = wire::Tag(2, wire::Type::kLength);
constexpr char kEventPrevTag = wire::Tag(3, wire::Type::kLength);
constexpr char kResponseEventTag = wire::Tag(11, wire::Type::kLength);
constexpr char kEventTypeDelete = 1;

void StoreBigEndian(char* out, int64_t v) {
  const uint64_t swapped = __builtin_bswap64(static_cast<uint64_t>(v));
  std::memcpy(out, &swapped, sizeof swapped);
}

int64_t LoadBigEndian(const char* in) {
  uint64_t v = 0;
  std::memcpy(&v, in, sizeof v);
  return static_cast<int64_t>(__builtin_bswap64(v));
}

size_t IntSize(int64_t v) { return v == 0 ? 0 : 1 + VarintSize(static_cast<uint64_t>(v)); }

char* PutInt(char* out, char tag, int64_t v) {
  if (v == 0) return out;
  *out++ = tag;
  return PutVarint(out, static_cast<uint64_t>(v));
}

size_t BytesSize(size_t size) { return 1 + VarintSize(size) + size; }

char* PutLength(char* out, char tag, size_t size) {
  *out++ = tag;
  return PutVarint(out, size);
}

char* PutBytes(char* out, char tag, std::string_view data) {
  out = PutLength(out, tag, data.size());
  if (!data.empty()) std::memcpy(out, data.data(), data.size());
  return out + data.size();
}

}  // namespace

RevisionKey::RevisionKey(Revision revision, bool tombstone)
    : size_(tombstone ? kTombstoneKeySize : kRevisionKeySize) {
  StoreBigEndian(bytes_, revision.main);
  bytes_[8] = '_';
  StoreBigEndian(bytes_ + 9, revision.sub);
  bytes_[17] = 't';
}

std::optional<ParsedRevision> ParseRevisionKey(std::string_view key) {
  const bool tombstone = key.size() == kTombstoneKeySize;
  if (!tombstone && key.size() != kRevisionKeySize) return std::nullopt;
  if (key[8] != '_' || (tombstone && key[17] != 't')) return std::nullopt;
  const Revision revision{LoadBigEndian(key.data()), LoadBigEndian(key.data() + 9)};
  if (revision.main < 0 || revision.sub < 0) return std::nullopt;
  return ParsedRevision{revision, tombstone};
}

std::optional<Record> ParseRecord(std::string_view encoded) {
  Record record;
  wire::Reader reader(encoded);
  for (wire::Field field; reader.Next(&field);) {
    const bool is_bytes = field.number == 1 || field.number == 5;
    if (field.number <= 6 && (field.type == wire::Type::kLength) != is_bytes) return std::nullopt;
    const auto number = static_cast<int64_t>(field.varint);
    switch (field.number) {
      case 1:
        record.key = field.bytes;
        break;
      case 2:
        record.create_revision = number;
        break;
      case 3:
        record.mod_revision = number;
        break;
      case 4:
        record.version = number;
        break;
      case 5:
        record.value = field.bytes;
        break;
      case 6:
        record.lease = LeaseId(number);
        break;
      default:
        break;
    }
  }
  if (!reader.ok()) return std::nullopt;
  return record;
}

Bytes EncodeRecord(const Record& r) {
  const size_t size = BytesSize(r.key.size()) + IntSize(r.create_revision) + IntSize(r.mod_revision) +
                      IntSize(r.version) + (r.value.empty() ? 0 : BytesSize(r.value.size())) +
                      IntSize(r.lease.value());
  return Bytes::Build(size, [&](char* out) {
    [[maybe_unused]] const char* begin = out;
    out = PutBytes(out, kKeyTag, r.key);
    out = PutInt(out, kCreateTag, r.create_revision);
    out = PutInt(out, kModTag, r.mod_revision);
    out = PutInt(out, kVersionTag, r.version);
    if (!r.value.empty()) out = PutBytes(out, kValueTag, r.value);
    out = PutInt(out, kLeaseTag, r.lease.value());
    KVORUM_CHECK(out == begin + size, "a record of {} bytes", out - begin);
  });
}

Bytes EncodeTombstone(std::string_view key) {
  return Bytes::Build(BytesSize(key.size()), [&](char* out) { PutBytes(out, kKeyTag, key); });
}

Bytes EncodePutEvent(std::string_view record, const std::string_view* prev) {
  const size_t event = BytesSize(record.size()) + (prev == nullptr ? 0 : BytesSize(prev->size()));
  return Bytes::Build(BytesSize(event), [&](char* out) {
    out = PutLength(out, kResponseEventTag, event);
    out = PutBytes(out, kEventKvTag, record);
    if (prev != nullptr) PutBytes(out, kEventPrevTag, *prev);
  });
}

Bytes EncodeDeleteEvent(std::string_view key, int64_t mod_revision, const std::string_view* prev) {
  const size_t kv = BytesSize(key.size()) + IntSize(mod_revision);
  const size_t event = 2 + BytesSize(kv) + (prev == nullptr ? 0 : BytesSize(prev->size()));
  return Bytes::Build(BytesSize(event), [&](char* out) {
    out = PutLength(out, kResponseEventTag, event);
    *out++ = kEventTypeTag;
    *out++ = kEventTypeDelete;
    out = PutLength(out, kEventKvTag, kv);
    out = PutBytes(out, kKeyTag, key);
    out = PutInt(out, kModTag, mod_revision);
    if (prev != nullptr) PutBytes(out, kEventPrevTag, *prev);
  });
}

}  // namespace kvorum::mvcc
