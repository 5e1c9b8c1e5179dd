#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace kvorum::config {

// How Go reads and prints values: operators' files and scripts are written for it.

/// Text in double quotes with Go's escapes (%q).
std::string Quoted(std::string_view text);

/// 1 t T TRUE true True 0 f F FALSE false False.
std::optional<bool> ParseBool(std::string_view text);

enum class NumberError : uint8_t { kNone, kSyntax, kRange };

/// An integer in base 10, or 16, 8, 2 with the prefixes 0x, 0o or 0, 0b; underscores may
/// stand between digits. At most `max`.
NumberError ParseUint(std::string_view text, uint64_t max, uint64_t* value);
/// The same with a sign.
NumberError ParseInt(std::string_view text, int64_t* value);

/// "1h30m", "1.5s", "-2ms", "0"; nullopt where Go's time.ParseDuration fails.
std::optional<std::chrono::nanoseconds> ParseDuration(std::string_view text);

}  // namespace kvorum::config
