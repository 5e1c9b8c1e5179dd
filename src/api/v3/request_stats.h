#pragma once

#include <chrono>
#include <cstdint>
#include <string_view>

#include "base/log.h"

namespace kvorum::api_v3 {

/// One unary call that was answered.
struct RequestStats {
  std::string_view method;  ///< "/etcdserverpb.KV/Range"
  std::string_view remote;
  std::chrono::nanoseconds duration;
  std::string_view request;  ///< encoded
  std::string_view body;     ///< of the response, without its header; may be empty
  size_t response_size = 0;
  int64_t response_count = 0;  ///< of a range
};

/// The line "request stats": what was asked, with the values of puts replaced by their sizes, how large it
/// and its answer were, and how long it took.
void LogRequestStats(Logger& logger, LogLevel level, const RequestStats& stats);

}  // namespace kvorum::api_v3
