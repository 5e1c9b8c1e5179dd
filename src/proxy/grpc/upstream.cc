#include "proxy/grpc/upstream.h"

namespace kvorum::proxy_grpc {

namespace {

constexpr std::string_view kFromKeyOn("\0", 1);

/// The first key behind all that begin with `prefix`; "\0" where there is none.
std::string PrefixEnd(std::string end) {
  while (!end.empty()) {
    if (const auto last = static_cast<unsigned char>(end.back()); last < 0xff) {
      end.back() = static_cast<char>(last + 1);
      return end;
    }
    end.pop_back();
  }
  return std::string(kFromKeyOn);
}

}  // namespace

std::string KeyPrefix::Key(std::string_view key) const {
  std::string whole;
  whole.reserve(prefix_.size() + key.size());
  return whole.append(prefix_).append(key);
}

std::pair<std::string, std::string> KeyPrefix::Range(std::string_view key, std::string_view range_end) const {
  if (empty()) return {std::string(key), std::string(range_end)};
  if (range_end.empty()) return {Key(key), std::string()};
  return {Key(key), range_end == kFromKeyOn ? PrefixEnd(prefix_) : Key(range_end)};
}

absl::Status NoLeaderError() { return absl::UnavailableError("etcdserver: no leader"); }

http::Headers ForwardedMetadata(const http::HeaderViews& metadata) {
  http::Headers forwarded;
  for (const auto& [name, value] : metadata) {
    if (name == "token" || name == "authorization" || name == "hasleader") {
      forwarded.emplace_back(name, value);
    }
  }
  return forwarded;
}

}  // namespace kvorum::proxy_grpc
