#include "base/check.h"
#include "proxy/http/cluster_file.h"
#include "proxy/http/members.h"

// What members and the disk say. A list of peer URLs that was read can be written and read again.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto members = kvorum::proxy_http::ParseMembers(text);
  if (members.ok() && members->empty) KVORUM_CHECK(members->peer_urls.empty());
  const auto urls = kvorum::proxy_http::ParseClusterFile(text);
  if (!urls.ok()) return 0;
  KVORUM_CHECK(kvorum::proxy_http::ParseClusterFile(kvorum::proxy_http::ClusterFileText(*urls)).value() ==
               *urls);
  return 0;
}
