#pragma once

#include <string_view>

#include "fmt/format.h"

namespace kvorum {

/// Writes `file:line: check failed: condition: message` to standard error and aborts the process.
[[noreturn]] void CheckFailed(const char* file, int line, const char* condition, std::string_view message);

}  // namespace kvorum

/// Stops the process when an invariant of our own does not hold; on in every build. Bad input and failing
/// disks are no invariants: those are `absl::Status`.
#define KVORUM_CHECK(condition, ...)                                                        \
  do {                                                                                      \
    if (!(condition)) [[unlikely]] {                                                        \
      ::kvorum::CheckFailed(__FILE__, __LINE__, #condition, ::fmt::format("" __VA_ARGS__)); \
    }                                                                                       \
  } while (false)
