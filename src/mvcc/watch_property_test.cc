#include <map>
#include <set>

#include "backend/memory_backend.h"
#include "gtest/gtest.h"
#include "mvcc/store.h"
#include "mvcc/testing/watch_texts.h"
#include "rapidcheck/gtest.h"

namespace kvorum::mvcc {
namespace {

constexpr int kStreams = 3;

/// One change as a watcher should be told of it.
struct Told {
  int64_t main;
  std::string key;
  bool tombstone;
  std::string text;      // of the event
  std::string previous;  // " (value)", or nothing
};

struct ModelWatcher {
  WatchSpec spec;
  int64_t begin;      // its first revision
  int64_t taken = 0;  // up to where a batch said that everything was handed out
  size_t next = 0;    // in the history: the first change that was not looked at
};

std::string SomeKey() { return std::string(1, static_cast<char>('a' + *rc::gen::inRange(0, 6))); }

struct Run {
  std::unique_ptr<backend::MemoryBackend> backend = backend::MemoryBackend::Create();
  std::unique_ptr<Store> store = *Store::Open({.backend = backend.get()});
  std::vector<Told> history;
  std::map<std::string, std::string> values;
  std::vector<std::unique_ptr<WatchStream>> streams{kStreams};
  std::vector<std::map<int64_t, ModelWatcher>> watchers{kStreams};
  std::array<bool, kStreams> ready{};
  bool behind = false;

  Run() {
    store->watch_hub().SetBehindCallback([this] { behind = true; });
    for (int i = 0; i < kStreams; ++i) NewStream(i);
  }
  ~Run() { streams.clear(); }

  void NewStream(int i) {
    streams[i].reset();
    watchers[i].clear();
    ready[i] = false;
    streams[i] = store->watch_hub().NewStream([this, i] { ready[i] = true; });
  }

