#include "sim/watcher.h"

#include <utility>

namespace kvorum::sim {

namespace {

constexpr Instant kMillisecond = 1'000'000;
/// How long a watch is kept, at most.
constexpr Instant kLong = 20'000 * kMillisecond;
/// How long a client that was told of something takes to read it, at most.
constexpr Instant kSlow = 200 * kMillisecond;
constexpr size_t kTakeBytes = 4096;

}  // namespace

Watcher::Watcher(uint64_t id, Scheduler* scheduler, const Truth* truth, Client::Nodes nodes, History* history)
    : id_(id), scheduler_(scheduler), truth_(truth), nodes_(std::move(nodes)), history_(history) {}

Watcher::~Watcher() = default;

void Watcher::Start() {
  scheduler_->After(scheduler_->Between(0, 1'000 * kMillisecond), [this] { Open(); });
}

void Watcher::Note(etcdserverpb::WatchResponse response) {
  watch().responses.push_back(std::move(response));
  watch().received.push_back(scheduler_->now());
}

void Watcher::Open() {
  if (stopped_) return;
  Random& random = scheduler_->chance();
  const std::vector<Node*>& nodes = nodes_();
  node_ = nodes[random.Below(nodes.size())];
  if (!node_->ready()) {
    scheduler_->After(100 * kMillisecond, [this] { Open(); });
    return;
  }
  const uint64_t attempt = ++attempt_;
  stream_ = node_->member()->store().watch_hub().NewStream([this, attempt] {
    scheduler_->After(scheduler_->Between(0, kSlow), [this, attempt] { Take(attempt); });
  });
  at_ = history_->watches.size();
  history_->watches.emplace_back();
  watch().client = id_;
  watch().member = node_->id();
  watch().created = scheduler_->now();
  watch().request = PickWatch(random, truth_->last(), next_revision_);
  const etcdserverpb::WatchCreateRequest& request = watch().request;
  mvcc::WatchSpec spec{.key = request.key(),
                       .end = request.range_end(),
                       .start_revision = request.start_revision(),
                       .prev_kv = request.prev_kv()};
  for (const int filter : request.filters()) {
    (filter == etcdserverpb::WatchCreateRequest::NOPUT ? spec.no_put : spec.no_delete) = true;
  }
  const int64_t revision = node_->member()->store().current_revision();
  if (spec.start_revision == 0) spec.start_revision = revision + 1;
  etcdserverpb::WatchResponse created;
  created.set_created(true);
  created.mutable_header()->set_revision(revision);
  Note(std::move(created));
  stream_->Watch(1, std::move(spec)).status().IgnoreError();
  scheduler_->After(scheduler_->Between(0, kLong), [this, attempt] {
    if (attempt == attempt_ && stream_ != nullptr && !stopped_) End();
  });
}

void Watcher::Take(uint64_t attempt) {
  if (attempt != attempt_ || stream_ == nullptr || node_->paused()) {
    if (attempt == attempt_ && stream_ != nullptr) {
      scheduler_->After(100 * kMillisecond, [this, attempt] { Take(attempt); });
    }
    return;
  }
  for (const mvcc::WatchBatch& batch : stream_->Take(kTakeBytes)) {
    etcdserverpb::WatchResponse response;
    if (batch.compact_revision != 0) {
      response.set_canceled(true);
      response.set_compact_revision(batch.compact_revision);
      next_revision_ = batch.compact_revision;
      Note(std::move(response));
      return End();
    }
    std::string encoded;
    for (const Bytes& event : batch.events) encoded += event.view();
    if (!response.ParseFromString(encoded)) std::abort();
    response.mutable_header()->set_revision(batch.revision);
    next_revision_ = batch.revision + 1;
    Note(std::move(response));
  }
  const int64_t synced = stream_->SyncedRevision(1);
  if (synced > 0 && scheduler_->chance().OneIn(1, 10)) {
    etcdserverpb::WatchResponse progress;
    progress.mutable_header()->set_revision(synced);
    Note(std::move(progress));
  }
}

void Watcher::End() {
  if (stream_ != nullptr && (watch().responses.empty() || !watch().responses.back().canceled())) {
    watch().cancel_invoked = scheduler_->now();
  }
  stream_.reset();
  scheduler_->After(scheduler_->Between(0, 500 * kMillisecond), [this] { Open(); });
}

void Watcher::Leave(const Node& node) {
  if (stream_ != nullptr && node_ == &node) End();
}

void Watcher::Close() {
  if (stream_ == nullptr) return;
  watch().open_at_end = true;
  stream_.reset();
}

}  // namespace kvorum::sim
