#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "grpc/client.h"
#include "histogram.h"
#include "http/loop.h"
#include "options.h"
#include "requests.h"

namespace kvorum::bench {

/// What a run measured.
struct LoadResult {
  Histogram latency;
  double seconds = 0;
  uint64_t errors = 0;
  std::string first_error;
  uint64_t response_bytes = 0;
};

/// Connects; ends the process where that fails. Not from the loop.
std::vector<std::unique_ptr<grpc::ClientConnection>> ConnectAll(http::Loop& loop, const Options& options,
                                                                uint64_t count);

/// Runs `task` on the loop and waits for it.
void RunOn(http::Loop& loop, const std::function<void()>& task);

/// Sends what `next` gives (an empty method: no more) with --streams requests under way on each of
/// --connections, until --seconds have passed (0: until `next` ends), and waits for the last answer. With
/// --rate requests are sent at that rate, and a latency counts from when its request was due.
LoadResult RunLoad(http::Loop& loop, const Options& options, std::function<Call()> next);

/// One line of JSON on standard output: rate, latencies in microseconds, errors.
void PrintResult(const std::string& name, const LoadResult& result);

}  // namespace kvorum::bench
