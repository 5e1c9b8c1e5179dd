#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/random.h"
#include "sim/history.h"

namespace kvorum::sim {

/// What clients do, in parts of their sum.
struct Workload {
  Instant think = 5'000'000;  ///< between an answer and the next request, at most twice this
  uint64_t stay = 1;          ///< one request in so many goes to another member than the one before
  uint64_t keys = 16;
  uint64_t value_bytes = 8;
  uint64_t put = 30;
  uint64_t get = 20;
  uint64_t get_serializable = 10;
  uint64_t list = 6;
  uint64_t get_old = 4;
  uint64_t remove = 6;
  uint64_t remove_range = 1;
  uint64_t txn = 20;
  uint64_t compact = 1;
};

/// Picks the requests of one client of the key-value API. No other client of the run writes the same values.
class Requests {
 public:
  /// Borrows both.
  Requests(uint64_t client, const Workload* workload, Random* random)
      : client_(client), workload_(workload), random_(*random) {}

  /// `last`: the last revision known; compactions stay well behind it.
  Operation::Request Next(int64_t last);

 private:
  Operation::Request Txn(int64_t last);
  std::string Key();
  std::string Value();

  const uint64_t client_;
  const Workload* const workload_;
  Random& random_;
  uint64_t values_ = 0;
};

/// After such an error the request has not happened and will not. `message` is the text of the status, with
/// or without "etcdserver: ".
bool NeverHappened(std::string_view message);

/// A watch of one key, of some or of all: from `next`, where the last watch left off (0: there was none),
/// from now, or from anywhere near `last`.
etcdserverpb::WatchCreateRequest PickWatch(Random& random, int64_t last, int64_t next);

}  // namespace kvorum::sim
