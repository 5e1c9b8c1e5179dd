#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "api/v3/core.h"
#include "api/v3/errors.h"
#include "api/v3/stream.h"
#include "api/v3/watch_response.h"
#include "base/random.h"
#include "proto/rpc.pb.h"

namespace kvorum::api_v3 {
namespace {

constexpr int64_t kNoWatchId = -1;
constexpr size_t kOverheadBytes = 512 << 10;  // v3-api.md §2.2

/// The loop's histograms of what one turn of a stream took (reference: metrics.md §8, 3.7).
struct WatchMetrics {
  explicit WatchMetrics(metrics::Registry* registry)
      : watch(Make(registry, "watch_stream_duration_seconds",
                   "The total duration in seconds of running through the send loop watch stream response "
                   "of one turn.")),
        per_event(Make(registry, "watch_stream_duration_per_event_seconds",
                       "The average duration in seconds of running through the send loop watch stream "
                       "response of one turn, per event.")),
        control(Make(registry, "control_stream_duration_seconds",
                     "The total duration in seconds of running through the send loop control stream "
                     "response.")),
        progress(Make(registry, "progress_duration_seconds",
                      "The total duration in seconds of running the progress loop control stream "
                      "response.")) {}

  static metrics::Histogram& Make(metrics::Registry* registry, std::string_view name, std::string_view help) {
    return registry->NewHistogram(fmt::format("etcd_debugging_server_watch_send_loop_{}", name), help, 0.001,
                                  2, 14);
  }

  metrics::Histogram& watch;
  metrics::Histogram& per_event;
  metrics::Histogram& control;
  metrics::Histogram& progress;
};

/// One Watch stream (reference: v3-api.md §6.8). The hub says that there is something; it is taken only while
/// the connection has room for it, so that a client that does not read costs no more than a position.
class WatchHandler final : public grpc::StreamHandler {
 public:
  WatchHandler(Core* core, MethodStats* stats, WatchMetrics* metrics, grpc::StreamWriter& writer)
      : core_(core),
        writer_(writer),
        metrics_(metrics),
        counter_(core, stats),
        fragment_bytes_(core->member().options().max_request_bytes + kOverheadBytes),
        alive_(this),
        guard_(core, &writer, [this] { End(NoLeaderError()); }) {
    http::Loop& loop = writer.loop();
    stream_ = core->member().store().watch_hub().NewStream([&loop, handle = alive_.handle()] {
      loop.Post([handle] {
        if (*handle != nullptr) (*handle)->Pump();
      });
    });
  }

  ~WatchHandler() override {
    if (ticking_) writer_.loop().CancelTimer(ticker_);
  }

  void OnMessage(std::string_view message) override {
    counter_.Received(message.size());
    etcdserverpb::WatchRequest request;
    if (!request.ParseFromArray(message.data(), static_cast<int>(message.size()))) {
      core_->stream_failures().With({"receive", "watch"}).Add();
      return End(MalformedRequestError());
    }
    const MonotonicTime begin = SystemClock().Now();
    switch (request.request_union_case()) {
      case etcdserverpb::WatchRequest::kCreateRequest:
        Create(request.create_request());
        break;
      case etcdserverpb::WatchRequest::kCancelRequest:
        Cancel(request.cancel_request().watch_id());
        break;
      case etcdserverpb::WatchRequest::kProgressRequest:
        AnswerProgressRequest();
        break;
      case etcdserverpb::WatchRequest::REQUEST_UNION_NOT_SET:
        return;
    }
    metrics_->control.Observe(SystemClock().Now() - begin);
    if (!ended_ && writer_.buffered() > kMaxBufferedBytes) {
      core_->stream_failures().With({"send", "watch"}).Add();
      End(absl::ResourceExhaustedError("etcdserver: the watch stream's responses are not being read"));
    }
  }

  void OnHalfClose() override {}  // the stream goes on
  void OnCancel() override { ended_ = true; }
  void OnWritable() override { Pump(); }

 private:
  /// What a watcher wants besides its events.
  struct Wishes {
    bool progress_notify = false;
    bool fragment = false;
    bool quiet = false;  ///< no events since the last tick
  };

  void Create(const etcdserverpb::WatchCreateRequest& request) {
    const int64_t current = core_->member().store().current_revision();
    if (request.watch_id() != 0 && compacted_.contains(request.watch_id())) {
      return Refuse(current, "mvcc: duplicate watch ID provided on the WatchStream");
    }
    mvcc::WatchSpec spec;
    spec.key = request.key();
    spec.end = request.range_end();
    // From the revision that the created response names, so that nothing falls between.
    spec.start_revision = request.start_revision() == 0 ? current + 1 : request.start_revision();
    spec.prev_kv = request.prev_kv();
    for (const int filter : request.filters()) {
      spec.no_put = spec.no_put || filter == etcdserverpb::WatchCreateRequest::NOPUT;
      spec.no_delete = spec.no_delete || filter == etcdserverpb::WatchCreateRequest::NODELETE;
    }
    const absl::StatusOr<int64_t> id = stream_->Watch(request.watch_id(), std::move(spec));
    if (!id.ok()) {
      return Refuse(current, mvcc::IsCompacted(id.status()) ? RpcErrorText(ToClientError(id.status()))
                                                            : std::string(id.status().message()));
    }
    if (request.progress_notify() || request.fragment()) {
      wishes_[*id] = {
          .progress_notify = request.progress_notify(), .fragment = request.fragment(), .quiet = true};
    }
    if (request.progress_notify()) Tick();
    Send({.revision = current, .watch_id = *id, .created = true});
  }

