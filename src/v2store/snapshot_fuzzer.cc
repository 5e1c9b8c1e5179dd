#include <cstdint>

#include "base/check.h"
#include "v2store/store.h"

using namespace kvorum::v2store;  // NOLINT: a program of one function

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Store store(&kvorum::SystemClock());
  if (!store.Recover({reinterpret_cast<const char*>(data), size}).ok()) return 0;
  const std::string json = store.SaveView()->ToJson();
  KVORUM_CHECK(store.Recover(json).ok(), "what was written cannot be read");
  KVORUM_CHECK(store.SaveView()->ToJson() == json, "what was written is read as another store");
  std::string body;
  uint64_t index = 0;
  std::get<Listing>(store.List("/", true, &index)).Append(&body, size_t{1} << 40);
  store.Expire(kvorum::WallTime::max());
  KVORUM_CHECK(!store.HasTtls(), "something never expires");
  return 0;
}
