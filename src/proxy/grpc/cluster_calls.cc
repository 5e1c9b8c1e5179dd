#include "proxy/grpc/cluster_calls.h"

#include "base/wire.h"

namespace kvorum::proxy_grpc {

std::string CredentialsKey(const http::Headers& metadata) {
  http::Headers sorted = metadata;
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::string key;
  for (const auto& [name, value] : sorted) {
    wire::AppendBytes(key, 1, name);
    wire::AppendBytes(key, 2, value);
  }
  return key;
}

absl::Status MalformedRequestError() {
  return absl::InternalError(
      "grpc: error unmarshalling request: proto: cannot parse invalid wire-format data");
}

}  // namespace kvorum::proxy_grpc
