#pragma once

#include <memory>

#include "base/metrics.h"

namespace kvorum::mvcc {

/// The metrics of store and watch hub (reference: metrics.md §2.3, §2.5).
class StoreMetrics {
 public:
  /// Null: they count, and nobody sees them.
  explicit StoreMetrics(metrics::Registry* registry);

 private:
  const std::unique_ptr<metrics::Registry> own_;  // where none was given
  metrics::Registry& registry_;

 public:
  metrics::Counter& puts;
  metrics::Counter& ranges;
  metrics::Counter& deletes;
  metrics::Counter& txns;
  metrics::Counter& put_bytes;
  metrics::Histogram& hash_duration;
  metrics::Gauge& keys;
  metrics::Gauge& current_revision;
  metrics::Gauge& compact_revision;
  metrics::Counter& compacted_records;
  metrics::Gauge& last_compaction;
  metrics::Histogram& record_compaction_pause;
  metrics::Histogram& index_compaction_pause;
  metrics::Histogram& compaction_duration;
  metrics::Counter& events;
  metrics::Gauge& pending_events;
  metrics::Gauge& slow_watchers;
  metrics::Gauge& watchers;
  metrics::Gauge& watch_streams;
};

}  // namespace kvorum::mvcc
