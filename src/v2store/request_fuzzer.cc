#include "v2store/request.h"

#include <cstdint>

#include "base/check.h"

using namespace kvorum::v2store;  // NOLINT: a program of one function

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::optional<RequestView> request = ParseRequest({reinterpret_cast<const char*>(data), size});
  if (!request) return 0;
  const kvorum::Bytes written = Encode(*request);
  KVORUM_CHECK(ParseRequest(written.view()) == request, "what was written is read as another request");
  return 0;
}
