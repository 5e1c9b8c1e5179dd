#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "discovery/keys_answer.h"
#include "discovery/registration.h"

/// A status in the first byte, X-Etcd-Index up to the first newline, then the body.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  static constexpr int kStatuses[] = {200, 201, 404, 412, 500};
  kvorum::http::ClientResponse response;
  response.status = kStatuses[data[0] % 5];
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const size_t line = std::min(text.find('\n'), text.size());
  response.headers = {{"x-etcd-index", std::string(text.substr(0, line))}};
  response.body = text.substr(std::min(line + 1, text.size()));
  const auto answer = kvorum::discovery::ParseKeysAnswer(response);
  if (!answer.ok() || answer->error) return 0;
  std::vector<std::string> values;
  for (const auto& node : answer->node.nodes) values.push_back(node.value);
  const auto joined = kvorum::discovery::JoinTexts(values, "invalid");
  if (joined.ok() && joined->names == 0) abort();
  (void)kvorum::discovery::ParseSize(answer->node.value);
  return 0;
}
