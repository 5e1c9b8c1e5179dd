#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "sim/check/kv_checker.h"
#include "sim/check/kv_model.h"
#include "sim/history.h"

namespace kvorum::sim {

/// Finds what made the revisions that no answer claims: each an operation of unknown outcome of its own, or a
/// lease's end. Among several that could have, a matching that leaves none without is found where there is
/// one.
class Orphans {
 public:
  Orphans(const History& history, const KvModel& model);

  /// `deadline`: by when the revision was there.
  void Add(int64_t revision, Instant deadline);
  /// Sets makers and lease ends; what nothing explains becomes a violation. A revision that both a lease's
  /// end and a request could have made is left to nobody.
  void Explain(KvVerdict* verdict);

 private:
  struct Orphan {
    int64_t revision = 0;
    Instant deadline = kNever;
    std::vector<size_t> candidates;
  };

  std::vector<size_t> Candidates(const Orphan& orphan) const;
  /// 0: it is no lease's end.
  int64_t EndedLease(int64_t revision) const;
  /// Gives the orphan a maker, moving others to another of theirs where need be.
  bool Match(size_t orphan, std::vector<bool>* tried);
  std::string Unexplained(const Orphan& orphan, const KvVerdict& verdict) const;

  const History& history_;
  const KvModel& model_;
  std::vector<Orphan> orphans_;
  absl::flat_hash_map<std::string, std::vector<size_t>> by_value_;  // operations, by what they put
  std::vector<size_t> keep_value_;             // of unknown outcome, with a put that keeps the value
  std::vector<size_t> delete_;                 // of unknown outcome, that may delete
  absl::flat_hash_map<size_t, size_t> taken_;  // operation to orphan
};

bool SameEvents(const std::vector<mvccpb::Event>& a, const std::vector<mvccpb::Event>& b);

}  // namespace kvorum::sim
