#include "mvcc/watch_hub.h"

#include <algorithm>

#include "base/check.h"
#include "base/planted_bug.h"
#include "mvcc/record_format.h"
#include "mvcc/watch_stream.h"

namespace kvorum::mvcc {

const Bytes& EventForms::Get(Bytes* form, const std::string_view* previous) {
  if (form->is_null()) {
    *form = tombstone_ ? EncodeDeleteEvent(key_, main_, previous) : EncodePutEvent(record_, previous);
  }
  return *form;
}

/// The record of before one published change, read only where a watcher wants it.
struct WatchHubImpl::Previous {
  bool wanted = false;
  bool read = false;
  std::optional<std::string_view> record;
};

void WatchHubImpl::Start(int64_t revision) {
  absl::MutexLock lock(&mutex_);
  published_ = revision;
}

void WatchHubImpl::Restart(int64_t revision) {
  bool tell = false;
  {
    absl::MutexLock lock(&mutex_);
    const int64_t next = published_ + 1;
    published_ = revision;
    table_.ForEach([&](WatchGroup& group) ABSL_NO_THREAD_SAFETY_ANALYSIS {
      for (size_t i = group.synced.size(); i-- > 0;) {
        Watcher* watcher = group.synced[i];
        watcher->next_revision = std::max(watcher->next_revision, next);
        if (watcher->next_revision > revision || IsPlanted(PlantedBug::kWatchLostInReload)) continue;
        group.RemoveSynced(watcher);
        synced_prev_kv_ -= watcher->prev_kv ? 1 : 0;
        ++watcher->stream->behind;
        metrics_.slow_watchers.Add(1);
        Queue(watcher);
      }
    });
    tell = TellBehind();
  }
  if (tell) on_behind_.Call();
}

std::unique_ptr<WatchStream> WatchHubImpl::NewStream(absl::AnyInvocable<void()> ready) {
  return std::make_unique<WatchStreamImpl>(this, std::move(ready));
}

void WatchHubImpl::SetBehindCallback(absl::AnyInvocable<void()> on_behind) {
  on_behind_.Set(std::move(on_behind));
  bool tell = false;
  {
    absl::MutexLock lock(&mutex_);
    tell = behind_known_;
  }
  if (tell) on_behind_.Call();
}

void WatchHubImpl::Publish(int64_t main, const std::vector<PublishedChange>& changes) {
  std::unique_ptr<backend::ReadView> view;
  std::vector<Previous> previous;
  Streams ready;
  for (;;) {
    {
      absl::MutexLock lock(&mutex_);
      KVORUM_CHECK(main == published_ + 1, "revision {} published after {}", main, published_);
      if (synced_prev_kv_ == 0 || !FindWanted(changes, &previous)) {
        if (changes.size() == 1) {
          PublishOne(main, changes[0], previous.data(), &ready);
        } else {
          StageAll(main, changes, previous);
          FlushStaged(main, &ready);
        }
        published_ = main;
        break;
      }
    }
    if (view == nullptr) view = history_->NewView();
    for (size_t i = 0; i < changes.size(); ++i) {
      if (!previous[i].wanted || previous[i].read) continue;
      previous[i].record = history_->RecordAt(*view, changes[i].key, main - 1);
      previous[i].read = true;
    }
  }
  for (size_t i = 0; i < ready.size(); ++i) {
    if (i + 4 < ready.size()) __builtin_prefetch(&ready[i + 4]->ready);
    ready[i]->ready.Call();
  }
}

/// Marks the changes whose previous record some synced watcher wants; true where one of them was not read.
bool WatchHubImpl::FindWanted(const std::vector<PublishedChange>& changes, std::vector<Previous>* previous) {
  previous->resize(changes.size());
  bool unread = false;
  for (size_t i = 0; i < changes.size(); ++i) {
    Previous& p = (*previous)[i];
    if (changes[i].creates || p.read) continue;
    table_.ForEachMatch(changes[i].key, [&](WatchGroup& group) { p.wanted |= group.synced_prev_kv > 0; });
    unread |= p.wanted;
  }
  return unread;
}

/// The usual transaction: one change, which goes into the streams' queues without being staged.
void WatchHubImpl::PublishOne(int64_t main, const PublishedChange& change, const Previous* previous,
                              Streams* ready) {
  if (table_.empty()) return;
  // With thousands of streams every line of memory is a miss: asked for this many watchers ahead.
  constexpr size_t kAhead = 4;
  EventForms forms(change.key, change.record.view(), main, change.tombstone, change.creates);
  int64_t appended = 0;
  table_.ForEachMatch(change.key, [&](WatchGroup& group) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    for (size_t i = 0; i < group.synced.size(); ++i) {
      if (i + 2 * kAhead < group.synced.size()) __builtin_prefetch(group.synced[i + 2 * kAhead]);
      if (i + kAhead < group.synced.size()) group.synced[i + kAhead]->stream->Prefetch();
      Watcher* watcher = group.synced[i];
      if (watcher->next_revision > main || !watcher->Wants(change.tombstone)) continue;
      StreamState* stream = watcher->stream;
      const Bytes& event = forms.For(*watcher, [&] { return previous->record; });
      absl::MutexLock lock(&stream->mutex);
      if (!stream->HasRoom(stream->watchers, main)) {
        stream->has_parked = true;
        refused_.push_back(watcher);
        continue;
      }
      watcher->Ref();
      ++appended;
      const bool wake = stream->AppendOne(
          {.watcher = watcher, .event = event, .revision = main, .header = main, .charge = 0});
      if (wake) ready->push_back(stream->shared_from_this());
    }
  });
  if (appended > 0) metrics_.pending_events.Add(appended);
  for (Watcher* watcher : refused_) FallBehind(watcher, main);
  refused_.clear();
}

