#include <cstddef>
#include <cstdint>
#include <string_view>
#include <variant>

#include "api/v2/form.h"
#include "api/v2/key_request.h"
#include "api/v2/path.h"
#include "base/check.h"

// Input: a line each of method, path, query, content type; the rest is the form.

namespace kvorum::api_v2 {
namespace {

std::string_view TakeLine(std::string_view* text) {
  const size_t end = std::min(text->find('\n'), text->size());
  const std::string_view line = text->substr(0, end);
  text->remove_prefix(std::min(end + 1, text->size()));
  return line;
}

void CheckPath(std::string_view path) {
  std::string buffer;
  const std::optional<std::string_view> decoded = DecodePath(path, &buffer);
  if (!decoded) return;
  const std::string clean = CleanPath(*decoded);
  KVORUM_CHECK(IsCleanPath(clean) && CleanPath(clean) == clean, "'{}' stays unclean", clean);
  KVORUM_CHECK(IsCleanPath(*decoded) == (clean == *decoded), "'{}' is clean or not", *decoded);
  const std::string encoded = EncodePath(clean);
  std::string again;
  KVORUM_CHECK(DecodePath(encoded, &again) == clean, "'{}' is encoded otherwise", clean);
  RedirectPage(LocationHeader(RedirectTarget(clean, path)));
}

void CheckRequest(std::string_view method_name, std::string_view query, std::string_view type,
                  std::string_view form) {
  KeyMethod method = KeyMethod::kPut;
  ParseKeyMethod(method_name, &method);
  const MediaType media_type = ParseMediaType(type);
  std::string query_text(query);
  std::string form_text(form);
  const auto parsed = ParseKeyRequest({.method = method,
                                       .path = "/1/k",
                                       .query = query_text,
                                       .body_error = media_type.error,
                                       .form = form_text,
                                       .now = WallTime(std::chrono::seconds(1))});
  if (const auto* error = std::get_if<v2store::Error>(&parsed)) {
    KVORUM_CHECK(error->index == 0 && !error->cause.empty(), "an error without a cause");
    return;
  }
  const auto& key = std::get<KeyRequest>(parsed);
  KVORUM_CHECK(!key.request.wait || method == KeyMethod::kGet, "only GET waits");
  KVORUM_CHECK(key.request.value.size() <= form.size() + query.size(), "a value out of nothing");
}

}  // namespace
}  // namespace kvorum::api_v2

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace kvorum::api_v2;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::string_view method = TakeLine(&text);
  CheckPath(TakeLine(&text));
  const std::string_view query = TakeLine(&text);
  const std::string_view type = TakeLine(&text);
  CheckRequest(method, query, type, text);
  return 0;
}
