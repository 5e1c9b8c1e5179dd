#pragma once

#include <chrono>

namespace kvorum {

/// Time since an arbitrary start; never goes back.
using MonotonicTime = std::chrono::time_point<std::chrono::steady_clock, std::chrono::nanoseconds>;
/// Time since the Unix epoch; may jump.
using WallTime = std::chrono::time_point<std::chrono::system_clock, std::chrono::nanoseconds>;

/// Where the parts get the time from, so that a simulator can hand out its own. Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual MonotonicTime Now() const = 0;
  virtual WallTime WallNow() const = 0;
};

/// The system's clock; lives for the whole process.
const Clock& SystemClock();

}  // namespace kvorum
