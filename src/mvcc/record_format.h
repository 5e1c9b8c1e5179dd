#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/bytes.h"
#include "base/ids.h"
#include "mvcc/types.h"

namespace kvorum::mvcc {

// The records of Bucket::kKey (reference: backend-schema.md §2) and the events made of them.
//
//   key    8 bytes main, big-endian | '_' | 8 bytes sub, big-endian | 't' where it is a deletion
//   value  an encoded mvccpb.KeyValue, zero fields left out; of a deletion only field 1

inline constexpr size_t kRevisionKeySize = 17;
inline constexpr size_t kTombstoneKeySize = 18;
inline constexpr std::string_view kScheduledCompactKey = "scheduledCompactRev";
inline constexpr std::string_view kFinishedCompactKey = "finishedCompactRev";

/// A revision in its stored form, on the stack.
class RevisionKey {
 public:
  explicit RevisionKey(Revision revision, bool tombstone = false);
  std::string_view view() const { return {bytes_, size_}; }

 private:
  char bytes_[kTombstoneKeySize];
  uint8_t size_;
};

struct ParsedRevision {
  Revision revision;
  bool tombstone = false;
};
/// Nothing where `key` is no stored revision.
std::optional<ParsedRevision> ParseRevisionKey(std::string_view key);

/// The fields of a record, as views into it.
struct Record {
  std::string_view key;
  int64_t create_revision = 0;
  int64_t mod_revision = 0;
  int64_t version = 0;
  std::string_view value;
  LeaseId lease;
};
/// Nothing where `encoded` is no mvccpb.KeyValue.
std::optional<Record> ParseRecord(std::string_view encoded);

Bytes EncodeRecord(const Record& record);
/// The value of a deletion's record: the key alone.
Bytes EncodeTombstone(std::string_view key);

/// One element of WatchResponse.events, tag and length included. `prev` null: without prev_kv.
Bytes EncodePutEvent(std::string_view record, const std::string_view* prev);
Bytes EncodeDeleteEvent(std::string_view key, int64_t mod_revision, const std::string_view* prev);

}  // namespace kvorum::mvcc
