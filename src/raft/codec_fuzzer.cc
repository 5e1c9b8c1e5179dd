#include <cstddef>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "raft/codec.h"

// Bytes of a peer or of a log file: whatever they are, they are refused or read, and what was read is written
// and read back as the same.

namespace kvorum::raft {
namespace {

void RoundTrip(std::string_view input) {
  if (const auto entry = DecodeEntry(input); entry.ok()) {
    KVORUM_CHECK(DecodeEntry(Encode(*entry)).value() == *entry);
    KVORUM_CHECK(Encode(*entry).size() == EncodedSize(*entry));
  }
  if (const auto state = DecodeHardState(input); state.ok()) {
    KVORUM_CHECK(DecodeHardState(Encode(*state)).value() == *state);
  }
  if (const auto state = DecodeConfState(input); state.ok()) {
    KVORUM_CHECK(DecodeConfState(Encode(*state)).value() == *state);
  }
  if (const auto snapshot = DecodeSnapshot(input); snapshot.ok()) {
    KVORUM_CHECK(DecodeSnapshot(Encode(*snapshot)).value() == *snapshot);
  }
  if (const auto change = DecodeConfChange(input); change.ok()) {
    KVORUM_CHECK(DecodeConfChange(Encode(*change)).value() == *change);
  }
  if (const auto change = DecodeConfChangeV2(input); change.ok()) {
    KVORUM_CHECK(DecodeConfChangeV2(Encode(*change)).value() == *change);
  }
  if (const auto message = DecodeMessage(input); message.ok()) {
    std::string encoded;
    AppendEncoded(encoded, *message, WireVersion::kV3_6);
    KVORUM_CHECK(DecodeMessage(encoded).value() == *message);
  }
}

}  // namespace
}  // namespace kvorum::raft

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  kvorum::raft::RoundTrip(std::string_view(reinterpret_cast<const char*>(data), size));
  return 0;
}
