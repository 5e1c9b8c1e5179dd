#include "v2store/request.h"

#include <cstdint>

#include "base/check.h"

using namespace kvorum::v2store;  // NOLINT: a program of one function

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::optional<Request> request = ParseRequest({reinterpret_cast<const char*>(data), size});
  if (!request) return 0;
  const std::optional<Request> again = ParseRequest(Encode(*request));
  KVORUM_CHECK(again == request, "what was written is read as another request");
  return 0;
}
