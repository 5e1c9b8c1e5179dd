#include "api/v2/key_metrics.h"

#include "fmt/format.h"

namespace kvorum::api_v2 {

KeyMetrics::KeyMetrics(metrics::Registry* registry, const v2store::Store* store)
    : store_(*store),
      received_(registry->NewCounterFamily(
          "etcd_http_received_total",
          "Counter of requests received into the system (successfully parsed and authd).", {"method"})),
      failed_(registry->NewCounterFamily("etcd_http_failed_total",
                                         "Counter of handle failures of requests (non-watches), by method "
                                         "(GET/PUT etc.) and code (400, 500 etc.).",
                                         {"method", "code"})),
      durations_(registry->NewHistogramFamily(
          "etcd_http_successful_duration_seconds",
          "Bucketed histogram of processing time (s) of successfully handled requests (non-watches), by "
          "method (GET/PUT etc.).",
          {"method"}, 0.0005, 2, 13)),
      reads_(registry->NewCounterFamily(
          "etcd_debugging_store_reads_total",
          "Total number of reads action by (get/getRecursive), local to this member.", {"action"})),
      writes_(registry->NewCounterFamily(
          "etcd_debugging_store_writes_total",
          "Total number of writes (e.g. set/compareAndDelete) seen by this member.", {"action"})),
      watch_requests_(
          registry->NewCounter("etcd_debugging_store_watch_requests_total",
                               "Total number of incoming watch requests (new or reestablished).")),
      seen_(store->stats()) {
  // The text is made in the order of the names: this comes before the other counters of the store, and brings
  // them up to date.
  registry->NewGaugeCallback(
      "etcd_debugging_store_expires_total", "Total number of expired keys.",
      [this] {
        const v2store::Stats stats = store_.stats();
        TakeOver(stats);
        return static_cast<double>(stats.expire_count);
      },
      metrics::Declared::kCounter);
  registry->NewGaugeCallback("etcd_debugging_store_watchers", "Count of currently active watchers.",
                             [this] { return static_cast<double>(store_.stats().watchers); });
}

std::string_view KeyMetrics::Name(Method method) {
  static constexpr std::string_view kNames[kMethods] = {"HEAD", "GET", "PUT", "POST", "DELETE", "QGET"};
  return kNames[method];
}

void KeyMetrics::Failed(Method method, int status) {
  failed_.With({std::string(Name(method)), fmt::format_int(status).str()}).Add();
}

void KeyMetrics::TakeOver(const v2store::Stats& stats) {
  absl::MutexLock lock(&mutex_);
  const auto add = [](metrics::Family<metrics::Counter>& family, const char* action, uint64_t now,
                      uint64_t before) {
    if (now > before) family.With({action}).Add(now - before);  // a snapshot may bring less
  };
  const uint64_t recursive = recursive_reads_.load(std::memory_order_relaxed);
  add(reads_, "getRecursive", recursive, recursive_seen_);
  add(reads_, "get", stats.gets_success, seen_.gets_success + (recursive - recursive_seen_));
  add(writes_, "create", stats.create_success, seen_.create_success);
  add(writes_, "set", stats.sets_success, seen_.sets_success);
  add(writes_, "update", stats.update_success, seen_.update_success);
  add(writes_, "delete", stats.delete_success, seen_.delete_success);
  add(writes_, "compareAndSwap", stats.compare_and_swap_success, seen_.compare_and_swap_success);
  add(writes_, "compareAndDelete", stats.compare_and_delete_success, seen_.compare_and_delete_success);
  seen_ = stats;
  recursive_seen_ = recursive;
}

}  // namespace kvorum::api_v2
