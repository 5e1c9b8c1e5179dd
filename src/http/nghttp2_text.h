#pragma once

#include <nghttp2/nghttp2.h>

#include <cstdint>
#include <string_view>

namespace kvorum::http {

// Texts as nghttp2 has them.

inline std::string_view TextOf(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

/// A header to send; nghttp2 copies the texts.
inline nghttp2_nv HeaderOf(std::string_view name, std::string_view value) {
  return {reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
          reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(),
          NGHTTP2_NV_FLAG_NONE};
}

}  // namespace kvorum::http
