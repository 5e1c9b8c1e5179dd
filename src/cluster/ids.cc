#include <openssl/evp.h>

#include <algorithm>
#include <array>

#include "base/check.h"
#include "cluster/cluster.h"

namespace kvorum::cluster {
namespace {

/// The first 8 bytes of the SHA-1 of `data`, big-endian.
uint64_t HashPrefix(std::string_view data) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int size = 0;
  const int ok = EVP_Digest(data.data(), data.size(), digest.data(), &size, EVP_sha1(), nullptr);
  KVORUM_CHECK(ok == 1 && size >= 8, "SHA-1 is not available");
  uint64_t id = 0;
  for (size_t i = 0; i < 8; ++i) id = id << 8 | digest[i];
  return id;
}

}  // namespace

MemberId MemberIdOf(std::vector<std::string> peer_urls, std::string_view token, int64_t unix_seconds) {
  std::sort(peer_urls.begin(), peer_urls.end());
  std::string data;
  for (const std::string& url : peer_urls) data += url;
  data += token;
  if (unix_seconds != 0) data += std::to_string(unix_seconds);
  return MemberId(HashPrefix(data));
}

ClusterId ClusterIdOf(std::vector<MemberId> members) {
  std::sort(members.begin(), members.end());
  std::string data;
  for (MemberId id : members) {
    for (int shift = 56; shift >= 0; shift -= 8) data += static_cast<char>(id.value() >> shift);
  }
  return ClusterId(HashPrefix(data));
}

}  // namespace kvorum::cluster