  void Transact() {
    const int64_t main = store->current_revision() + 1;
    // Large values fill the streams' queues.
    const std::string value =
        std::to_string(main) + std::string(*rc::gen::element<size_t>(0, 0, 1000, 300'000), 'x');
    const auto before = values;
    auto txn = store->Begin();
    std::set<std::string> changed;
    for (int i = *rc::gen::inRange(1, 4); i > 0; --i) {
      const std::string key = SomeKey();
      if (!changed.insert(key).second) continue;
      const auto old = before.find(key);
      const std::string previous = old == before.end() ? "" : " (" + old->second + ")";
      if (old != before.end() && *rc::gen::inRange(0, 3) == 0) {
        txn->DeleteRange({key, ""});
        values.erase(key);
        history.push_back({main, key, true, key + "-@" + std::to_string(main), previous});
      } else {
        txn->Put(key, value, LeaseId(0));
        values[key] = value;
        history.push_back({main, key, false, key + "=" + value + "@" + std::to_string(main), previous});
      }
    }
  }

  void Watch(int stream) {
    ModelWatcher watcher;
    watcher.spec.key = SomeKey();
    const int kind = *rc::gen::inRange(0, 4);
    if (kind == 1) watcher.spec.end = std::string(1, '\0');
    if (kind == 2) watcher.spec.end = watcher.spec.key + "z";
    if (kind == 3) watcher.spec.end = "f";
    if (kind == 3 && watcher.spec.key >= "f") return;
    const int64_t current = store->current_revision();
    watcher.spec.start_revision = *rc::gen::inRange<int64_t>(0, current + 4);
    watcher.spec.prev_kv = *rc::gen::arbitrary<bool>();
    watcher.spec.no_put = *rc::gen::inRange(0, 6) == 0;
    watcher.spec.no_delete = *rc::gen::inRange(0, 6) == 0;
    watcher.begin = watcher.spec.start_revision == 0 ? current + 1 : watcher.spec.start_revision;
    const auto id = streams[stream]->Watch(0, watcher.spec);
    RC_ASSERT(id.ok());
    watchers[stream].emplace(*id, watcher);
  }

  void Take(int stream) {
    const bool was_ready = std::exchange(ready[stream], false);
    const auto batches = streams[stream]->Take(*rc::gen::element<size_t>(1, 1000, 1'000'000));
    RC_ASSERT(was_ready || batches.empty());
    for (const WatchBatch& batch : batches) Check(stream, batch);
  }

  void Check(int stream, const WatchBatch& batch) {
    const auto it = watchers[stream].find(batch.watch_id);
    RC_ASSERT(it != watchers[stream].end());
    ModelWatcher& watcher = it->second;
    if (batch.compact_revision != 0) {
      RC_ASSERT(batch.compact_revision <= store->compact_revision());
      RC_ASSERT(std::max(watcher.begin, watcher.taken + 1) < batch.compact_revision);
      RC_ASSERT(batch.events.empty());
      watchers[stream].erase(it);
      return;
    }
    RC_ASSERT(batch.event_count > 0u);
    RC_ASSERT(batch.revision > watcher.taken);
    RC_ASSERT(batch.revision <= store->current_revision());
    const auto texts = testing::EventTexts(batch);
    size_t i = 0;
    while (watcher.next < history.size() && history[watcher.next].main <= batch.revision) {
      const Told& told = history[watcher.next++];
      if (!Expects(watcher, told)) continue;
      RC_ASSERT(i < texts.size());
      // What was before may have been compacted since.
      const bool with = watcher.spec.prev_kv && texts[i] == told.text + told.previous;
      const bool gone = told.main - 1 < store->compact_revision() || !watcher.spec.prev_kv;
      RC_ASSERT(with || (gone && texts[i] == told.text));
      ++i;
    }
    RC_ASSERT(i == texts.size());
    watcher.taken = batch.revision;
  }

  static bool Expects(const ModelWatcher& watcher, const Told& told) {
    return told.main >= watcher.begin && KeyRange{watcher.spec.key, watcher.spec.end}.contains(told.key) &&
           !(told.tombstone ? watcher.spec.no_delete : watcher.spec.no_put);
  }

  void Cancel(int stream) {
    if (watchers[stream].empty()) return;
    const auto it =
        std::next(watchers[stream].begin(), *rc::gen::inRange<size_t>(0, watchers[stream].size()));
    RC_ASSERT(streams[stream]->Cancel(it->first));
    watchers[stream].erase(it);
  }

  void Compact() {
    if (store->current_revision() <= std::max<int64_t>(store->compact_revision(), 1)) return;
    const auto at =
        *rc::gen::inRange(std::max<int64_t>(store->compact_revision(), 1) + 1, store->current_revision() + 1);
    RC_ASSERT(store->StartCompaction(at).ok());
    while (store->CompactStep(10)) {
    }
  }

  void CatchUp() {
    if (behind) behind = store->watch_hub().CatchUpStep(*rc::gen::element<size_t>(1, 3, 1000));
  }

  void CheckSynced(int stream) {
    const int64_t synced = streams[stream]->SyncedRevision();
    if (synced == 0) return;
    RC_ASSERT(synced == store->current_revision());
    for (auto& [id, watcher] : watchers[stream]) {
      for (size_t i = watcher.next; i < history.size(); ++i) RC_ASSERT(!Expects(watcher, history[i]));
    }
  }
};

RC_GTEST_PROP(WatchProperty, EachWatcherGetsExactlyItsEventsInOrderAndOnce, ()) {
  Run run;
  const int steps = *rc::gen::inRange(1, 300);
  for (int step = 0; step < steps; ++step) {
    const int stream = *rc::gen::inRange(0, kStreams);
    switch (*rc::gen::inRange(0, 24)) {
      case 0:
      case 1:
      case 2:
        run.Watch(stream);
        break;
      case 3:
        run.Cancel(stream);
        break;
      case 4: {
        if (*rc::gen::inRange(0, 4) == 0) run.Compact();
        break;
      }
      case 5: {
        if (*rc::gen::inRange(0, 4) == 0) run.NewStream(stream);
        break;
      }
      case 6:
      case 7:
      case 8:
        run.CatchUp();
        break;
      case 9:
      case 10:
      case 11:
        run.Take(stream);
        break;
      case 12:
        run.CheckSynced(stream);
        break;
      default:
        run.Transact();
    }
  }
  // In the end everybody has everything.
  for (bool more = true; more;) {
    more = run.behind;
    while (run.behind) run.CatchUp();
    for (int i = 0; i < kStreams; ++i) {
      more = more || run.ready[i];
      while (run.ready[i]) run.Take(i);
    }
    more = more || run.behind;
  }
  for (int i = 0; i < kStreams; ++i) {
    for (auto& [id, watcher] : run.watchers[i]) {
      for (size_t k = watcher.next; k < run.history.size(); ++k) {
        RC_ASSERT(!Run::Expects(watcher, run.history[k]));
      }
    }
  }
}

}  // namespace
}  // namespace kvorum::mvcc
