#include "mvcc/store_metrics.h"

namespace kvorum::mvcc {

using metrics::Declared;

StoreMetrics::StoreMetrics(metrics::Registry* registry)
    : own_(registry == nullptr ? std::make_unique<metrics::Registry>() : nullptr),
      registry_(registry == nullptr ? *own_ : *registry),
      puts(registry_.NewCounter("etcd_mvcc_put_total", "Total number of puts seen by this member.")),
      ranges(registry_.NewCounter("etcd_mvcc_range_total", "Total number of ranges seen by this member.")),
      deletes(registry_.NewCounter("etcd_mvcc_delete_total", "Total number of deletes seen by this member.")),
      txns(registry_.NewCounter("etcd_mvcc_txn_total", "Total number of txns seen by this member.")),
      put_bytes(registry_.NewCounter("etcd_debugging_mvcc_total_put_size_in_bytes",
                                     "The total size of put kv pairs seen by this member.",
                                     Declared::kGauge)),
      hash_duration(registry_.NewHistogram("etcd_mvcc_hash_rev_duration_seconds",
                                           "The latency distribution of storage hash by revision operation.",
                                           0.01, 2, 15)),
      keys(registry_.NewGauge("etcd_debugging_mvcc_keys_total", "Total number of keys.")),
      current_revision(
          registry_.NewGauge("etcd_debugging_mvcc_current_revision", "The current revision of store.")),
      compact_revision(registry_.NewGauge("etcd_debugging_mvcc_compact_revision",
                                          "The revision of the last compaction in store.")),
      compacted_records(registry_.NewCounter("etcd_debugging_mvcc_db_compaction_keys_total",
                                             "Total number of db keys compacted.")),
      last_compaction(registry_.NewGauge("etcd_debugging_mvcc_db_compaction_last",
                                         "The unix time of the last db compaction.")),
      record_compaction_pause(
          registry_.NewHistogram("etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds",
                                 "Bucketed histogram of db compaction pause duration.", 1, 2, 13)),
      index_compaction_pause(
          registry_.NewHistogram("etcd_debugging_mvcc_index_compaction_pause_duration_milliseconds",
                                 "Bucketed histogram of index compaction pause duration.", 0.5, 2, 14)),
      compaction_duration(
          registry_.NewHistogram("etcd_debugging_mvcc_db_compaction_total_duration_milliseconds",
                                 "Bucketed histogram of db compaction total duration.", 100, 2, 14)),
      events(registry_.NewCounter("etcd_debugging_mvcc_events_total",
                                  "Total number of events sent by this member.")),
      pending_events(registry_.NewGauge("etcd_debugging_mvcc_pending_events_total",
                                        "Total number of pending events to be sent.")),
      slow_watchers(registry_.NewGauge("etcd_debugging_mvcc_slow_watcher_total",
                                       "Total number of unsynced slow watchers.")),
      watchers(registry_.NewGauge("etcd_debugging_mvcc_watcher_total", "Total number of watchers.")),
      watch_streams(
          registry_.NewGauge("etcd_debugging_mvcc_watch_stream_total", "Total number of watch streams.")) {}

}  // namespace kvorum::mvcc
