#pragma once

#include <span>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"

namespace kvorum::api_v2 {

// How Go's servers read forms: their error texts reach the clients (reference: v2-keys.md §2.1). All pure.

/// Calls `field` for each well-formed pair of a query or form, in order. Both texts are decoded where they
/// stand in `text`, and views of it. Gives the text of the error that Go tells of, or an empty one.
std::string ParseForm(std::span<char> text,
                      absl::FunctionRef<void(std::string_view name, std::string_view value)> field);

struct MediaType {
  std::string type;   ///< lower case, without its parameters; empty where it is none
  std::string error;  ///< what is wrong, perhaps with the parameters alone; empty: nothing
};
/// The value of a Content-Type header.
MediaType ParseMediaType(std::string_view text);

}  // namespace kvorum::api_v2
