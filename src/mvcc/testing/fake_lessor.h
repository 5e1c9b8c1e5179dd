#pragma once

#include <set>
#include <string>
#include <utility>

#include "mvcc/types.h"

namespace kvorum::mvcc::testing {

/// Leases for tests of the store: which exist, and what hangs on them.
struct FakeLessor : LeaseBinder {
  FakeLessor() = default;
  explicit FakeLessor(std::set<int64_t> ids) : leases(std::move(ids)) {}

  bool Exists(LeaseId lease) const override { return leases.contains(lease.value()); }
  void Attach(LeaseId lease, std::string_view key) override { attached.emplace(lease.value(), key); }
  void Detach(LeaseId lease, std::string_view key) override {
    if (attached.erase({lease.value(), std::string(key)}) == 0) ++detached_unknown;
  }

  std::set<int64_t> leases;
  std::set<std::pair<int64_t, std::string>> attached;
  int detached_unknown = 0;
};

}  // namespace kvorum::mvcc::testing
