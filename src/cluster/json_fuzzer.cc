#include <cstdint>

#include "base/check.h"
#include "cluster/cluster.h"

using namespace kvorum::cluster;  // NOLINT: a program of one function

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::StatusOr<ChangeContext> context =
      ChangeContextFromJson({reinterpret_cast<const char*>(data), size});
  if (!context.ok()) return 0;
  const absl::StatusOr<ChangeContext> again = ChangeContextFromJson(ToJson(*context));
  KVORUM_CHECK(again.ok(), "what was written cannot be read");
  KVORUM_CHECK(again->member == context->member && again->is_promote == context->is_promote);
  return 0;
}
