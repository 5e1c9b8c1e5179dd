#include "api/v3/core.h"

#include <algorithm>
#include <charconv>

#include "api/v3/errors.h"
#include "api/v3/utf8.h"
#include "base/version.h"
#include "proto/rpc.pb.h"

namespace kvorum::api_v3 {
namespace {

constexpr double kRequestStart = 0.001;  // metrics.md §8, 3.7
constexpr size_t kRequestBuckets = 14;
constexpr double kRangeStart = 0.0001;
constexpr size_t kRangeBuckets = 20;

std::string_view KindName(bool client_streams, bool server_streams) {
  if (client_streams) return server_streams ? "bidi_stream" : "client_stream";
  return server_streams ? "server_stream" : "unary";
}

/// The label `type` of etcd_server_request_duration_seconds (metrics.md §3), or empty.
std::string_view RequestType(std::string_view method) {
  static constexpr std::pair<std::string_view, std::string_view> kTypes[] = {
      {"Range", "Range"},
      {"Put", "Put"},
      {"DeleteRange", "DeleteRange"},
      {"Txn", "Txn"},
      {"Compact", "Compaction"},
      {"LeaseGrant", "LeaseGrant"},
      {"LeaseRevoke", "LeaseRevoke"},
      {"Alarm", "Alarm"},
      {"AuthStatus", "AuthStatus"},
  };
  for (const auto& [name, type] : kTypes) {
    if (name == method) return type;
  }
  return {};
}

/// "3.7.0" to {3, 7}.
std::optional<std::pair<int, int>> MajorMinor(std::string_view version) {
  int major = 0;
  int minor = 0;
  const char* const end = version.data() + version.size();
  const auto first = std::from_chars(version.data(), end, major);
  if (first.ec != std::errc() || first.ptr == end || *first.ptr != '.') return std::nullopt;
  if (std::from_chars(first.ptr + 1, end, minor).ec != std::errc()) return std::nullopt;
  return std::pair(major, minor);
}

/// A cluster version that has the API: 3.0 to our own; or none yet.
bool IsKnownVersion(std::string_view version) {
  if (version.empty()) return true;
  const auto known = MajorMinor(version);
  static const auto own = MajorMinor(kClusterVersion);
  return known.has_value() && known->first == own->first && known->second <= own->second;
}

}  // namespace

Core::RequestCounter::RequestCounter(metrics::Family<metrics::Counter>* family, std::string_view kind)
    : family_(family), kind_(kind), unknown_(family->With({kind_, "unknown"})) {}

void Core::RequestCounter::Count(const std::string_view* version) {
  if (version == nullptr) {
    unknown_.Add();
    return;
  }
  absl::MutexLock lock(&mutex_);
  auto found = versions_.find(*version);
  if (found == versions_.end()) {
    const bool fits = versions_.size() < kMaxVersions && version->size() <= kMaxVersionBytes;
    const std::string label(fits ? *version : "other");
    found = versions_.try_emplace(label, &family_->With({kind_, label})).first;
  }
  found->second->Add();
}

Core::Core(const ServicesOptions& options)
    : options_(options),
      header_(options.member->cluster_id(), options.member->id()),
      client_received_bytes_(
          options.metrics->NewCounter("etcd_network_client_grpc_received_bytes_total",
                                      "The total number of bytes received from grpc clients.")),
      client_sent_bytes_(options.metrics->NewCounter("etcd_network_client_grpc_sent_bytes_total",
                                                     "The total number of bytes sent to grpc clients.")),
      stream_failures_(options.metrics->NewCounterFamily(
          "etcd_network_server_stream_failures_total",
          "The total number of stream failures from the local server.", {"Type", "API"})),
      range_succeeded_(options.metrics
                           ->NewHistogramFamily("etcd_server_range_duration_seconds",
                                                "The latency distributions of txn.Range", {"success"},
                                                kRangeStart, 2, kRangeBuckets)
                           .With({"true"})),
      range_failed_(options.metrics
                        ->NewHistogramFamily("etcd_server_range_duration_seconds",
                                             "The latency distributions of txn.Range", {"success"},
                                             kRangeStart, 2, kRangeBuckets)
                        .With({"false"})),
      unary_requests_(
          &options.metrics->NewCounterFamily("etcd_server_client_requests_total",
                                             "The total number of client requests per client version.",
                                             {"type", "client_api_version"}),
          "unary"),
      stream_requests_(
          &options.metrics->NewCounterFamily("etcd_server_client_requests_total",
                                             "The total number of client requests per client version.",
                                             {"type", "client_api_version"}),
          "stream") {
  AddMethods();
  const size_t threads = std::clamp<size_t>(std::thread::hardware_concurrency(), 1, 8);
  for (size_t i = 0; i < threads; ++i) {
    bulk_.push_back(std::make_unique<ThreadExecutor>(fmt::format("bulk-read-{}", i)));
  }
}

/// Every method of etcd's services has its series from the start, also those that are Unimplemented here.
void Core::AddMethods() {
  metrics::Registry& registry = *options_.metrics;
  const std::vector<std::string> labels = {"grpc_type", "grpc_service", "grpc_method"};
  auto& started = registry.NewCounterFamily("grpc_server_started_total",
                                            "Total number of RPCs started on the server.", labels);
  auto& received =
      registry.NewCounterFamily("grpc_server_msg_received_total",
                                "Total number of RPC stream messages received on the server.", labels);
  auto& sent = registry.NewCounterFamily("grpc_server_msg_sent_total",
                                         "Total number of gRPC stream messages sent by the server.", labels);
  auto& handled = registry.NewCounterFamily(
      "grpc_server_handled_total",
      "Total number of RPCs completed on the server, regardless of success or failure.",
      {"grpc_type", "grpc_service", "grpc_method", "grpc_code"});
  auto& duration = registry.NewHistogramFamily("etcd_server_request_duration_seconds",
                                               "Response latency in seconds for each type of request.",
                                               {"type", "success"}, kRequestStart, 2, kRequestBuckets);

  auto add = [&](std::string_view service, std::string_view method, std::string_view kind) {
    const std::vector<std::string> values = {std::string(kind), std::string(service), std::string(method)};
    auto stats = std::make_unique<MethodStats>();
    stats->path = fmt::format("/{}/{}", service, method);
    stats->started = &started.With(values);
    stats->received = &received.With(values);
    stats->sent = &sent.With(values);
    for (size_t code = 0; code < MethodStats::kCodes; ++code) {
      std::vector<std::string> with_code = values;
      with_code.emplace_back(CodeName(static_cast<absl::StatusCode>(code)));
      stats->handled[code] = &handled.With(with_code);
    }
    if (options_.extensive_metrics) {
      stats->handling =
          &registry
               .NewHistogramFamily("grpc_server_handling_seconds",
                                   "Histogram of response latency (seconds) of gRPC that had been "
                                   "application-level handled by the server.",
                                   labels,
                                   std::vector<double>{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10})
               .With(values);
    }
    if (const std::string_view type = RequestType(method); !type.empty()) {
      stats->succeeded = &duration.With({std::string(type), "true"});
      stats->failed = &duration.With({std::string(type), "false"});
    }
    const std::string_view path = stats->path;
    methods_.emplace(path, std::move(stats));
  };

  const auto* file = etcdserverpb::RangeRequest::descriptor()->file();
  for (int s = 0; s < file->service_count(); ++s) {
    const auto* service = file->service(s);
    for (int m = 0; m < service->method_count(); ++m) {
      const auto* method = service->method(m);
      add(service->full_name(), method->name(),
          KindName(method->client_streaming(), method->server_streaming()));
    }
  }
  add("grpc.health.v1.Health", "Check", "unary");
  add("grpc.health.v1.Health", "Watch", "server_stream");
}

MethodStats* Core::Find(std::string_view path) {
  const auto found = methods_.find(path);
  return found == methods_.end() ? nullptr : found->second.get();
}

bool Core::Capable() {
  const uint64_t change = member().cluster().version_changes();
  if (capable_at_.load(std::memory_order_acquire) != change) {
    capable_.store(IsKnownVersion(member().cluster().version()), std::memory_order_relaxed);
    capable_at_.store(change, std::memory_order_release);
  }
  return capable_.load(std::memory_order_relaxed);
}

absl::Status Core::Admit(const grpc::CallInfo& info, grpc::MethodKind kind) {
  if (MethodStats* stats = Find(info.method)) stats->started->Add();
  if (!Capable()) return NotCapableError();
  // A serializable Range is let through by its handler, which alone sees the request.
  if (member().cluster().IsLocalLearner() && info.method != "/etcdserverpb.Maintenance/Status" &&
      info.method != "/etcdserverpb.Maintenance/Snapshot" && info.method != "/etcdserverpb.KV/Range") {
    return NotSupportedForLearnerError();
  }
  const std::string_view* version = info.Find("client-api-version");
  if (version != nullptr && !IsUtf8(*version)) return InvalidClientApiVersionError();
  (kind == grpc::MethodKind::kUnary ? unary_requests_ : stream_requests_).Count(version);
  const std::string_view* has_leader = info.Find("hasleader");
  if (has_leader != nullptr && *has_leader == "true" && member().status().leader == MemberId(0)) {
    return NoLeaderError();
  }
  return absl::OkStatus();
}

void Core::Finished(const grpc::ServerOptions::Finished& finished) {
  MethodStats* stats = Find(finished.info.method);
  if (stats == nullptr) return;
  const auto code = static_cast<size_t>(finished.code);
  stats->handled[code < MethodStats::kCodes ? code : static_cast<size_t>(absl::StatusCode::kUnknown)]->Add();
  if (stats->handling != nullptr) stats->handling->Observe(finished.duration);
  if (stats->counts_itself) return;
  stats->received->Add(finished.messages_received);
  stats->sent->Add(finished.messages_sent);
  client_received_bytes_.Add(finished.bytes_received);
  client_sent_bytes_.Add(finished.bytes_sent);
}

MonotonicTime Core::Deadline(const grpc::CallInfo& info, MonotonicTime now) const {
  const MonotonicTime ours = now + member().options().request_timeout();
  return info.deadline.has_value() ? std::min(*info.deadline, ours) : ours;
}

Executor& Core::bulk_executor() {
  return *bulk_[next_bulk_.fetch_add(1, std::memory_order_relaxed) % bulk_.size()];
}

void Core::StopReaders() {
  for (const auto& executor : bulk_) executor->Stop();
  snapshot_executor_.Stop();
}

Services::Services(const ServicesOptions& options) {
  KVORUM_CHECK(options.member != nullptr && options.metrics != nullptr);
  core_ = std::make_unique<Core>(options);
}

Services::~Services() = default;

grpc::ServerOptions Services::ServerOptions() {
  static constexpr size_t kOverheadBytes = 512 << 10;  // v3-api.md §2.2
  grpc::ServerOptions options;
  options.max_receive_bytes = core_->member().options().max_request_bytes + kOverheadBytes;
  options.admit = [core = core_.get()](const grpc::CallInfo& info, grpc::MethodKind kind) {
    return core->Admit(info, kind);
  };
  options.finished = [core = core_.get()](const grpc::ServerOptions::Finished& finished) {
    core->Finished(finished);
  };
  return options;
}

void Services::Stop() { core_->StopReaders(); }

void Services::Register(grpc::Server* server) {
  RegisterKv(core_.get(), server);
  RegisterWatch(core_.get(), server);
  RegisterLease(core_.get(), server);
  RegisterCluster(core_.get(), server);
  RegisterMaintenance(core_.get(), server);
  RegisterSnapshot(core_.get(), server);
}

}  // namespace kvorum::api_v3
