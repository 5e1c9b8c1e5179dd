#include "proxy/http/cluster_file.h"

#include "base/go_json.h"
#include "base/status.h"
#include "fmt/format.h"
#include "proxy/http/json_list.h"

namespace kvorum::proxy_http {

std::string ClusterFileText(const std::vector<std::string>& peer_urls) {
  std::string text = R"({"PeerURLs":)";
  AppendJsonList(text, peer_urls);
  text += '}';
  return text;
}

absl::StatusOr<std::vector<std::string>> ParseClusterFile(std::string_view text) {
  KVORUM_RETURN_IF_ERROR(CheckJson(text));
  JsonReader reader(text);
  std::optional<std::vector<std::string>> urls;
  const bool is_object = reader.ReadObject([&](const std::string& name) {
    if (name == "PeerURLs") {
      urls = ReadJsonList(reader);
    } else {
      reader.Skip();
    }
  });
  if (!is_object || !urls || urls->empty()) {
    return absl::InvalidArgumentError("it has no list of peer URLs");
  }
  return *std::move(urls);
}

absl::StatusOr<std::vector<std::string>> ReadClusterFile(Env& env, const std::string& path) {
  KVORUM_ASSIGN_OR_RETURN(const std::string text, env.ReadFile(path));
  absl::StatusOr<std::vector<std::string>> urls = ParseClusterFile(text);
  if (urls.ok()) return urls;
  return absl::InvalidArgumentError(
      fmt::format("cannot use cluster file \"{}\": {}", path, std::string(urls.status().message())));
}

absl::Status WriteClusterFile(Env& env, const std::string& path, const std::vector<std::string>& peer_urls) {
  const std::string fresh = path + ".bak";
  KVORUM_ASSIGN_OR_RETURN(const auto file, env.OpenForWriting(fresh, Env::Create::kTruncate));
  KVORUM_RETURN_IF_ERROR(file->Append(ClusterFileText(peer_urls)));
  KVORUM_RETURN_IF_ERROR(file->Sync());
  KVORUM_RETURN_IF_ERROR(file->Close());
  KVORUM_RETURN_IF_ERROR(env.Rename(fresh, path));
  return env.SyncDirectory(path.substr(0, path.rfind('/')));
}

}  // namespace kvorum::proxy_http
