#include "proxy/http/members.h"

#include <algorithm>
#include <charconv>

#include "base/status.h"
#include "fmt/format.h"
#include "proxy/http/json_list.h"

namespace kvorum::proxy_http {
namespace {

absl::Status Invalid(std::string text) { return absl::InvalidArgumentError(text); }

void SortWithoutDoubles(std::vector<std::string>* texts) {
  std::sort(texts->begin(), texts->end());
  texts->erase(std::unique(texts->begin(), texts->end()), texts->end());
}

bool IsId(std::string_view text) {
  uint64_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id, 16);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

}  // namespace

absl::StatusOr<MemberUrls> ParseMembers(std::string_view body) {
  KVORUM_RETURN_IF_ERROR(CheckJson(body));
  JsonReader reader(body);
  MemberUrls found;
  bool good = true;
  size_t members = 0;
  const bool is_list = reader.ReadArray([&] {
    ++members;
    const bool is_object = reader.ReadObject([&](const std::string& name) {
      if (name != "peerURLs" && name != "clientURLs") return reader.Skip();
      std::vector<std::string>& to = name == "peerURLs" ? found.peer_urls : found.client_urls;
      const std::optional<std::vector<std::string>> urls = ReadJsonList(reader);
      good = good && urls.has_value();
      if (urls) to.insert(to.end(), urls->begin(), urls->end());
    });
    good = good && is_object;
  });
  if (!is_list || !good) return Invalid("it is no list of members");
  found.empty = members == 0;
  SortWithoutDoubles(&found.peer_urls);
  SortWithoutDoubles(&found.client_urls);
  return found;
}

absl::StatusOr<MemberUrls> ReadMembers(const http::ClientResponse& response) {
  KVORUM_ASSIGN_OR_RETURN(MemberUrls found, ParseMembers(response.body));
  const std::string* id = response.Find("x-etcd-cluster-id");
  if (id == nullptr || !IsId(*id)) {
    return Invalid(fmt::format("no cluster id: \"{}\"", id == nullptr ? "" : *id));
  }
  return found;
}

}  // namespace kvorum::proxy_http