void WatchHubImpl::StageAll(int64_t main, const std::vector<PublishedChange>& changes,
                            const std::vector<Previous>& previous) {
  if (table_.empty()) return;
  for (size_t i = 0; i < changes.size(); ++i) {
    const PublishedChange& change = changes[i];
    EventForms forms(change.key, change.record.view(), main, change.tombstone, change.creates);
    table_.ForEachMatch(change.key, [&](WatchGroup& group) ABSL_NO_THREAD_SAFETY_ANALYSIS {
      for (Watcher* watcher : group.synced) {
        if (watcher->next_revision > main || !watcher->Wants(change.tombstone)) continue;
        StreamState* stream = watcher->stream;
        if (stream->staged.empty()) touched_.push_back(stream);
        watcher->Ref();
        stream->staged.push_back({.watcher = watcher,
                                  .event = forms.For(*watcher, [&] { return previous[i].record; }),
                                  .revision = main,
                                  .header = main,
                                  .charge = 0});
      }
    });
  }
}

void WatchHubImpl::FlushStaged(int64_t main, Streams* ready) {
  for (StreamState* stream : touched_) {
    std::vector<QueuedEvent>& staged = stream->staged;
    std::stable_sort(staged.begin(), staged.end(), [](const QueuedEvent& a, const QueuedEvent& b) {
      return a.watcher->id < b.watcher->id;
    });
    bool room = false;
    {
      absl::MutexLock lock(&stream->mutex);
      room = stream->HasRoom(stream->watchers, main);
      if (room) {
        metrics_.pending_events.Add(static_cast<int64_t>(staged.size()));
        if (stream->Append(&staged)) ready->push_back(stream->shared_from_this());
      } else {
        stream->has_parked = true;
      }
    }
    if (room) continue;
    for (const QueuedEvent& event : staged) {
      if (event.watcher->state == WatcherState::kSynced) FallBehind(event.watcher, main);
      event.watcher->Unref();
    }
    staged.clear();
  }
  touched_.clear();
}

void WatchHubImpl::MakeSynced(Watcher* watcher) {
  watcher->group->AddSynced(watcher);
  synced_prev_kv_ += watcher->prev_kv ? 1 : 0;
}

/// A synced watcher whose stream has no room: its events from `next_revision` on are to be read later.
void WatchHubImpl::FallBehind(Watcher* watcher, int64_t next_revision) {
  watcher->group->RemoveSynced(watcher);
  synced_prev_kv_ -= watcher->prev_kv ? 1 : 0;
  watcher->next_revision = next_revision;
  watcher->state = WatcherState::kParked;
  watcher->stream->parked.PushBack(watcher);
  ++watcher->stream->behind;
  metrics_.slow_watchers.Add(1);
}

void WatchHubImpl::Queue(Watcher* watcher) {
  watcher->state = WatcherState::kQueued;
  queue_.PushBack(watcher);
}

/// Takes a watcher out of everything.
void WatchHubImpl::Retire(Watcher* watcher) {
  switch (watcher->state) {
    case WatcherState::kGone:
      return;
    case WatcherState::kSynced:
      watcher->group->RemoveSynced(watcher);
      synced_prev_kv_ -= watcher->prev_kv ? 1 : 0;
      break;
    case WatcherState::kQueued:
      queue_.Remove(watcher);
      break;
    case WatcherState::kParked:
      watcher->stream->parked.Remove(watcher);
      break;
    case WatcherState::kInTurn:
      break;
  }
  if (watcher->state != WatcherState::kSynced) {
    --watcher->stream->behind;
    metrics_.slow_watchers.Add(-1);
  }
  watcher->state = WatcherState::kGone;
  --watcher->stream->watchers;
  table_.Release(watcher->group);
  watcher->group = nullptr;
  metrics_.watchers.Add(-1);
}

bool WatchHubImpl::TellBehind() {
  if (queue_.empty() || behind_known_) return false;
  behind_known_ = true;
  return true;
}

void WatchHubImpl::Register(Watcher* watcher, const KeyRange& range, int64_t start_revision) {
  bool tell = false;
  {
    absl::MutexLock lock(&mutex_);
    watcher->group = table_.Acquire(range);
    ++watcher->stream->watchers;
    metrics_.watchers.Add(1);
    watcher->next_revision = start_revision == 0 ? published_ + 1 : start_revision;
    if (watcher->next_revision > published_) {
      MakeSynced(watcher);
    } else {
      ++watcher->stream->behind;
      metrics_.slow_watchers.Add(1);
      Queue(watcher);
      tell = TellBehind();
    }
  }
  if (tell) on_behind_.Call();
}

void WatchHubImpl::Unregister(absl::Span<Watcher* const> watchers) {
  constexpr size_t kPerHold = 256;
  for (size_t begin = 0; begin < watchers.size(); begin += kPerHold) {
    absl::MutexLock lock(&mutex_);
    for (Watcher* watcher : watchers.subspan(begin, kPerHold)) Retire(watcher);
  }
}

void WatchHubImpl::Unpark(StreamState* stream) {
  bool tell = false;
  {
    absl::MutexLock lock(&mutex_);
    absl::MutexLock stream_lock(&stream->mutex);
    stream->has_parked = false;
    while (Watcher* watcher = stream->parked.front()) {
      stream->parked.Remove(watcher);
      Queue(watcher);
    }
    tell = TellBehind();
  }
  if (tell) on_behind_.Call();
}

}  // namespace kvorum::mvcc
