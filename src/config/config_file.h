#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "config/flag_table.h"

namespace kvorum::config {

/// Reads a config file: YAML, of which JSON is a part. Keys that are no flag's are ignored, as are keys
/// without a value and empty texts. Errors: InvalidArgument, one line.
absl::StatusOr<std::vector<std::pair<const Flag*, Value>>> ParseConfigFile(const std::string& content);

}  // namespace kvorum::config
