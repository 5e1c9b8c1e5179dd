#pragma once

#include <cstdint>
#include <map>

#include "base/clock.h"
#include "base/ids.h"

namespace kvorum::member {

/// What a transport counts of the messages that append to logs, for those who show it (reference: v2-keys.md
/// §9.2, §9.3). Thread-safe.
class TrafficStats {
 public:
  virtual ~TrafficStats() = default;

  /// One way. The rates are over the newest messages, at most 200, that came without a pause of a second; 0
  /// where nothing can be said.
  struct Appends {
    uint64_t count = 0;
    double messages_per_second = 0;
    double bytes_per_second = 0;
  };
  virtual Appends received() const = 0;
  virtual Appends sent() const = 0;

  /// To one follower, since this member knows it; milliseconds from when a message was to be sent to when the
  /// connection took it.
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

}  // namespace kvorum::member
