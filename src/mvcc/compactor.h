#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "base/clock.h"
#include "base/log.h"
#include "mvcc/key_index.h"
#include "mvcc/store_metrics.h"

namespace kvorum::mvcc {

/// Carries one compaction out in small steps: first the index forgets what no reader may ask for any more,
/// then the records that it named are deleted, oldest first. So an interruption at any point leaves records
/// from which the index is rebuilt as it was, and the compaction done again. Writer only.
class Compactor {
 public:
  Compactor(KeyIndex* index, absl::Mutex* index_mutex, backend::Backend* backend, const Clock* clock,
            Logger* logger, StoreMetrics* metrics)
      : index_(index),
        index_mutex_(index_mutex),
        backend_(backend),
        clock_(clock),
        logger_(logger),
        metrics_(metrics) {}

  /// From now on everything that a reader at `revision` does not see is to go. A compaction under way becomes
  /// part of this one.
  void Start(int64_t revision);
  /// Forgets what was to be done: there is another database.
  void Cancel() {
    phase_ = Phase::kIdle;
    runs_.clear();
  }
  /// False when all is done, and written down as done.
  bool Step(size_t max_records);
  bool active() const { return phase_ != Phase::kIdle; }

 private:
  enum class Phase : uint8_t { kIdle, kIndex, kRecords };
  using Item = KeyHistory::Item;
  /// Records to be deleted, in ascending order from `next` on.
  struct Run {
    std::vector<Item> items;
    size_t next = 0;
    const Item& head() const { return items[next]; }
  };

  void IndexStep(size_t max_keys);
  void RecordStep(size_t max_records);
  void Finish();
  MonotonicTime Now() const { return clock_ == nullptr ? MonotonicTime() : clock_->Now(); }

  KeyIndex* const index_ ABSL_PT_GUARDED_BY(index_mutex_);
  absl::Mutex* const index_mutex_;
  backend::Backend* const backend_;
  const Clock* const clock_;
  Logger* const logger_;
  StoreMetrics* const metrics_;

  Phase phase_ = Phase::kIdle;
  int64_t revision_ = 0;
  MonotonicTime started_;
  std::string cursor_;     // kIndex: the next key to look at
  std::vector<Run> runs_;  // a heap, the oldest record at its front, while kRecords
};

}  // namespace kvorum::mvcc
