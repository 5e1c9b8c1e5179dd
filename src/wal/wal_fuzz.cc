// Any bytes as the last segment of a log: reading them is safe, and what recovery leaves reads the same
// again.

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "base/testing/fault_env.h"
#include "wal/record_reader.h"
#include "wal/wal.h"

namespace kvorum::wal {
namespace {

void CheckReader(std::string_view content, RecordReader::Place place) {
  RecordReader reader(content, "f", place, 0);
  for (Record record;;) {
    const uint64_t before = reader.offset();
    const auto outcome = reader.Next(&record);
    if (!outcome.ok() || *outcome != RecordReader::Outcome::kRecord) break;
    KVORUM_CHECK(reader.offset() > before && reader.offset() <= content.size(), "{}", reader.offset());
  }
}

void CheckRecovery(std::string_view content) {
  testing::FaultEnv env;
  const Options options = {.env = &env, .segment_size_bytes = 4096};
  KVORUM_CHECK(env.CreateDirectories("wal", 0700).ok());
  env.Put("wal/0000000000000000-0000000000000000.wal", std::string(content));
  ValidSnapshots("wal", options).status().IgnoreError();
  const auto read = ReadOnly("wal", SnapshotRecord(), options);
  auto first = Wal::Open("wal", SnapshotRecord(), options);
  KVORUM_CHECK(read.ok() == first.ok(), "{}", first.status().ToString());
  if (!first.ok()) return;
  KVORUM_CHECK(read->entries == first->recovered.entries);
  first->wal.reset();
  const auto second = Wal::Open("wal", SnapshotRecord(), options);
  KVORUM_CHECK(second.ok(), "{}", second.status().ToString());
  KVORUM_CHECK(second->recovered.entries == first->recovered.entries);
  KVORUM_CHECK(second->recovered.hard_state == first->recovered.hard_state);
}

}  // namespace
}  // namespace kvorum::wal

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view content(reinterpret_cast<const char*>(data), size);
  kvorum::wal::CheckReader(content, kvorum::wal::RecordReader::Place::kEarlier);
  kvorum::wal::CheckReader(content, kvorum::wal::RecordReader::Place::kLast);
  kvorum::wal::CheckRecovery(content);
  return 0;
}
