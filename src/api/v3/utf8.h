#pragma once

#include <string_view>

namespace kvorum::api_v3 {

/// Well-formed UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing over U+10FFFF.
bool IsUtf8(std::string_view text);

}  // namespace kvorum::api_v3
