#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"

namespace kvorum {

/// The length of the one JSON value that `text` begins with, after and before white space. Errors:
/// InvalidArgument with what Go's decoder says ("invalid character 'x' looking for beginning of value").
absl::StatusOr<size_t> JsonValueLength(std::string_view text);
/// OK where `text` is one JSON value and nothing more.
absl::Status CheckJson(std::string_view text);

/// Reads a text that was found to be well-formed, one value after the other, as Go's decoder fills
/// structures: the last of several fields of one name counts, strings have no bytes that are no UTF-8 (U+FFFD
/// stands in for them). Each Read takes the whole next value, whatever its kind: false where it is of another
/// one.
class JsonReader {
 public:
  enum class Kind : uint8_t { kNull, kBool, kNumber, kString, kArray, kObject };

  /// `text` is borrowed. REQUIRES: JsonValueLength(text) is OK
  explicit JsonReader(std::string_view text) : rest_(text) {}

  Kind Peek();
  /// `on_field` takes the value, by one Read or Skip.
  bool ReadObject(absl::FunctionRef<void(const std::string& name)> on_field);
  /// `on_element` takes the element.
  bool ReadArray(absl::FunctionRef<void()> on_element);
  std::optional<std::string> ReadString();
  void Skip();

 private:
  void SkipSpace();
  std::string TakeString();

  std::string_view rest_;
};

/// "null", "bool", …: as Go's errors name them.
std::string_view JsonKindName(JsonReader::Kind kind);

}  // namespace kvorum
