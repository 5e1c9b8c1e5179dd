#include <cstdio>
#include <cstdlib>

#include "load.h"
#include "nothing_server.h"
#include "options.h"
#include "waiter_bench.h"
#include "watch_bench.h"

namespace kvorum::bench {
namespace {

/// Puts every key once.
void Fill(http::Loop& loop, Options options) {
  options.seconds = 0;
  uint64_t next = 0;
  PrintResult("fill", RunLoad(loop, options, [&]() -> Call {
                if (next == options.keys) return {};
                const uint64_t n = next++;
                return PutCall(KeyOf(options, n), ValueOf(options, n));
              }));
}

int Main(int argc, char** argv) {
  const Options options = ParseOptions(argc, argv);
  http::Loop loop("bench");
  if (options.mode == "fill") {
    Fill(loop, options);
  } else if (options.mode == "run") {
    Random random(SystemEntropy());
    PrintResult(options.workload, RunLoad(loop, options, [&] { return NextCall(options, random); }));
  } else if (options.mode == "watch-fanout") {
    WatchFanout(loop, options);
  } else if (options.mode == "watch-keys") {
    WatchKeys(loop, options);
  } else if (options.mode == "hold-watchers") {
    HoldWatchers(loop, options);
  } else if (options.mode == "hold-leases") {
    HoldLeases(loop, options);
  } else if (options.mode == "v2-wake") {
    WakeWaiters(options);
  } else if (options.mode == "v2-hold") {
    HoldWaiters(options);
  } else if (options.mode == "nothing") {
    ServeNothing(options);
  } else {
    std::fprintf(stderr, "kvorum-bench: unknown mode %s\n", options.mode.c_str());
    return 1;
  }
  std::fflush(stdout);
  // Connections may still be closing; nothing is left to be said about them.
  std::_Exit(0);
}

}  // namespace
}  // namespace kvorum::bench

int main(int argc, char** argv) { return kvorum::bench::Main(argc, argv); }
