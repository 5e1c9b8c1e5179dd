#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace kvorum::api_v2 {

// Paths of URLs (reference: v2-keys.md §1.1). All pure.

/// The value of a hexadecimal digit, or -1.
int HexDigit(char c);

/// Takes the percent-encoding off, into `*buffer`; a path that has none is given as it is. Null where it is
/// malformed or the text has control characters: no path then.
std::optional<std::string_view> DecodePath(std::string_view path, std::string* buffer);

/// Whether CleanPath would give the same.
bool IsCleanPath(std::string_view path);
/// One '/' for many, without "." and "..", which never lead above the root; a '/' at the end stays.
std::string CleanPath(std::string_view path);

/// A decoded path as an URL has it.
std::string EncodePath(std::string_view path);

/// Where a request for `path` and `query` is sent that should have asked for `clean_path`.
std::string RedirectTarget(std::string_view clean_path, std::string_view query);
/// `location` as a header may carry it.
std::string LocationHeader(std::string_view location);
/// The page that goes with it.
std::string RedirectPage(std::string_view location);

}  // namespace kvorum::api_v2
