#pragma once

#include <string>
#include <string_view>

namespace kvorum {

/// Appends `text` as a JSON string as Go's encoder writes it: `<`, `>`, `&`, U+2028, U+2029 and control
/// characters escaped, bytes that are no UTF-8 replaced by U+FFFD.
void AppendJsonString(std::string& out, std::string_view text);
/// The same without the quotes. What is cut between UTF-8 sequences may be appended in pieces.
void AppendJsonText(std::string& out, std::string_view text);

/// Length of the well-formed UTF-8 sequence at the front of `text`, which begins with a byte >= 0x80; 0 where
/// there is none (RFC 3629 §4).
size_t Utf8SequenceLength(std::string_view text);

}  // namespace kvorum
