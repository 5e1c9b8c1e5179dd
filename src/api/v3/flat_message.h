#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace kvorum::api_v3 {

// Requests of the hot paths are flat: scalars and byte strings, numbered 1, 2, 3 … They are read in place,
// without building a message, and their own bytes go into the log where those are what we would have written.

enum class FieldKind : uint8_t { kBytes, kInt64, kBool, kEnum };

/// The value of one field; of the last occurrence, as Protocol Buffers have it.
struct FieldValue {
  uint64_t number = 0;     ///< of kInt64, kBool (0 or 1) and kEnum (sign-extended from 32 bits)
  std::string_view bytes;  ///< of kBytes: a view into the message
};

enum class Form : uint8_t {
  kMalformed,
  kCanonical,  ///< exactly what EncodeFlat makes of the values
  kOther,      ///< fine, but in another order, with defaults written out, unknown fields, …
};

/// Reads `message`, whose field i + 1 is of kinds[i], into values[i]. Unknown fields are
/// skipped; a known one with another wire type makes it malformed, as it does for whoever reads the log.
/// REQUIRES: values are fresh, and as many as kinds.
Form ParseFlat(std::string_view message, std::span<const FieldKind> kinds, std::span<FieldValue> values);

/// The message in the form every implementation writes: ascending, without defaults.
std::string EncodeFlat(std::span<const FieldKind> kinds, std::span<const FieldValue> values);

}  // namespace kvorum::api_v3
