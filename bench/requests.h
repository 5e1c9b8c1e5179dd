#pragma once

#include <cstdint>
#include <string>

#include "base/random.h"
#include "options.h"

namespace kvorum::bench {

/// A call that is ready to be sent.
struct Call {
  const char* method = nullptr;
  std::string request;
};

/// The `n`th key: the number in decimal behind a prefix, as long as --key-bytes.
std::string KeyOf(const Options& options, uint64_t n);
/// Bytes that do not compress to nothing.
std::string ValueOf(const Options& options, uint64_t n);

Call PutCall(const std::string& key, const std::string& value);

/// The next request of --workload over the keys [0, --keys).
Call NextCall(const Options& options, Random& random);

}  // namespace kvorum::bench
