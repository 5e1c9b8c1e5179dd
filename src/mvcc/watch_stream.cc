#include "mvcc/watch_stream.h"

#include <algorithm>

namespace kvorum::mvcc {
namespace {

/// A batch is ended where a revision does after this much, so that what a stream missed comes in pieces.
constexpr size_t kBatchBytes = 512 << 10;
constexpr size_t kBatchEvents = 1000;

}  // namespace

WatchStreamImpl::WatchStreamImpl(WatchHubImpl* hub, absl::AnyInvocable<void()> ready)
    : hub_(*hub), state_(std::make_shared<StreamState>(&hub->queued_bytes_)) {
  state_->ready.Set(std::move(ready));
  hub_.metrics_.watch_streams.Add(1);
}

WatchStreamImpl::~WatchStreamImpl() {
  std::vector<Watcher*> watchers;
  watchers.reserve(watchers_.size());
  for (const auto& [id, watcher] : watchers_) watchers.push_back(watcher);
  std::sort(watchers.begin(), watchers.end(),
            [](const Watcher* a, const Watcher* b) { return a->id < b->id; });
  hub_.Unregister(watchers);
  for (Watcher* watcher : watchers) watcher->Unref();
  state_->ready.Set(nullptr);
  {
    absl::MutexLock lock(&state_->mutex);
    hub_.metrics_.pending_events.Add(-static_cast<int64_t>(state_->queued()));
    for (const QueuedEvent& event : state_->TakeSome(SIZE_MAX)) event.watcher->Unref();
  }
  hub_.metrics_.watch_streams.Add(-1);
}

absl::StatusOr<int64_t> WatchStreamImpl::Watch(int64_t watch_id, WatchSpec spec) {
  if (spec.key.empty()) spec.key.assign(1, '\0');
  const KeyRange range{spec.key, spec.end};
  if (!range.single() && !range.open_ended() && spec.end <= spec.key) {
    return absl::InvalidArgumentError("mvcc: watcher range is empty");
  }
  if (spec.start_revision < 0) return CompactedError();
  if (watch_id == 0) {
    while (watchers_.contains(next_id_)) ++next_id_;
    watch_id = next_id_++;
  } else if (watchers_.contains(watch_id)) {
    return absl::InvalidArgumentError("mvcc: duplicate watch ID provided on the WatchStream");
  }
  auto* watcher = new Watcher;
  watcher->stream = state_.get();
  watcher->id = watch_id;
  watcher->prev_kv = spec.prev_kv;
  watcher->no_put = spec.no_put;
  watcher->no_delete = spec.no_delete;
  watchers_.emplace(watch_id, watcher);
  latest_start_ = std::max(latest_start_, spec.start_revision);
  hub_.Register(watcher, range, spec.start_revision);
  return watch_id;
}

bool WatchStreamImpl::Cancel(int64_t watch_id) {
  const auto it = watchers_.find(watch_id);
  if (it == watchers_.end()) return false;
  Watcher* watcher = it->second;
  watchers_.erase(it);
  hub_.Unregister({&watcher, 1});
  watcher->cancelled = true;
  watcher->Unref();
  return true;
}

/// The batch that the event goes to: its watcher's latest one, or a new one.
WatchBatch& WatchStreamImpl::BatchFor(std::vector<WatchBatch>* batches, const QueuedEvent& event) {
  Watcher* watcher = event.watcher;
  if (watcher->take_number == take_number_ && event.revision != 0) {
    WatchBatch& open = (*batches)[watcher->batch];
    const bool full = open.bytes >= kBatchBytes || open.event_count >= kBatchEvents;
    if (!full || watcher->last_revision == event.revision) return open;
  }
  watcher->take_number = take_number_;
  watcher->batch = static_cast<uint32_t>(batches->size());
  batches->push_back({});
  batches->back().watch_id = watcher->id;
  return batches->back();
}

std::vector<WatchBatch> WatchStreamImpl::Take(size_t max_bytes) {
  std::vector<QueuedEvent> events;
  bool more = false;
  bool unpark = false;
  {
    absl::MutexLock lock(&state_->mutex);
    events = state_->TakeSome(max_bytes);
    more = state_->queued() > 0;
    state_->ready_called = more;
    unpark = state_->has_parked && state_->HalfEmpty();
  }
  hub_.metrics_.pending_events.Add(-static_cast<int64_t>(events.size()));
  ++take_number_;
  std::vector<WatchBatch> batches;
  uint64_t sent = 0;
  for (QueuedEvent& event : events) {
    Watcher* watcher = event.watcher;
    if (!watcher->cancelled) {
      WatchBatch& batch = BatchFor(&batches, event);
      if (event.event.is_null()) {
        batch.compact_revision = event.header;
        watcher->cancelled = true;
        watchers_.erase(watcher->id);
        watcher->Unref();
      } else {
        batch.revision = event.header;
        batch.bytes += event.event.size();
        ++batch.event_count;
        batch.events.push_back(std::move(event.event));
        watcher->last_revision = event.revision;
        ++sent;
      }
    }
    watcher->Unref();
  }
  if (sent > 0) hub_.metrics_.events.Add(sent);
  if (unpark) hub_.Unpark(state_.get());
  if (more) state_->ready.Call();
  return batches;
}

int64_t WatchStreamImpl::SyncedRevision() {
  absl::MutexLock lock(&hub_.mutex_);
  if (state_->watchers == 0 || state_->behind > 0) return 0;
  {
    absl::MutexLock stream_lock(&state_->mutex);
    if (state_->queued() > 0) return 0;
  }
  const int64_t published = hub_.published_;
  if (latest_start_ > published + 1) {
    for (const auto& [id, watcher] : watchers_) {
      if (watcher->state == WatcherState::kSynced && watcher->next_revision > published + 1) return 0;
    }
  }
  return published;
}

int64_t WatchStreamImpl::SyncedRevision(int64_t watch_id) {
  const auto it = watchers_.find(watch_id);
  if (it == watchers_.end()) return 0;
  const Watcher& watcher = *it->second;
  absl::MutexLock lock(&hub_.mutex_);
  if (watcher.state != WatcherState::kSynced || watcher.next_revision > hub_.published_ + 1) return 0;
  // Its stream's reference is the only one: nothing of it is queued.
  return watcher.references.load(std::memory_order_acquire) == 1 ? hub_.published_ : 0;
}

}  // namespace kvorum::mvcc
