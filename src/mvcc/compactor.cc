#include "mvcc/compactor.h"

#include <algorithm>

#include "mvcc/record_format.h"

namespace kvorum::mvcc {
namespace {

/// How many keys are looked at under one hold of the lock: about 50 µs.
constexpr size_t kKeysPerHold = 256;
/// A step of the index ends when it has so many records to sort: about 1 ms.
constexpr size_t kItemsPerStep = 10'000;

double Milliseconds(std::chrono::nanoseconds d) {
  return std::chrono::duration<double, std::milli>(d).count();
}

/// "25 kB", "1.4 MB": as etcd's log lines give sizes.
std::string HumanSize(int64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB", "PB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1000 && unit + 1 < std::size(kUnits)) {
    value /= 1000;
    ++unit;
  }
  const bool fraction = unit > 0 && value < 10;
  return fmt::format("{:.{}f} {}", value, fraction ? 1 : 0, kUnits[unit]);
}

}  // namespace

void Compactor::Start(int64_t revision) {
  revision_ = revision;
  started_ = Now();
  phase_ = Phase::kIndex;
  cursor_.clear();
}

bool Compactor::Step(size_t max_records) {
  switch (phase_) {
    case Phase::kIdle:
      return false;
    case Phase::kIndex:
      IndexStep(max_records);
      break;
    case Phase::kRecords:
      RecordStep(max_records);
      break;
  }
  return active();
}

void Compactor::IndexStep(size_t max_keys) {
  const MonotonicTime start = Now();
  Run run;
  bool more = true;
  for (size_t holds = 0; more && holds * kKeysPerHold < max_keys && run.items.size() < kItemsPerStep;
       ++holds) {
    absl::MutexLock lock(index_mutex_);
    more = index_->CompactSome(revision_, std::min(kKeysPerHold, max_keys), &cursor_, &run.items);
  }
  const auto older = [](const Item& a, const Item& b) { return a.revision() < b.revision(); };
  std::sort(run.items.begin(), run.items.end(), older);
  if (!run.items.empty()) runs_.push_back(std::move(run));
  metrics_->index_compaction_pause.Observe(Milliseconds(Now() - start));
  if (more) return;
  std::make_heap(runs_.begin(), runs_.end(),
                 [](const Run& a, const Run& b) { return a.head().revision() > b.head().revision(); });
  phase_ = Phase::kRecords;
}

void Compactor::RecordStep(size_t max_records) {
  const MonotonicTime start = Now();
  const auto newer = [](const Run& a, const Run& b) { return a.head().revision() > b.head().revision(); };
  size_t deleted = 0;
  while (!runs_.empty() && deleted < max_records) {
    std::pop_heap(runs_.begin(), runs_.end(), newer);
    Run& run = runs_.back();
    // The runs are of neighbouring keys, often written one after the other: stay in one as long as it is
    // ahead.
    do {
      const Item& item = run.head();
      backend_->Delete(backend::Bucket::kKey, RevisionKey(item.revision(), item.tombstone != 0).view());
      ++run.next;
      ++deleted;
    } while (run.next < run.items.size() && deleted < max_records &&
             (runs_.size() == 1 || run.head().revision() < runs_.front().head().revision()));
    if (run.next == run.items.size()) {
      runs_.pop_back();
    } else {
      std::push_heap(runs_.begin(), runs_.end(), newer);
    }
  }
  metrics_->compacted_records.Add(deleted);
  if (runs_.empty()) Finish();
  metrics_->record_compaction_pause.Observe(Milliseconds(Now() - start));
}

void Compactor::Finish() {
  backend_->Put(backend::Bucket::kMeta, kFinishedCompactKey, Bytes::Copy(RevisionKey({revision_, 0}).view()));
  phase_ = Phase::kIdle;
  runs_.shrink_to_fit();
  const std::chrono::nanoseconds took = Now() - started_;
  metrics_->compaction_duration.Observe(Milliseconds(took));
  if (clock_ != nullptr) {
    const auto now = std::chrono::duration_cast<std::chrono::seconds>(clock_->WallNow().time_since_epoch());
    metrics_->last_compaction.Set(now.count());
  }
  const backend::Sizes sizes = backend_->sizes();
  KVORUM_LOG(*logger_, kInfo, "finished scheduled compaction", {"compact-revision", revision_},
             {"took", took}, {"current-db-size-bytes", sizes.total_bytes},
             {"current-db-size", HumanSize(sizes.total_bytes)},
             {"current-db-size-in-use-bytes", sizes.in_use_bytes},
             {"current-db-size-in-use", HumanSize(sizes.in_use_bytes)});
}

}  // namespace kvorum::mvcc
