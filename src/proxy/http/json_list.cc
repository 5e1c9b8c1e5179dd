#include "proxy/http/json_list.h"

#include "base/go_json.h"

namespace kvorum::proxy_http {

void AppendJsonList(std::string& out, const std::vector<std::string>& texts) {
  out += '[';
  for (size_t i = 0; i < texts.size(); ++i) {
    if (i > 0) out += ',';
    AppendJsonString(out, texts[i]);
  }
  out += ']';
}

std::optional<std::vector<std::string>> ReadJsonList(JsonReader& reader) {
  std::vector<std::string> texts;
  if (reader.Peek() == JsonReader::Kind::kNull) {
    reader.Skip();
    return texts;
  }
  bool all_strings = true;
  const bool is_list = reader.ReadArray([&] {
    std::optional<std::string> text = reader.ReadString();
    all_strings = all_strings && text.has_value();
    if (text) texts.push_back(*std::move(text));
  });
  if (!is_list || !all_strings) return std::nullopt;
  return texts;
}

}  // namespace kvorum::proxy_http
