#include "mvcc/watcher.h"

#include "base/check.h"
#include "base/planted_bug.h"

namespace kvorum::mvcc {
namespace {

// A stream's queue: what it holds, and with it the memory of one that does not take, is bounded by these and
// one transaction.
constexpr int64_t kStreamBytes = 1 << 20;
constexpr size_t kStreamEvents = 1024;
constexpr size_t kStreamEventsPerWatcher = 8;
/// Over this for all streams together, each may hold only one transaction.
constexpr int64_t kTotalBytes = 64 << 20;
/// A queue keeps room for this many when it is taken, so that the writer allocates nothing for a stream that
/// gets an event now and then.
constexpr size_t kKeptEvents = 4;

}  // namespace

void WatcherList::PushBack(Watcher* watcher) {
  watcher->list_previous = tail_;
  watcher->list_next = nullptr;
  (tail_ == nullptr ? head_ : tail_->list_next) = watcher;
  tail_ = watcher;
}

void WatcherList::Remove(Watcher* watcher) {
  (watcher->list_previous == nullptr ? head_ : watcher->list_previous->list_next) = watcher->list_next;
  (watcher->list_next == nullptr ? tail_ : watcher->list_next->list_previous) = watcher->list_previous;
  watcher->list_previous = nullptr;
  watcher->list_next = nullptr;
}

StreamState::~StreamState() {
  absl::MutexLock lock(&mutex);
  for (size_t i = head_; i < queue_.size(); ++i) queue_[i].watcher->Unref();
  total_bytes_->fetch_sub(bytes_, std::memory_order_relaxed);
}

bool StreamState::HasRoom(size_t watcher_count, int64_t revision) const {
  if (queued() == 0 || queue_.back().revision == revision) return true;
  return bytes_ < kStreamBytes && queued() < kStreamEvents + kStreamEventsPerWatcher * watcher_count &&
         total_bytes_->load(std::memory_order_relaxed) < kTotalBytes;
}

bool StreamState::HalfEmpty() const {
  return queued() == 0 || (bytes_ < kStreamBytes / 2 && queued() < kStreamEvents / 2);
}

bool StreamState::Append(std::vector<QueuedEvent>* events) {
  int64_t added = 0;
  const char* previous = nullptr;
  for (QueuedEvent& event : *events) {
    const size_t size = event.event.data() == previous ? 0 : event.event.size();
    previous = event.event.data();
    event.charge = static_cast<uint32_t>(sizeof(QueuedEvent) + size);
    added += event.charge;
  }
  if (queue_.empty()) {
    queue_.swap(*events);
  } else {
    queue_.insert(queue_.end(), std::make_move_iterator(events->begin()),
                  std::make_move_iterator(events->end()));
  }
  events->clear();
  bytes_ += added;
  total_bytes_->fetch_add(added, std::memory_order_relaxed);
  return !std::exchange(ready_called, true);
}

bool StreamState::AppendOne(QueuedEvent event) {
  const bool shared = queued() > 0 && queue_.back().event.data() == event.event.data();
  event.charge = static_cast<uint32_t>(sizeof(QueuedEvent) + (shared ? 0 : event.event.size()));
  bytes_ += event.charge;
  total_bytes_->fetch_add(event.charge, std::memory_order_relaxed);
  queue_.push_back(std::move(event));
  return !std::exchange(ready_called, true);
}

std::vector<QueuedEvent> StreamState::TakeSome(size_t max_bytes) {
  size_t taken_bytes = 0;
  int64_t charge = 0;
  size_t end = head_;
  while (end < queue_.size()) {
    const QueuedEvent& event = queue_[end];
    if (end > head_ && taken_bytes >= max_bytes) {
      const QueuedEvent& last = queue_[end - 1];
      const bool next = last.watcher != event.watcher || last.revision != event.revision;
      if (next || IsPlanted(PlantedBug::kWatchSplitsRevision)) break;
    }
    taken_bytes += event.event.size();
    charge += event.charge;
    ++end;
  }
  bytes_ -= charge;
  total_bytes_->fetch_sub(charge, std::memory_order_relaxed);
  std::vector<QueuedEvent> taken;
  if (head_ == 0 && end == queue_.size() && queue_.capacity() > kKeptEvents) {
    taken.swap(queue_);
    return taken;
  }
  const auto first = queue_.begin() + static_cast<ptrdiff_t>(head_);
  const auto last = queue_.begin() + static_cast<ptrdiff_t>(end);
  taken.assign(std::make_move_iterator(first), std::make_move_iterator(last));
  head_ = end;
  // What was taken is given back in large pieces, so that each event moves a constant number of times.
  if (head_ * 2 >= queue_.size()) {
    queue_.erase(queue_.begin(), last);
    head_ = 0;
    if (queue_.capacity() > kKeptEvents) queue_.shrink_to_fit();
  }
  return taken;
}

}  // namespace kvorum::mvcc
