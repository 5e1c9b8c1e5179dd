#include "api/v2/path.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "fmt/format.h"

namespace kvorum::api_v2 {
namespace {

bool IsControl(char c) { return static_cast<unsigned char>(c) < ' ' || c == 0x7f; }

bool IsUnreserved(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         (c != 0 && std::strchr("-_.~$&+,/:;=@", c) != nullptr);
}

}  // namespace

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::optional<std::string_view> DecodePath(std::string_view path, std::string* buffer) {
  if (std::none_of(path.begin(), path.end(), [](char c) { return IsControl(c) || c == '%'; })) return path;
  std::string& out = *buffer;
  out.clear();
  out.reserve(path.size());
  for (size_t i = 0; i < path.size(); ++i) {
    if (IsControl(path[i])) return std::nullopt;
    if (path[i] != '%') {
      out.push_back(path[i]);
      continue;
    }
    if (path.size() - i < 3 || HexDigit(path[i + 1]) < 0 || HexDigit(path[i + 2]) < 0) return std::nullopt;
    out.push_back(static_cast<char>(HexDigit(path[i + 1]) << 4 | HexDigit(path[i + 2])));
    i += 2;
  }
  return out;
}

bool IsCleanPath(std::string_view path) {
  if (!path.starts_with('/')) return false;
  for (size_t slash = 0; slash != std::string_view::npos; slash = path.find('/', slash + 1)) {
    const std::string_view rest = path.substr(slash + 1);
    if (rest.starts_with('/') || rest == "." || rest == ".." || rest.starts_with("./") ||
        rest.starts_with("../")) {
      return false;
    }
  }
  return true;
}

std::string CleanPath(std::string_view path) {
  std::string clean = "/";
  const bool slash_at_end = path.ends_with('/');
  while (!path.empty()) {
    const size_t end = std::min(path.find('/'), path.size());
    const std::string_view part = path.substr(0, end);
    path.remove_prefix(std::min(end + 1, path.size()));
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      clean.resize(std::max<size_t>(clean.rfind('/'), 1));
      continue;
    }
    if (clean.size() > 1) clean.push_back('/');
    clean.append(part);
  }
  if (slash_at_end && clean.size() > 1) clean.push_back('/');
  return clean;
}

std::string EncodePath(std::string_view path) {
  std::string out;
  for (const char c : path) {
    if (IsUnreserved(c)) {
      out.push_back(c);
    } else {
      fmt::format_to(std::back_inserter(out), "%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

std::string RedirectTarget(std::string_view clean_path, std::string_view query) {
  std::string target = EncodePath(clean_path);
  if (!query.empty()) target.append("?").append(query);
  return target;
}

std::string LocationHeader(std::string_view location) {
  std::string out;
  for (const char c : location) {
    if (static_cast<unsigned char>(c) < 0x80) {
      out.push_back(c);
    } else {
      fmt::format_to(std::back_inserter(out), "%{:02x}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

std::string RedirectPage(std::string_view location) {
  std::string text;
  for (const char c : location) {
    switch (c) {
      case '&':
        text += "&amp;";
        break;
      case '<':
        text += "&lt;";
        break;
      case '>':
        text += "&gt;";
        break;
      case '"':
        text += "&#34;";
        break;
      case '\'':
        text += "&#39;";
        break;
      default:
        text.push_back(c);
    }
  }
  return fmt::format("<a href=\"{}\">Moved Permanently</a>.\n\n", text);
}

}  // namespace kvorum::api_v2
