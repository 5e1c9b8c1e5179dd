#include "api/admin/exchange.h"

#include <optional>

#include "boost/json/serialize.hpp"
#include "boost/json/string.hpp"
#include "fmt/format.h"

namespace kvorum::api_admin {
namespace {

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::optional<std::string> Unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+') {
      out.push_back(' ');
    } else if (text[i] != '%') {
      out.push_back(text[i]);
    } else {
      if (text.size() - i < 3 || HexDigit(text[i + 1]) < 0 || HexDigit(text[i + 2]) < 0) return std::nullopt;
      out.push_back(static_cast<char>(HexDigit(text[i + 1]) << 4 | HexDigit(text[i + 2])));
      i += 2;
    }
  }
  return out;
}

}  // namespace

void ReplyMethodNotAllowed(http::ResponseWriter& writer, std::string_view allowed) {
  writer.Reply(405,
               {{"allow", std::string(allowed)},
                {"content-type", "text/plain; charset=utf-8"},
                {"x-content-type-options", "nosniff"}},
               "Method Not Allowed\n");
}

void ReplyNotFound(http::ResponseWriter& writer) { writer.ReplyError(404, "404 page not found"); }

void ReplyJsonError(http::ResponseWriter& writer, int status, std::string_view message) {
  writer.Reply(status, {{"content-type", "application/json"}},
               fmt::format("{{\"message\":{}}}", JsonString(message)));
}

std::vector<std::pair<std::string, std::string>> ParseQuery(std::string_view query) {
  std::vector<std::pair<std::string, std::string>> parameters;
  while (!query.empty()) {
    const size_t end = std::min(query.find('&'), query.size());
    const std::string_view pair = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    if (pair.empty() || pair.find(';') != std::string_view::npos) continue;
    const size_t equals = std::min(pair.find('='), pair.size());
    std::optional<std::string> name = Unescape(pair.substr(0, equals));
    std::optional<std::string> value = Unescape(pair.substr(std::min(equals + 1, pair.size())));
    if (name.has_value() && value.has_value()) parameters.emplace_back(*std::move(name), *std::move(value));
  }
  return parameters;
}

std::string JsonString(std::string_view text) {
  return boost::json::serialize(boost::json::string(text.data(), text.size()));
}

}  // namespace kvorum::api_admin
