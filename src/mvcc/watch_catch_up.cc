#include <algorithm>

#include "base/check.h"
#include "base/planted_bug.h"
#include "mvcc/watch_hub.h"

namespace kvorum::mvcc {
namespace {

/// How many watchers one turn serves at most, and how many it looks at for them.
constexpr size_t kWatchersPerTurn = 512;
/// Up to this many revisions times watchers are read under the lock, so that watchers that are almost there
/// get there while transactions go on.
constexpr int64_t kReadUnderLock = 4096;

}  // namespace

/// One reading of history, for some of the watchers that are behind.
struct WatchHubImpl::Turn {
  struct Entry {
    Watcher* watcher;  ///< holds a reference
    int64_t next;
    std::vector<QueuedEvent> events;
  };
  std::vector<Entry> entries;
  Streams streams;     ///< of the entries; each once
  WatcherTable table;  ///< of the entries; each group lists them in `synced`
  int64_t from = 0;
  int64_t to = 0;
  int64_t complete = 0;  ///< the last revision of which everything was read
  /// Not 0: watchers that want what is older cannot have it.
  int64_t compacted = 0;
};

bool WatchHubImpl::CatchUpStep(size_t max_records) {
  Turn turn;
  Streams ready;
  BeginTurn(&turn);
  if (!turn.entries.empty()) {
    ReadTurn(&turn, turn.from, turn.to, max_records);
    EndTurn(&turn, &ready);
  }
  for (const auto& stream : ready) stream->ready.Call();
  absl::MutexLock lock(&mutex_);
  behind_known_ = !queue_.empty();
  return behind_known_;
}

/// Takes the watcher whose turn it is, and others that can be served with it.
void WatchHubImpl::BeginTurn(Turn* turn) {
  absl::MutexLock lock(&mutex_);
  turn->to = published_;
  Watcher* next = queue_.front();
  for (size_t seen = 0; next != nullptr && seen < kWatchersPerTurn; ++seen) {
    Watcher* watcher = std::exchange(next, next->list_next);
    if (!turn->entries.empty() && watcher->next_revision < turn->from) continue;
    StreamState* stream = watcher->stream;
    queue_.Remove(watcher);
    {
      absl::MutexLock stream_lock(&stream->mutex);
      if (!stream->HasRoom(stream->watchers, -1)) {
        stream->has_parked = true;
        watcher->state = WatcherState::kParked;
        stream->parked.PushBack(watcher);
        continue;
      }
    }
    if (turn->entries.empty()) turn->from = watcher->next_revision;
    if (stream->turn_room == 0) {
      stream->turn_room = kTurnBytes;
      stream->turn_stop = INT64_MAX;
      turn->streams.push_back(stream->shared_from_this());
    }
    watcher->state = WatcherState::kInTurn;
    watcher->turn_slot = static_cast<uint32_t>(turn->entries.size());
    watcher->Ref();
    turn->entries.push_back({watcher, watcher->next_revision, {}});
    const WatchGroup* group = watcher->group;
    const std::string_view end =
        group->single ? "" : std::string_view(static_cast<const RangeGroup*>(group)->end);
    turn->table.Acquire({group->key, end})->synced.push_back(watcher);
  }
}

void WatchHubImpl::ReadTurn(Turn* turn, int64_t from, int64_t to, size_t max_records) {
  const std::unique_ptr<backend::ReadView> view = history_->NewView();
  std::vector<HistoryChange> changes;
  const absl::StatusOr<int64_t> complete = history_->ReadChanges(*view, from, to, max_records, &changes);
  if (!complete.ok()) {
    KVORUM_LOG(logger_, kError, "failed to read the history for watchers; cancelling them as compacted",
               {"from-revision", from}, {"to-revision", to},
               {"error", std::string(complete.status().message())});
    turn->compacted = to + 1;
    return;
  }
  for (const HistoryChange& change : changes) ServeChange(turn, view.get(), change);
  turn->complete = *complete;
  // What was compacted before the reading ended may be missing in it.
  turn->compacted = std::max<int64_t>(history_->compact_revision(), 0);
}

void WatchHubImpl::ServeChange(Turn* turn, backend::ReadView* view, const HistoryChange& change) {
  const int64_t main = change.revision.main;
  EventForms forms(change.key, change.record, main, change.tombstone, change.creates);
  turn->table.ForEachMatch(change.key, [&](WatchGroup& group) {
    for (Watcher* watcher : group.synced) {
      Turn::Entry& entry = turn->entries[watcher->turn_slot];
      StreamState* stream = watcher->stream;
      if (main < entry.next || main > stream->turn_stop || !watcher->Wants(change.tombstone)) continue;
      const Bytes& event = forms.For(*watcher, [&] {
        const int64_t before = IsPlanted(PlantedBug::kPrevKvOfNow) ? main : main - 1;
        return history_->RecordAt(*view, change.key, before);
      });
      watcher->Ref();
      entry.events.push_back(
          {.watcher = watcher, .event = event, .revision = main, .header = main, .charge = 0});
      stream->turn_room -= static_cast<int64_t>(sizeof(QueuedEvent) + event.size());
      if (stream->turn_room <= 0 && stream->turn_stop == INT64_MAX) stream->turn_stop = main;
    }
  });
}

void WatchHubImpl::EndTurn(Turn* turn, Streams* ready) {
  absl::MutexLock lock(&mutex_);
  const int64_t gap = published_ - turn->to;
  if (turn->complete == turn->to && gap > 0 &&
      gap * static_cast<int64_t>(turn->entries.size()) <= kReadUnderLock) {
    turn->to = published_;
    ReadTurn(turn, turn->complete + 1, published_, SIZE_MAX);
  }
  // Those for whom nothing was read were before the others, and stay so.
  for (const bool served : {false, true}) {
    for (size_t i = 0; i < turn->entries.size(); ++i) {
      if ((turn->entries[i].next <= turn->complete) == served) FinishEntry(turn, i, ready);
    }
  }
  for (const auto& stream : turn->streams) stream->turn_room = 0;
}

void WatchHubImpl::FinishEntry(Turn* turn, size_t i, Streams* ready) {
  Turn::Entry& entry = turn->entries[i];
  Watcher* watcher = entry.watcher;
  const auto drop = [&] {
    for (const QueuedEvent& event : entry.events) event.watcher->Unref();
    entry.events.clear();
  };
  if (watcher->state == WatcherState::kGone) {
    drop();
  } else if (entry.next < turn->compacted) {
    drop();
    watcher->Ref();
    entry.events.push_back(
        {.watcher = watcher, .event = Bytes(), .revision = 0, .header = turn->compacted, .charge = 0});
    StreamState* stream = watcher->stream;
    Retire(watcher);
    Deliver(stream, &entry.events, ready);
  } else {
    const int64_t end = std::min(turn->complete, watcher->stream->turn_stop);
    if (!entry.events.empty()) {
      entry.events.back().header = end;
      Deliver(watcher->stream, &entry.events, ready);
    }
    watcher->next_revision = std::max(entry.next, end + (IsPlanted(PlantedBug::kWatchSkipsNext) ? 2 : 1));
    if (watcher->next_revision > published_) {
      --watcher->stream->behind;
      metrics_.slow_watchers.Add(-1);
      MakeSynced(watcher);
    } else {
      Queue(watcher);
    }
  }
  watcher->Unref();
}

void WatchHubImpl::Deliver(StreamState* stream, std::vector<QueuedEvent>* events, Streams* ready) {
  metrics_.pending_events.Add(static_cast<int64_t>(events->size()));
  absl::MutexLock lock(&stream->mutex);
  if (stream->Append(events)) ready->push_back(stream->shared_from_this());
}

}  // namespace kvorum::mvcc
