#include "base/check.h"

#include <cstdio>
#include <cstdlib>

#include "absl/synchronization/mutex.h"

namespace kvorum {
namespace {

// Debian builds Abseil with its deadlock detection on, which looks every lock up in a graph under one global
// lock: most of the time of any path that takes locks. It stands here because every program links this file.
[[maybe_unused]] const bool kDetectionOff = [] {
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  return true;
}();

}  // namespace

void CheckFailed(const char* file, int line, const char* condition, std::string_view message) {
  std::fprintf(stderr, "%s:%d: check failed: %s: %.*s\n", file, line, condition,
               static_cast<int>(message.size()), message.data());
  std::abort();
}

}  // namespace kvorum