  void Refuse(int64_t revision, std::string_view reason) {
    Send({.revision = revision,
          .watch_id = kNoWatchId,
          .created = true,
          .canceled = true,
          .cancel_reason = reason});
  }

  void Cancel(int64_t id) {
    // A watcher that a compaction ended keeps its id until its client cancels it.
    if (compacted_.erase(id) == 0 && !stream_->Cancel(id)) return;
    wishes_.erase(id);
    Send({.revision = core_->member().store().current_revision(), .watch_id = id, .canceled = true});
  }

  /// One response for all watchers, where every one of them is caught up.
  void AnswerProgressRequest() {
    Pump();  // what comes before the answer goes before it
    if (ended_) return;
    const int64_t revision = stream_->SyncedRevision();
    if (revision != 0) Send({.revision = revision, .watch_id = kNoWatchId});
  }

  /// Arms the ticker: the interval and up to a tenth more, so that streams do not all tick together.
  void Tick() {
    if (ticking_) return;
    ticking_ = true;
    if (tick_interval_.count() == 0) {
      const auto interval = core_->options().watch_progress_interval;
      tick_interval_ =
          interval + std::chrono::nanoseconds(
                         Random(SystemEntropy()).Below(std::max<int64_t>(interval.count() / 10, 1)));
    }
    ticker_ = writer_.loop().PostAfter(tick_interval_, [this] { NotifyProgress(); });
  }

  void NotifyProgress() {
    const MonotonicTime begin = SystemClock().Now();
    ticking_ = false;
    Pump();
    if (ended_) return;
    bool any = false;
    for (auto& [id, wishes] : wishes_) {
      if (!wishes.progress_notify) continue;
      any = true;
      const int64_t revision = wishes.quiet ? stream_->SyncedRevision(id) : 0;
      wishes.quiet = true;
      if (revision != 0) Send({.revision = revision, .watch_id = id});
    }
    if (any) Tick();
    metrics_->progress.Observe(SystemClock().Now() - begin);
  }

  /// Sends what is there, as long as the client takes it.
  void Pump() {
    if (ended_) return;
    size_t events = 0;
    MonotonicTime begin;
    while (writer_.buffered() < http::ResponseWriter::kHighWater) {
      std::vector<mvcc::WatchBatch> batches =
          stream_->Take(http::ResponseWriter::kHighWater - writer_.buffered());
      if (batches.empty()) break;
      if (events == 0) begin = SystemClock().Now();
      const uint64_t term = core_->member().status().term;
      for (mvcc::WatchBatch& batch : batches) {
        events += std::max<size_t>(batch.event_count, 1);
        SendBatch(term, std::move(batch));
      }
    }
    if (events == 0) return;
    const std::chrono::nanoseconds elapsed = SystemClock().Now() - begin;
    metrics_->watch.Observe(elapsed);
    metrics_->per_event.Observe(elapsed / static_cast<int64_t>(events));
  }

  void SendBatch(uint64_t term, mvcc::WatchBatch batch) {
    if (batch.compact_revision != 0) {
      compacted_.insert(batch.watch_id);
      wishes_.erase(batch.watch_id);
      return Send({.watch_id = batch.watch_id, .canceled = true, .compact_revision = batch.compact_revision});
    }
    if (!wishes_.empty()) {
      if (const auto found = wishes_.find(batch.watch_id); found != wishes_.end()) {
        found->second.quiet = false;
        if (found->second.fragment) return SendFragments(term, std::move(batch));
      }
    }
    Send(EncodeWatchBatch(core_->header(), term, std::move(batch)));
  }

  void SendFragments(uint64_t term, mvcc::WatchBatch batch) {
    for (grpc::Payload& piece :
         EncodeWatchFragments(core_->header(), term, std::move(batch), fragment_bytes_)) {
      Send(std::move(piece));
    }
  }

  void Send(grpc::Payload payload) {
    counter_.Sent(payload.size());
    writer_.Send(std::move(payload));
  }

  void Send(const WatchNotice& notice) {
    grpc::Payload payload;
    payload.head = EncodeWatchNotice(core_->header(), core_->member().status().term, notice);
    Send(std::move(payload));
  }

  /// REQUIRES: the caller touches nothing of this afterwards.
  void End(const absl::Status& status) {
    ended_ = true;
    writer_.Finish(status);
  }

  Core* const core_;
  grpc::StreamWriter& writer_;
  WatchMetrics* const metrics_;
  StreamCounter counter_;
  const size_t fragment_bytes_;

  bool ended_ = false;
  absl::flat_hash_map<int64_t, Wishes> wishes_;  // of those that have any
  absl::flat_hash_set<int64_t> compacted_;       // ended by a compaction, not cancelled since
  bool ticking_ = false;
  Executor::TimerId ticker_ = 0;
  std::chrono::nanoseconds tick_interval_{0};

  AliveFlag<WatchHandler> alive_;
  std::unique_ptr<mvcc::WatchStream> stream_;
  LeaderGuard guard_;
};

}  // namespace

void RegisterWatch(Core* core, grpc::Server* server) {
  auto metrics = std::make_shared<WatchMetrics>(core->options().metrics);
  AddStream(core, server, "/etcdserverpb.Watch/Watch", grpc::MethodKind::kBidiStream,
            [metrics](Core* core, MethodStats* stats, grpc::StreamWriter& writer) {
              return std::make_unique<WatchHandler>(core, stats, metrics.get(), writer);
            });
}

}  // namespace kvorum::api_v3
