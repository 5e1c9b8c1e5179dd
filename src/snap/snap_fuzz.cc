// Any bytes as a snapshot file: decoding is safe, and what decodes is written and read as the same snapshot.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "snap/snapshotter.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using kvorum::snap::DecodeFile;
  const auto snapshot = DecodeFile({reinterpret_cast<const char*>(data), size});
  if (!snapshot.ok()) return 0;
  const auto again = DecodeFile(kvorum::snap::EncodeFile(*snapshot));
  KVORUM_CHECK(again.ok(), "{}", again.status().ToString());
  KVORUM_CHECK(*again == *snapshot);
  return 0;
}
