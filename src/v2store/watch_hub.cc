#include "v2store/watch_hub.h"

#include <algorithm>

#include "base/check.h"

namespace kvorum::v2store {
namespace {

/// Encoded once while anybody has it.
Body BodyOf(History::Entry& entry) {
  Body body = entry.body.lock();
  if (body == nullptr) entry.body = body = EncodeBody(*entry.event);
  return body;
}

}  // namespace

/// One who waits. All but `told_` is guarded by the hub's mutex.
class WatchHub::Waiter final : public Watcher {
 public:
  Waiter(WatchHub* hub, Lines::iterator line, const WatchRequest& request, uint64_t since, WatchSink* sink)
      : hub_(hub),
        line_(line),
        sink_(sink),
        since_(since),
        recursive_(request.recursive),
        stream_(request.stream),
        before_(line->second.last) {
    (before_ != nullptr ? before_->after_ : line->second.first) = this;
    line->second.last = this;
  }
  ~Waiter() override {
    // The store touches nobody who was told the last time: thousands who were need not wait for its lock.
    if (!told_.load(std::memory_order_acquire)) hub_->Remove(this);
  }

 private:
  friend class WatchHub;

  WatchHub* const hub_;
  const Lines::iterator line_;
  WatchSink* const sink_;
  const uint64_t since_;
  const bool recursive_;
  const bool stream_;
  std::atomic<bool> told_{false};  // set last of all
  Waiter* before_;
  Waiter* after_ = nullptr;
};

WatchHub::~WatchHub() {
  absl::MutexLock lock(&mutex_);
  KVORUM_CHECK(watchers_ == 0, "{} watchers outlive the store", watchers_);
}

std::variant<Store::WatchStart, Error> WatchHub::Watch(std::string_view path, const WatchRequest& request,
                                                       const std::atomic<uint64_t>& store_index,
                                                       WatchSink* sink) {
  absl::MutexLock lock(&mutex_);
  // Under the lock: a thousand events later, what was next would be gone.
  const uint64_t index = store_index.load(std::memory_order_acquire);
  const uint64_t since = request.since != 0 ? request.since : index + 1;
  if (since < history_.start_index()) {
    return Error{ErrorCode::kHistoryCleared,
                 fmt::format("the requested history has been cleared [{}/{}]", history_.start_index(), since),
                 index};
  }
  Store::WatchStart start;
  start.index = index;
  if (History::Entry* past = history_.Find(path, request.recursive, since); past != nullptr) {
    start.event = past->event;
    start.body = BodyOf(*past);
    return start;
  }
  auto line = lines_.find(path);
  if (line == lines_.end()) line = lines_.emplace(path, Line()).first;
  start.watcher = std::make_unique<Waiter>(this, line, request, since, sink);
  ++watchers_;
  return start;
}

void WatchHub::Remove(Waiter* waiter) {
  absl::MutexLock lock(&mutex_);
  // It may have been told while this waited for the lock.
  if (waiter->told_.load(std::memory_order_relaxed)) return;
  const Lines::iterator line = waiter->line_;
  Unlink(waiter);
  if (line->second.first == nullptr) lines_.erase(line);
}

void WatchHub::Unlink(Waiter* waiter) {
  Line& line = waiter->line_->second;
  (waiter->before_ != nullptr ? waiter->before_->after_ : line.first) = waiter->after_;
  (waiter->after_ != nullptr ? waiter->after_->before_ : line.last) = waiter->before_;
  --watchers_;
}

void WatchHub::Notify(EventPtr event, const Node* removed) {
  absl::MutexLock lock(&mutex_);
  History::Entry entry{std::move(event), {}};
  if (!entry.event->refresh && !lines_.empty()) {
    Delivery delivery{entry, nullptr};
    if (removed != nullptr && removed->dir()) TellBelow(*removed, delivery);
    TellAlong(delivery);
  }
  history_.Add(std::move(entry));
}

template <typename Finally>
void WatchHub::Dismiss(Waiter* waiter, Finally tell) {
  Unlink(waiter);
  tell(*waiter->sink_);
  waiter->told_.store(true, std::memory_order_release);  // from here on it may be gone
}

void WatchHub::Tell(Lines::iterator line, bool all, Delivery& delivery) {
  const EventPtr& event = delivery.entry.event;
  for (Waiter* next = line->second.first; next != nullptr;) {
    Waiter* waiter = std::exchange(next, next->after_);
    if (event->index() < waiter->since_ || !(all || waiter->recursive_)) continue;
    if (delivery.body == nullptr) delivery.entry.body = delivery.body = EncodeBody(*event);
    if (waiter->stream_) {
      waiter->sink_->OnEvent(event, delivery.body);
      continue;
    }
    Dismiss(waiter, [&](WatchSink& sink) { sink.OnEvent(event, delivery.body); });
  }
  if (line->second.first == nullptr) lines_.erase(line);
}

void WatchHub::TellPast(Lines::iterator line, uint64_t from, uint64_t to) {
  const bool has_any = history_.start_index() != 0;
  for (Waiter* next = line->second.first; next != nullptr;) {
    Waiter* waiter = std::exchange(next, next->after_);
    uint64_t since = std::max(waiter->since_, from);
    if (since > to) continue;
    if (!has_any || since < history_.start_index()) {
      Dismiss(waiter, [](WatchSink& sink) { sink.OnLost(); });
      continue;
    }
    while (History::Entry* past = history_.Find(line->first, waiter->recursive_, since)) {
      const Body body = BodyOf(*past);
      if (!waiter->stream_) {
        Dismiss(waiter, [&](WatchSink& sink) { sink.OnEvent(past->event, body); });
        break;
      }
      waiter->sink_->OnEvent(past->event, body);
      since = past->event->index() + 1;
    }
  }
  if (line->second.first == nullptr) lines_.erase(line);
}

void WatchHub::TellBelow(const Node& removed, Delivery& delivery) {
  const std::string& key = delivery.entry.event->node.path;
  std::vector<Lines::iterator> below;
  for (auto line = lines_.upper_bound(key); line != lines_.end() && IsBelow(line->first, key); ++line) {
    below.push_back(line);
  }
  // What is below comes before what it is in.
  for (; !below.empty(); below.pop_back()) {
    const Node* node = &removed;
    for (PathNames names(std::string_view(below.back()->first).substr(key.size()));
         node != nullptr && names.Next();) {
      node = node->Child(names.name());
    }
    if (node != nullptr) Tell(below.back(), true, delivery);
  }
}

void WatchHub::TellAlong(Delivery& delivery) {
  const std::string& key = delivery.entry.event->node.path;
  if (const auto root = lines_.find("/"); root != lines_.end() && !IsHidden("/", key)) {
    Tell(root, false, delivery);
  }
  for (PathNames names(key); names.Next();) {
    const auto line = lines_.find(names.prefix());
    if (line == lines_.end() || (!names.last() && IsHidden(names.prefix(), key))) continue;
    Tell(line, names.last(), delivery);
  }
}

uint64_t WatchHub::watchers() const {
  absl::MutexLock lock(&mutex_);
  return watchers_;
}

WatchHub::Past WatchHub::past() const {
  absl::MutexLock lock(&mutex_);
  return {history_.events(), history_.start_index(), history_.last_index()};
}

std::vector<EventPtr> WatchHub::EventsSince(uint64_t index) const {
  absl::MutexLock lock(&mutex_);
  return history_.EventsSince(index);
}

void WatchHub::Restore(Past past, uint64_t before, uint64_t index) {
  absl::MutexLock lock(&mutex_);
  history_.Restore(std::move(past.events), past.start_index, past.last_index);
  if (index <= before) return;
  for (auto next = lines_.begin(); next != lines_.end();) {
    const auto line = next++;
    TellPast(line, before + 1, index);
  }
}

}  // namespace kvorum::v2store
