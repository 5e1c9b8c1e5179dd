#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace kvorum::sim {

/// Which terms the entries of one member's log are of: the log in the simplest way.
class LogModel {
 public:
  /// A log that begins behind entry `index` of `term`.
  explicit LogModel(uint64_t index = 0, uint64_t term = 0) : base_(index), terms_{term} {}

  uint64_t base() const { return base_; }
  uint64_t last() const { return base_ + terms_.size() - 1; }
  /// Nothing outside of the log; of the entry before it the term is known.
  std::optional<uint64_t> TermAt(uint64_t index) const {
    if (index < base_ || index > last()) return std::nullopt;
    return terms_[index - base_];
  }
  bool Has(uint64_t index, uint64_t term) const { return TermAt(index) == term; }

  /// Puts an entry there; what was there or behind is gone. REQUIRES: base() < index <= last() + 1
  void Put(uint64_t index, uint64_t term) {
    terms_.resize(index - base_);
    terms_.push_back(term);
  }
  /// Takes a snapshot: a log that lacks its last entry begins behind it.
  void Install(uint64_t index, uint64_t term) {
    if (index >= base_ && !Has(index, term)) *this = LogModel(index, term);
  }

 private:
  uint64_t base_;
  std::vector<uint64_t> terms_;  // from base_ on
};

}  // namespace kvorum::sim
