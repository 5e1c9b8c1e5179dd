#pragma once

#include <string>

#include "base/clock.h"
#include "v2store/store.h"

namespace kvorum::v2store {

/// A clock that stands until it is set.
class StandingClock final : public Clock {
 public:
  MonotonicTime Now() const override { return MonotonicTime(now.time_since_epoch()); }
  WallTime WallNow() const override { return now; }

  WallTime After(int64_t seconds) const { return now + std::chrono::seconds(seconds); }

  WallTime now{std::chrono::seconds(1'700'000'000)};
};

/// The reply's body without the newline, "null" where there is none, or "code cause @index".
inline std::string Shown(const Result& result) {
  if (const Error* error = std::get_if<Error>(&result)) {
    return fmt::format("{} {} @{}", static_cast<int>(error->code), error->cause, error->index);
  }
  const EventPtr& event = std::get<EventPtr>(result);
  if (event == nullptr) return "null";
  std::string out;
  AppendJson(out, *event);
  return out;
}

}  // namespace kvorum::v2store
