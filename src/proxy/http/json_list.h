#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/go_json_reader.h"

namespace kvorum::proxy_http {

/// Appends `["a","b"]`.
void AppendJsonList(std::string& out, const std::vector<std::string>& texts);

/// Takes the next value: its strings, or null where it is no list of strings. JSON's null is an empty list.
std::optional<std::vector<std::string>> ReadJsonList(JsonReader& reader);

}  // namespace kvorum::proxy_http
