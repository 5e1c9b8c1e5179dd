#pragma once

#include <string>

#include "absl/status/status.h"
#include "sim/history.h"

namespace kvorum::robustness {

/// Everything that was noted, as text, a line for each request, revision, watch's answer and lease's turn;
/// the numbers are those that violations name.
absl::Status WriteHistory(const sim::History& history, const std::string& path);

/// "1200 answered, 3 refused, 7 unknown; …"
std::string Summary(const sim::History& history);

}  // namespace kvorum::robustness
