// Any bytes as a user, a role, and plain JSON: what was read and written once reads and writes the same
// again.

#include <cstddef>
#include <cstdint>

#include "api/v2/auth_records.h"
#include "base/check.h"
#include "base/go_json_reader.h"

namespace {

using kvorum::api_v2::AppendJson;

template <typename Record>
std::string Json(const Record& record) {
  std::string json;
  AppendJson(json, record);
  return json;
}

template <typename Record, typename Parse>
void RoundTrip(std::string_view input, Parse parse) {
  const std::optional<Record> record = parse(input);
  if (!record) return;
  const std::string json = Json(*record);
  KVORUM_CHECK(kvorum::CheckJson(json).ok(), "{}", json);
  const std::optional<Record> again = parse(json);
  KVORUM_CHECK(again && Json(*again) == json, "{}", json);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  RoundTrip<kvorum::api_v2::User>(input, kvorum::api_v2::ParseUser);
  RoundTrip<kvorum::api_v2::Role>(input, kvorum::api_v2::ParseRole);
  if (kvorum::CheckJson(input).ok()) kvorum::JsonReader(input).Skip();
  return 0;
}
