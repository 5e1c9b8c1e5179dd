#pragma once

#include <cstdint>
#include <map>
#include <optional>

#include "base/clock.h"
#include "base/ids.h"

namespace kvorum::api_v2 {

/// What /v2/stats/self and /v2/stats/leader show of the traffic between members (reference: v2-keys.md §9.2,
/// §9.3). Thread-safe.
class ServerStats {
 public:
  virtual ~ServerStats() = default;

  /// Append messages one way; the rates over what the last second's window has, 0 where nothing can be said.
  struct Appends {
    uint64_t count = 0;
    double messages_per_second = 0;
    double bytes_per_second = 0;
  };
  struct Self {
    WallTime started;
    WallTime leader_since;  ///< when the leader known last became known
    Appends received;
    Appends sent;
  };
  virtual Self self() const = 0;

  /// Of the append messages to one follower since this member knows it; milliseconds.
  struct Follower {
    double latency_current = 0;
    double latency_average = 0;
    double latency_standard_deviation = 0;
    double latency_minimum = 9223372036854775808.0;  // 2^63: none yet
    double latency_maximum = 0;
    uint64_t fail = 0;
    uint64_t success = 0;
  };
  virtual std::map<MemberId, Follower> followers() const = 0;
};

}  // namespace kvorum::api_v2
