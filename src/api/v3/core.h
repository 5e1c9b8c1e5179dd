#pragma once

#include <array>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "api/v3/response_header.h"
#include "api/v3/services.h"
#include "base/thread_executor.h"

namespace kvorum::api_v3 {

/// The metrics of one method. Constant after registration; the counters are thread-safe.
struct MethodStats {
  static constexpr size_t kCodes = 17;

  std::string path;  ///< "/etcdserverpb.KV/Range"
  metrics::Counter* started = nullptr;
  metrics::Counter* received = nullptr;
  metrics::Counter* sent = nullptr;
  std::array<metrics::Counter*, kCodes> handled{};
  metrics::Histogram* handling = nullptr;  ///< null without --metrics extensive
  /// etcd_server_request_duration_seconds{success, type}; null for methods that etcd does not measure.
  metrics::Histogram* succeeded = nullptr;
  metrics::Histogram* failed = nullptr;
  /// A stream that counts its messages as they pass, for it may last for days.
  bool counts_itself = false;
};

/// What all services share. Thread-safe: constant after construction, apart from what a lock guards.
class Services::Core {
 public:
  explicit Core(const ServicesOptions& options);

  const ServicesOptions& options() const { return options_; }
  member::Member& member() const { return *options_.member; }
  Logger& logger() const { return *options_.logger; }
  const ResponseHeader& header() const { return header_; }

  /// The checks before each call, in the order of reference v3-api.md §2.4, as far as they need no message.
  absl::Status Admit(const grpc::CallInfo& info, grpc::MethodKind kind);
  void Finished(const grpc::ServerOptions::Finished& finished);

  /// Null for a method that is none of ours.
  MethodStats* Find(std::string_view path);

  /// The earlier of the call's own deadline and now + the member's request time-out.
  MonotonicTime Deadline(const grpc::CallInfo& info, MonotonicTime now) const;

  /// Where long reads run, so that no I/O loop stands still for them.
  Executor& bulk_executor();
  /// Where the whole database is read, which may take minutes: apart from the ranges.
  Executor& snapshot_executor() { return snapshot_executor_; }
  void StopReaders();

  // Counters of streams that count themselves (metrics.md §2.4).
  metrics::Counter& client_received_bytes() { return client_received_bytes_; }
  metrics::Counter& client_sent_bytes() { return client_sent_bytes_; }
  metrics::Family<metrics::Counter>& stream_failures() { return stream_failures_; }
  /// Observes etcd_server_range_duration_seconds.
  metrics::Histogram& range_duration(bool success) { return success ? range_succeeded_ : range_failed_; }

 private:
  /// Counters of etcd_server_client_requests_total for one kind of call. The number of versions is bounded:
  /// what comes after kMaxVersions distinct ones counts as "other".
  class RequestCounter {
   public:
    RequestCounter(metrics::Family<metrics::Counter>* family, std::string_view kind);
    void Count(const std::string_view* version);

   private:
    static constexpr size_t kMaxVersions = 64;
    static constexpr size_t kMaxVersionBytes = 64;

    metrics::Family<metrics::Counter>* const family_;
    const std::string kind_;
    metrics::Counter& unknown_;
    absl::Mutex mutex_;
    std::map<std::string, metrics::Counter*, std::less<>> versions_ ABSL_GUARDED_BY(mutex_);
  };

  void AddMethods();
  bool Capable();

  const ServicesOptions options_;
  const ResponseHeader header_;
  /// By path, which the value holds. Constant after construction.
  absl::flat_hash_map<std::string_view, std::unique_ptr<MethodStats>> methods_;
  metrics::Counter& client_received_bytes_;
  metrics::Counter& client_sent_bytes_;
  metrics::Family<metrics::Counter>& stream_failures_;
  metrics::Histogram& range_succeeded_;
  metrics::Histogram& range_failed_;
  RequestCounter unary_requests_;
  RequestCounter stream_requests_;
  // Whether the cluster's version is one that we know, as of its change of that number. Written by whoever
  // sees a newer one, the number last.
  std::atomic<bool> capable_{true};
  std::atomic<uint64_t> capable_at_{0};
  std::atomic<size_t> next_bulk_{0};
  // Last: their tasks use the rest.
  std::vector<std::unique_ptr<ThreadExecutor>> bulk_;
  ThreadExecutor snapshot_executor_{"read-snapshot"};
};

using Core = Services::Core;

// One function a service; each adds its methods to the server.
void RegisterKv(Core* core, grpc::Server* server);
void RegisterWatch(Core* core, grpc::Server* server);
void RegisterLease(Core* core, grpc::Server* server);
void RegisterCluster(Core* core, grpc::Server* server);
void RegisterMaintenance(Core* core, grpc::Server* server);
void RegisterSnapshot(Core* core, grpc::Server* server);

}  // namespace kvorum::api_v3
