#include <map>

#include "backend/memory_backend.h"
#include "gtest/gtest.h"
#include "mvcc/record_format.h"
#include "mvcc/store.h"
#include "rapidcheck/gtest.h"

namespace kvorum::mvcc {
namespace {

/// The store as a list of everything that was ever done.
struct Model {
  struct Change {
    int64_t main;
    std::string key;
    std::string value;
    bool tombstone;
  };
  struct Pair {
    std::string value;
    int64_t created = 0;
    int64_t modified = 0;
    int64_t version = 0;
    auto operator<=>(const Pair&) const = default;
  };
  using State = std::map<std::string, Pair>;

  State At(int64_t revision) const {
    State state;
    for (const Change& change : changes) {
      if (change.main > revision) break;
      if (change.tombstone) {
        state.erase(change.key);
        continue;
      }
      Pair& pair = state[change.key];
      if (pair.version++ == 0) pair.created = change.main;
      pair.modified = change.main;
      pair.value = change.value;
    }
    return state;
  }

  std::vector<Change> changes;
  int64_t revision = 1;
  int64_t compacted = -1;
};

std::string SomeKey() { return std::string(1, static_cast<char>('a' + *rc::gen::inRange(0, 12))); }

KeyRange SomeRange(std::string* from, std::string* to) {
  *from = SomeKey();
  const int kind = *rc::gen::inRange(0, 3);
  *to = kind == 0 ? "" : kind == 1 ? std::string(1, '\0') : SomeKey();
  return {*from, *to};
}

struct Run {
  std::unique_ptr<backend::MemoryBackend> backend = backend::MemoryBackend::Create();
  std::unique_ptr<Store> store = *Store::Open({.backend = backend.get()});
  Model model;

  void Transact() {
    auto txn = store->Begin();
    const int operations = *rc::gen::inRange(1, 4);
    bool changed = false;
    for (int i = 0; i < operations; ++i) {
      if (*rc::gen::inRange(0, 3) > 0) {
        const std::string key = SomeKey();
        const std::string value = std::to_string(*rc::gen::inRange(0, 100));
        txn->Put(key, value, LeaseId(0));
        model.changes.push_back({model.revision + 1, key, value, false});
        changed = true;
      } else {
        std::string from;
        std::string to;
        const KeyRange range = SomeRange(&from, &to);
        int64_t deleted = 0;
        for (const auto& [key, pair] : model.At(model.revision + 1)) {
          if (!range.contains(key)) continue;
          ++deleted;
          model.changes.push_back({model.revision + 1, key, "", true});
        }
        RC_ASSERT(txn->DeleteRange(range) == deleted);
        changed = changed || deleted > 0;
      }
      RC_ASSERT(txn->changed() == changed);
      if (*rc::gen::inRange(0, 4) == 0)
        CheckRange(model.revision + 1, *txn, changed ? model.revision + 1 : 0);
    }
    txn->End();
    model.revision += changed ? 1 : 0;
    RC_ASSERT(store->current_revision() == model.revision);
  }

  template <typename Reader>
  void CheckRange(int64_t at, Reader& reader, int64_t newest) {
    std::string from;
    std::string to;
    const KeyRange range = SomeRange(&from, &to);
    const int64_t limit = *rc::gen::inRange(0, 5);
    const auto result = reader.Range({.range = range, .revision = newest > 0 ? 0 : at, .limit = limit});
    const int64_t current = newest > 0 ? newest : model.revision;
    if (newest == 0 && at > current) return RC_ASSERT(result.status() == FutureRevisionError());
    if (at < model.compacted) return RC_ASSERT(result.status() == CompactedError());
    RC_ASSERT(result.ok());
    std::vector<std::pair<std::string, Model::Pair>> expected;
    for (const auto& entry : model.At(at)) {
      if (range.contains(entry.first)) expected.push_back(entry);
    }
    RC_ASSERT(result->count == static_cast<int64_t>(expected.size()));
    RC_ASSERT(result->revision == current);
    if (limit > 0 && expected.size() > static_cast<size_t>(limit)) expected.resize(limit);
    std::vector<std::pair<std::string, Model::Pair>> seen;
    for (const std::string_view encoded : result->records) {
      const Record r = ParseRecord(encoded).value();
      seen.push_back(
          {std::string(r.key), {std::string(r.value), r.create_revision, r.mod_revision, r.version}});
    }
    RC_ASSERT(seen == expected);
  }

  void Compact() {
    const int64_t at = *rc::gen::inRange<int64_t>(1, model.revision + 2);
    const absl::Status status = store->StartCompaction(at);
    if (at <= model.compacted) return RC_ASSERT(status == CompactedError());
    if (at > model.revision) return RC_ASSERT(status == FutureRevisionError());
    RC_ASSERT(status.ok());
    model.compacted = at;
  }

  /// What is not in the index is in the backend no more, and the other way round.
  void CheckRecords() {
    size_t expected = 0;
    std::map<std::string, std::vector<const Model::Change*>> by_key;
    for (const auto& change : model.changes) by_key[change.key].push_back(&change);
    for (const auto& [key, changes] : by_key) {
      for (size_t i = 0; i < changes.size(); ++i) {
        const bool superseded = i + 1 < changes.size() && changes[i + 1]->main <= model.compacted;
        const bool dead = changes[i]->tombstone && changes[i]->main < model.compacted;
        expected += superseded || dead ? 0 : 1;
      }
    }
    size_t found = 0;
    const auto view = backend->NewReadView();
    RC_ASSERT(view->Scan(backend::Bucket::kKey, "", "", [&](auto, auto) { return ++found > 0; }).ok());
    RC_ASSERT(found == expected);
  }

  void Restart() {
    backend->CommitNow();
    store.reset();
    backend = backend->Crash();
    store = *Store::Open({.backend = backend.get()});
    RC_ASSERT(store->current_revision() == model.revision);
    RC_ASSERT(store->compact_revision() == model.compacted);
  }
};

RC_GTEST_PROP(StoreProperty, AgreesWithAListOfEverythingDone, ()) {
  Run run;
  const int steps = *rc::gen::inRange(1, 120);
  for (int step = 0; step < steps; ++step) {
    switch (*rc::gen::inRange(0, 12)) {
      case 0:
        run.Compact();
        break;
      case 1:
      case 2:
        run.store->CompactStep(*rc::gen::inRange(1, 5));
        break;
      case 3:
        run.Restart();
        break;
      case 4:
      case 5:
      case 6:
        run.CheckRange(*rc::gen::inRange<int64_t>(1, run.model.revision + 2), *run.store, 0);
        break;
      default:
        run.Transact();
    }
    run.store->CheckInvariants();
  }
  while (run.store->CompactStep(3)) {
  }
  run.CheckRecords();
  const auto hash = run.store->Hash(0);
  RC_ASSERT(hash.ok());
  run.Restart();
  RC_ASSERT(run.store->Hash(0)->hash == hash->hash);
  RC_ASSERT(run.store->key_count() == static_cast<int64_t>(run.model.At(run.model.revision).size()));
}

}  // namespace
}  // namespace kvorum::mvcc
