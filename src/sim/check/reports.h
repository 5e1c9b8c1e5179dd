#pragma once

#include <utility>

#include "fmt/format.h"
#include "sim/history.h"

namespace kvorum::sim {

/// Gathers violations, of one kind no more than tell what is wrong: after a divergence every entry differs.
class Reports {
 public:
  template <typename... Args>
  void Add(fmt::format_string<Args...> format, Args&&... args) {
    constexpr size_t kMost = 10;
    if (violations_.size() < kMost) violations_.push_back(fmt::format(format, std::forward<Args>(args)...));
  }
  Violations Take() { return std::move(violations_); }

 private:
  Violations violations_;
};

}  // namespace kvorum::sim
