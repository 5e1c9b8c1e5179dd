#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace kvorum::bench {

/// The command line: a mode, then `--name=value` each.
struct Options {
  std::string mode;
  std::vector<std::string> targets = {"127.0.0.1:2379"};  ///< connections are spread over them
  std::string workload = "get";  ///< of mode run: get, get-linearizable, put, mix, txn, list
  uint64_t connections = 16;
  uint64_t streams = 8;  ///< requests under way on each connection
  double seconds = 5;
  uint64_t keys = 10'000;
  uint64_t key_bytes = 32;
  uint64_t value_bytes = 256;
  uint64_t watchers = 10'000;
  uint64_t watch_streams = 100;
  uint64_t events = 100;
  uint64_t leases = 100'000;
  uint64_t rate = 0;  ///< requests a second over all connections; 0: as fast as answers come
  std::string log;    ///< of mode nothing: where puts are written before they are answered; empty: nowhere
};

/// Errors end the process with a line that names the option.
Options ParseOptions(int argc, char** argv);

}  // namespace kvorum::bench
