// Any bytes as a database file: what is accepted can be read from end to end.

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "bbolt/bbolt_format.h"
#include "bbolt/database.h"

namespace kvorum::bbolt {
namespace {

/// Puts checksums right, which no random change would hit.
std::string WithChecksums(std::string content) {
  for (size_t at = 0; at + kPageHeaderBytes + kMetaBytes <= content.size(); at += 1024) {
    char* meta = content.data() + at + kPageHeaderBytes;
    if (Load<uint32_t>(meta) == kMagic) Store(Fnv1a64({meta, 56}), meta + 56);
  }
  return content;
}

void ReadAll(const Database& database) {
  for (const Database::Bucket& bucket : database.buckets()) {
    std::string last;
    database.Scan(bucket, {}, {}, [&](std::string_view key, std::string_view value) {
      KVORUM_CHECK(key > last, "keys out of order");
      last = key;
      const auto found = database.Get(bucket, key);
      KVORUM_CHECK(found && found->data() == value.data() && found->size() == value.size(), "lost key");
      return true;
    });
    database.Scan(bucket, last, {}, [&](std::string_view key, std::string_view) {
      KVORUM_CHECK(key == last, "not where it was");
      return true;
    });
  }
}

}  // namespace
}  // namespace kvorum::bbolt

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string content =
      kvorum::bbolt::WithChecksums(std::string(reinterpret_cast<const char*>(data), size));
  const auto database = kvorum::bbolt::Database::FromBytes(content, "f");
  if (database.ok()) kvorum::bbolt::ReadAll(**database);
  return 0;
}
